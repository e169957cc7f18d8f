//! What a commit has in the place of a file that can be read.

use std::io;

use super::tree::TreeError;
use crate::domain::manifest;

/// A file that the commit does not have in a form that can be read.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    pub kind: io::ErrorKind,
    pub why: String,
}

impl From<&TreeError> for Unread {
    fn from(error: &TreeError) -> Unread {
        let kind = match error {
            TreeError::Missing => io::ErrorKind::NotFound,
            TreeError::Symlink(_)
            | TreeError::Submodule(_)
            | TreeError::Folder
            | TreeError::TooLarge(_)
            | TreeError::Git(_) => io::ErrorKind::InvalidInput,
        };
        Unread { kind, why: error.to_string() }
    }
}

/// Returns why a secret of the commit cannot be read. Who may read it on this host does
/// not matter: in the repository, it is for all who have that.
pub(super) fn of_secret(error: &io::Error) -> manifest::Unread {
    match error.kind() {
        io::ErrorKind::NotFound => manifest::Unread::Missing,
        _ => manifest::Unread::Unreadable(error.to_string()),
    }
}
