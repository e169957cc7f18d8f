//! How a registry wants to be told who asks: the `WWW-Authenticate` of its 401.
//! Sources: RFC 9110, 11.6.1, and distribution's token specification.

use std::collections::BTreeMap;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// A token, from somebody else.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads one challenge; None if it is of neither kind.
    pub fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        let realm = parameters.remove("realm")?;
        Some(Challenge::Bearer { realm, service: parameters.remove("service") })
    }
}

/// Reads `name="value", name=value`; commas may stand inside quotes.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                (value, after.split_once(',').map_or("", |(_, after)| after))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_service_is_found_in_its_challenge() {
        let header = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        let (realm, service) =
            ("https://auth.example/token".to_owned(), Some("r.example".to_owned()));
        assert_eq!(Challenge::parse(header), Some(Challenge::Bearer { realm, service }));
        let realm = "https://a/t".to_owned();
        let bare = Challenge::parse("bearer realm=https://a/t");
        assert_eq!(bare, Some(Challenge::Bearer { realm, service: None }));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
    }
}
