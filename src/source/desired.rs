//! The desired state, wherever the user keeps it.

use std::{path::PathBuf, time::Duration};

use crate::{
    domain::{GitStanding, Stack},
    ports::Source,
};

use super::{
    FileSource, FileWatch, GitSource,
    git::{FetchSoon, Following},
    watch::Wake,
};

/// A file on this host, or one in a Git repository.
pub enum DesiredState {
    File { source: Box<FileSource>, path: PathBuf },
    Git { source: GitSource, interval: Duration },
}

/// What tells of changes, for as long as it lives.
pub struct Watch {
    _files: FileWatch,
    following: Option<Following>,
}

impl DesiredState {
    /// Returns the absolute path that the desired state is known by.
    pub fn path(&self) -> PathBuf {
        match self {
            DesiredState::File { path, .. } => path.clone(),
            DesiredState::Git { source, .. } => source.file(),
        }
    }

    /// Reads what was valid last, without the memory of a controller; None if that is
    /// kept nowhere else.
    pub async fn load_last_valid(&self) -> Option<Stack> {
        match self {
            DesiredState::File { .. } => None,
            DesiredState::Git { source, .. } => source.load_last_valid().await,
        }
    }

    /// Calls `edited` soon after a file of this host changes that the state is made of,
    /// and `moved` after a branch did. Must be called inside a runtime.
    pub fn watch(&self, edited: Wake, moved: Wake) -> Watch {
        match self {
            DesiredState::File { source, .. } => {
                Watch { _files: source.watch(edited), following: None }
            }
            DesiredState::Git { source, interval } => Watch {
                _files: source.watch_host_files(edited),
                following: Some(source.follow(*interval, moved)),
            },
        }
    }
}

impl Watch {
    /// Returns what makes the branch be looked at soon; None without one.
    pub fn fetch_soon(&self) -> Option<FetchSoon> {
        self.following.as_ref().map(Following::fetch_soon)
    }
}

impl Source for DesiredState {
    async fn load(&self) -> Result<Stack, String> {
        match self {
            DesiredState::File { source, .. } => source.load().await,
            DesiredState::Git { source, .. } => source.load().await,
        }
    }

    fn standing(&self) -> Option<GitStanding> {
        match self {
            DesiredState::File { source, .. } => source.standing(),
            DesiredState::Git { source, .. } => source.standing(),
        }
    }
}
