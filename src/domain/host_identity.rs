//! Which host this is, for services that are meant for some hosts only.

use std::{collections::BTreeMap, fmt};

/// A host's name and what its operator says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostIdentity {
    /// Lower case.
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// Why a text is not a host's label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLabel {
    #[error("a label is `key=value`")]
    NoValue,
    #[error("a label has letters, digits, `.`, `_`, `-` and `/` only, and neither side is empty")]
    BadCharacter,
}

impl HostIdentity {
    pub fn new(name: &str, labels: impl IntoIterator<Item = (String, String)>) -> HostIdentity {
        HostIdentity { name: name.to_ascii_lowercase(), labels: labels.into_iter().collect() }
    }
}

/// Parses `key=value`.
pub fn label(text: &str) -> Result<(String, String), BadLabel> {
    let (key, value) = text.split_once('=').ok_or(BadLabel::NoValue)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_fine = |side: &str| !side.is_empty() && side.chars().all(plain);
    match is_fine(key) && is_fine(value) {
        true => Ok((key.to_owned(), value.to_owned())),
        false => Err(BadLabel::BadCharacter),
    }
}

/// `edge-1, role=worker`.
impl fmt::Display for HostIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.name.is_empty() { "without a name" } else { &self.name })?;
        self.labels.iter().try_for_each(|(key, value)| write!(f, ", {key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_two_plain_sides() {
        assert_eq!(label("role=worker"), Ok(("role".to_owned(), "worker".to_owned())));
        assert_eq!(label("a.b/c=1.2"), Ok(("a.b/c".to_owned(), "1.2".to_owned())));
        assert_eq!(label("edge-1"), Err(BadLabel::NoValue));
        for text in ["=a", "a=", "a=b=c", "a b=c", "a=ö", "a=b,c=d"] {
            assert_eq!(label(text), Err(BadLabel::BadCharacter), "{text}");
        }
    }
}
