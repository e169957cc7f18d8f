//! Commits: which version of the desired state something came from.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The full name of a commit: 40 hexadecimal digits, or 64 in a repository that
/// uses SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(String);

impl Commit {
    /// As many digits as git shows of a commit in a small repository.
    pub const SHORT_DIGITS: usize = 7;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT_DIGITS]
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text is not the full name of a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a commit: it has 40 hexadecimal digits, or 64")]
pub struct BadCommit(String);

impl FromStr for Commit {
    type Err = BadCommit;

    fn from_str(text: &str) -> Result<Commit, BadCommit> {
        if !matches!(text.len(), 40 | 64) || !text.chars().all(is_hex) {
            return Err(BadCommit(text.to_owned()));
        }
        Ok(Commit(text.to_owned()))
    }
}

impl TryFrom<String> for Commit {
    type Error = BadCommit;

    fn try_from(text: String) -> Result<Commit, BadCommit> {
        text.parse()
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> String {
        commit.0
    }
}

/// A commit as people name it: at least its first seven digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPrefix(String);

impl CommitPrefix {
    pub fn is_of(&self, commit: &Commit) -> bool {
        commit.0.starts_with(&self.0)
    }
}

impl fmt::Display for CommitPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text cannot be the beginning of a commit's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a commit is named by 7 to 64 hexadecimal digits")]
pub struct BadCommitPrefix;

impl FromStr for CommitPrefix {
    type Err = BadCommitPrefix;

    fn from_str(text: &str) -> Result<CommitPrefix, BadCommitPrefix> {
        let text = text.to_ascii_lowercase();
        if !(Commit::SHORT_DIGITS..=64).contains(&text.len()) || !text.chars().all(is_hex) {
            return Err(BadCommitPrefix);
        }
        Ok(CommitPrefix(text))
    }
}

fn is_hex(c: char) -> bool {
    c.is_ascii_digit() || ('a'..='f').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn only_a_full_name_is_a_commit() {
        let commit: Commit = FULL.parse().expect("40 digits");
        assert_eq!(commit.short(), "0123456");
        assert!(FULL[..39].parse::<Commit>().is_err());
        assert!(FULL.to_uppercase().parse::<Commit>().is_err());
        assert!("HEAD".parse::<Commit>().is_err());
    }

    #[test]
    fn seven_digits_of_any_case_name_a_commit() {
        let commit: Commit = FULL.parse().expect("40 digits");
        for text in ["0123456", "0123456789ABCDEF", FULL] {
            assert!(text.parse::<CommitPrefix>().expect("hexadecimal").is_of(&commit), "{text}");
        }
        assert!(!"1123456".parse::<CommitPrefix>().expect("hexadecimal").is_of(&commit));
        for text in ["012345", "main", ""] {
            assert_eq!(text.parse::<CommitPrefix>(), Err(BadCommitPrefix), "{text}");
        }
    }
}
