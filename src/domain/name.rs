//! Names of stacks and services: short enough and plain enough to be part of a
//! container name, a DNS label and a file name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: one DNS label.
pub const MAX_NAME_BYTES: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name has at most {MAX_NAME_BYTES} characters; this one has {0}")]
    TooLong(usize),
    #[error("a name has lower-case letters, digits, `-` and `_` only; found `{0}`")]
    BadCharacter(char),
    #[error("a name starts with a letter or a digit, not with `{0}`")]
    BadStart(char),
}

fn check(text: &str) -> Result<(), BadName> {
    let first = text.chars().next().ok_or(BadName::Empty)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(bad) = text.chars().find(|&c| !plain(c) && c != '-' && c != '_') {
        return Err(BadName::BadCharacter(bad));
    }
    if !plain(first) {
        return Err(BadName::BadStart(first));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(BadName::TooLong(text.len()));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                check(text)?;
                Ok($name(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of a stack: the value of the `quaymaster.stack` label.
    StackName
}
name! {
    /// The name of a service within its stack.
    ServiceName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        assert_eq!("../etc".parse::<StackName>(), Err(BadName::BadCharacter('.')));
        assert_eq!("Shop".parse::<ServiceName>(), Err(BadName::BadCharacter('S')));
        assert_eq!("-a".parse::<ServiceName>(), Err(BadName::BadStart('-')));
        assert_eq!("".parse::<ServiceName>(), Err(BadName::Empty));
        assert_eq!("a".repeat(64).parse::<ServiceName>(), Err(BadName::TooLong(64)));
        assert!("a".repeat(63).parse::<ServiceName>().is_ok());
    }
}
