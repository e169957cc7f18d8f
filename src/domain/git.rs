//! How the branch stands that the desired state comes from.

use serde::{Deserialize, Serialize};

use super::{Commit, CommitPrefix};

/// As many pushes as may overtake one another while somebody waits for the first.
pub const MAX_EARLIER: usize = 20;

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
    /// The commits that it came after, as far as they are known here: at most
    /// [`MAX_EARLIER`], the latest first.
    #[serde(default)]
    pub earlier: Vec<Commit>,
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

impl GitStanding {
    /// Returns whether a commit came before the one in force, so that what it changed
    /// is part of that.
    pub fn is_overtaken(&self, wanted: &CommitPrefix, in_force: &Commit) -> bool {
        let mut known = std::iter::once(&self.commit).chain(&self.earlier);
        known.any(|commit| commit == in_force) && known.any(|commit| wanted.is_of(commit))
    }
}
