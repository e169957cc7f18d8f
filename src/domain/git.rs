//! How the branch stands that the desired state comes from.

use serde::{Deserialize, Serialize};

use super::Commit;

/// What is followed, how far, and what is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitStanding {
    /// Without any credential.
    pub url: String,
    pub branch: String,
    /// Of the desired-state file in the repository.
    pub path: String,
    /// The commit whose file is read. While that file is bad, an earlier one is in
    /// force.
    pub commit: Commit,
    pub subject: String,
    /// Wall-clock milliseconds since 1970, for people.
    pub committed_at_unix_ms: i64,
    /// When the repository last answered, likewise; None if it has not yet.
    pub fetched_at_unix_ms: Option<i64>,
    /// Why the branch is not followed any further, for people: it does not answer,
    /// it is gone, or its history was rewritten.
    pub trouble: Option<String>,
    /// Where the branch was rewritten to, while it is not followed there.
    #[serde(default)]
    pub refused: Option<Commit>,
}
