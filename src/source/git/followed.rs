//! The commit that is followed, and what people wrote on it.

use crate::domain::{Commit, git::MAX_EARLIER};

use super::{GitError, repository::Repository};

/// The commit whose file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    pub commit: Commit,
    pub subject: String,
    pub author: String,
    pub earlier: Vec<Commit>,
    pub committed_at_unix_ms: i64,
}

impl Followed {
    /// Reads what people wrote on a commit.
    pub async fn read(repository: &Repository, commit: Commit) -> Result<Followed, GitError> {
        const SUBJECT_CHARS: usize = 120;
        const AUTHOR_CHARS: usize = 60;
        // A tab in an author's name would only move a word of it into the subject.
        let call = ["log", "-1", "--format=%ct%x09%an%x09%s", commit.as_str(), "--"];
        let told = repository.git.line(&call).await?;
        let mut parts = told.splitn(3, '\t');
        let mut part = || parts.next().unwrap_or_default();
        let (seconds, author, subject) = (part(), part(), part());
        let seconds: i64 = seconds.parse().unwrap_or(0);
        Ok(Followed {
            subject: subject.chars().take(SUBJECT_CHARS).collect(),
            author: author.chars().take(AUTHOR_CHARS).collect(),
            earlier: repository.commits_before(&commit, MAX_EARLIER).await?,
            commit,
            committed_at_unix_ms: seconds.saturating_mul(1000),
        })
    }
}
