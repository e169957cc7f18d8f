//! One look at the remote: whether the branch has moved, and whether to follow it.
//!
//! Only as much history is fetched as tells whether the branch still descends from
//! the commit that is followed: first that commit alone, later what came after it,
//! by date. Dates are the committers' to set, so before a branch is called rewritten,
//! the whole history is asked for.

use std::time::Duration;

use super::{
    child::{Git, GitError},
    repository::{FOLLOWED, Repository, TIP},
};
use crate::domain::Commit;

/// How long the remote may take to say where the branch is.
const ASK_DEADLINE: Duration = Duration::from_secs(60);

/// How long the fetch of commits may take.
const FETCH_DEADLINE: Duration = Duration::from_secs(600);

/// Committers' clocks differ; this much more is fetched, in seconds.
const CLOCK_MARGIN_S: i64 = 24 * 60 * 60;

/// Whether a branch whose history was rewritten is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewritten {
    Refuse,
    /// `--allow-force`.
    Follow,
}

/// Why the branch is not followed any further.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{url} cannot be asked for {branch}: {why}")]
    Remote { url: String, branch: String, why: GitError },
    #[error("{url} has no branch {branch}")]
    NoBranch { url: String, branch: String },
    #[error(
        "the history of {branch} was rewritten: {} is no ancestor of {}, where it is now",
        from.short(), to.short()
    )]
    Rewritten { branch: String, from: Commit, to: Commit },
    #[error("the copy of the repository cannot be used: {0}")]
    Local(#[from] GitError),
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Same,
    First(Commit),
    Ahead(Commit),
    /// It does not descend from what was followed, which is allowed.
    Elsewhere(Commit),
}

/// A branch of a remote.
pub(super) struct Branch<'a> {
    pub repository: &'a Repository,
    pub name: &'a str,
    pub rewritten: Rewritten,
}

impl Branch<'_> {
    /// Asks where the branch is, fetches what is new, and moves our name if it is to
    /// be followed. `refused` is a commit that was fetched and found rewritten before.
    pub async fn fetch(
        &self,
        followed: Option<&Commit>,
        refused: Option<&Commit>,
    ) -> Result<Fetched, FetchError> {
        let tip = self.ask().await?;
        if followed == Some(&tip) {
            return Ok(Fetched::Same);
        }
        let Some(from) = followed else {
            self.get(&["--depth=1"]).await?;
            let tip = self.tip().await?;
            return self.follow(&tip).await.map(|()| Fetched::First(tip));
        };
        if refused == Some(&tip) {
            return Err(self.rewritten(from, tip));
        }
        if self.descends_as_far_as_dates_tell(from).await? {
            let tip = self.tip().await?;
            return self.follow(&tip).await.map(|()| Fetched::Ahead(tip));
        }
        match self.rewritten {
            Rewritten::Follow => {
                let tip = self.tip().await?;
                self.follow(&tip).await.map(|()| Fetched::Elsewhere(tip))
            }
            Rewritten::Refuse => {
                self.get_all().await?;
                let tip = self.tip().await?;
                if !self.is_ancestor(from, &tip).await? {
                    return Err(self.rewritten(from, tip));
                }
                self.follow(&tip).await.map(|()| Fetched::Ahead(tip))
            }
        }
    }

    fn git(&self) -> &Git {
        &self.repository.git
    }

    fn refspec(&self) -> String {
        format!("+refs/heads/{}:{TIP}", self.name)
    }

    /// Returns where the branch is.
    async fn ask(&self) -> Result<Commit, FetchError> {
        let wanted = format!("refs/heads/{}", self.name);
        let call = ["ls-remote", "--refs", "--", self.git().remote().address(), &wanted];
        let output = self.git().remotely(&call, ASK_DEADLINE).await;
        let output = output.map_err(|why| self.failed(why))?;
        let text = String::from_utf8_lossy(&output);
        // A pattern also matches the end of longer names.
        let mut named = text.lines().filter_map(|line| line.split_once('\t'));
        let found = named.find(|(_, name)| *name == wanted);
        found.and_then(|(commit, _)| commit.parse().ok()).ok_or_else(|| FetchError::NoBranch {
            url: self.git().remote().shown().to_owned(),
            branch: self.name.to_owned(),
        })
    }

    async fn descends_as_far_as_dates_tell(&self, from: &Commit) -> Result<bool, FetchError> {
        let date = self.git().line(&["log", "-1", "--format=%ct", from.as_str(), "--"]).await?;
        let since = date.parse::<i64>().unwrap_or(0).saturating_sub(CLOCK_MARGIN_S).max(1);
        match self.get(&[&format!("--shallow-since={since}")]).await {
            Ok(()) => {}
            // All of the branch is older, or the server cannot cut history by date.
            Err(FetchError::Remote { why: GitError::Failed { .. }, .. }) => match self.rewritten {
                Rewritten::Refuse => self.get_all().await?,
                Rewritten::Follow => self.get(&["--depth=1"]).await?,
            },
            Err(error) => return Err(error),
        }
        let tip = self.tip().await?;
        self.is_ancestor(from, &tip).await
    }

    /// Fetches all history that is missing.
    async fn get_all(&self) -> Result<(), FetchError> {
        let is_shallow = self.git().line(&["rev-parse", "--is-shallow-repository"]).await?;
        match is_shallow.as_str() {
            "true" => self.get(&["--unshallow"]).await,
            _ => self.get(&[]).await,
        }
    }

    async fn get(&self, depth: &[&str]) -> Result<(), FetchError> {
        let refspec = self.refspec();
        let call = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"];
        let from = ["--", self.git().remote().address(), &refspec];
        let call = [&call[..], depth, &from[..]].concat();
        let fetched = self.git().remotely(&call, FETCH_DEADLINE).await;
        fetched.map(drop).map_err(|why| self.failed(why))
    }

    async fn tip(&self) -> Result<Commit, FetchError> {
        let tip = self.repository.commit(TIP).await?;
        tip.ok_or_else(|| FetchError::NoBranch {
            url: self.git().remote().shown().to_owned(),
            branch: self.name.to_owned(),
        })
    }

    async fn is_ancestor(&self, from: &Commit, to: &Commit) -> Result<bool, FetchError> {
        let call = ["merge-base", "--is-ancestor", from.as_str(), to.as_str()];
        match self.git().local(&call).await {
            Ok(_) => Ok(true),
            Err(GitError::Failed { code: Some(1), .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn follow(&self, tip: &Commit) -> Result<(), FetchError> {
        self.repository.name(FOLLOWED, tip).await?;
        Ok(())
    }

    fn failed(&self, why: GitError) -> FetchError {
        let url = self.git().remote().shown().to_owned();
        FetchError::Remote { url, branch: self.name.to_owned(), why }
    }

    fn rewritten(&self, from: &Commit, to: Commit) -> FetchError {
        FetchError::Rewritten { branch: self.name.to_owned(), from: from.clone(), to }
    }
}

impl FetchError {
    /// Returns what to do about it, for people.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            FetchError::Remote { why: GitError::Failed { said, .. }, .. } => remote_hint(said),
            FetchError::NoBranch { .. } => Some("push it, or name another one with --branch"),
            FetchError::Rewritten { .. } => Some(
                "push a commit that descends from the one that is followed, or start the controller \
                 with --allow-force to follow the branch wherever it goes",
            ),
            FetchError::Remote {
                why:
                    GitError::NotInstalled
                    | GitError::NotRun(_)
                    | GitError::TooSlow { .. }
                    | GitError::TooMuch { .. },
                ..
            }
            | FetchError::Local(_) => None,
        }
    }

    /// Returns it with what to do about it, in one line.
    pub(super) fn with_hint(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }
}

/// Returns the mend for the ways in which a remote is most often out of reach.
fn remote_hint(said: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["terminal prompts disabled", "could not read Username", "could not read Password"]) {
        Some(
            "the server asks for a login and nobody here knows one: set up a credential helper for \
             the user that runs the controller",
        )
    } else if says(&["Authentication failed", "403", "401"]) {
        Some("the server refuses the credential: renew it, or let it read this repository")
    } else if says(&["Host key verification failed"]) {
        Some("add the server's key to the known_hosts of the user that runs the controller")
    } else if says(&["Permission denied (publickey"]) {
        Some("add the key of the user that runs the controller to the repository as a deploy key")
    } else if says(&["not found", "does not exist", "not appear to be a git repository"]) {
        Some("is the URL right, and may the credential see the repository?")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_fail_have_their_mend() {
        let said = [
            "could not read Username for 'https://git.example.com': terminal prompts disabled",
            "Authentication failed for 'https://git.example.com/s.git/'",
            "git@git.example.com: Permission denied (publickey).",
            "Host key verification failed.; Could not read from remote repository.",
            "repository 'https://git.example.com/s.git/' not found",
        ];
        let hints: Vec<_> = said.iter().map(|said| remote_hint(said).expect("a mend")).collect();
        let different: std::collections::BTreeSet<_> = hints.iter().collect();
        assert_eq!(different.len(), said.len(), "{hints:#?}");
        assert_eq!(remote_hint("Could not resolve host: git.example.com"), None);
    }
}
