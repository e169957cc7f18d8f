//! The files of one commit on disk, for what the stack mounts out of them.
//!
//! The folder is always the same and is brought to the commit in place: only what
//! differs is written, and containers that have a part of it mounted see that.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::child::{Git, GitError};
use crate::domain::{Commit, Stack, release::MountSource};

/// Why the files could not be brought to the commit.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckoutError {
    #[error("cannot make {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Whether the stack mounts anything out of `tree`.
pub(super) fn is_needed(stack: &Stack, tree: &Path) -> bool {
    let mut mounts = stack.services.values().flat_map(|service| &service.spec.mounts);
    mounts.any(|mount| match &mount.source {
        MountSource::Bind(path) => Path::new(path).starts_with(tree),
        MountSource::Volume(_) | MountSource::Anonymous | MountSource::Tmpfs { .. } => false,
    })
}

/// Brings `tree` to `commit`.
pub(super) async fn bring(git: &Git, tree: &Path, commit: &Commit) -> Result<(), CheckoutError> {
    make_readable(tree)
        .map_err(|source| CheckoutError::Folder { path: tree.to_owned(), source })?;
    let call = ["read-tree", "--reset", "-u", commit.as_str()];
    let index = git.repository().join("index");
    match git.in_tree(tree, &call).await {
        Err(GitError::Failed { .. }) if index.exists() => {
            // A damaged index is made anew from what is there.
            fs::remove_file(&index)
                .map_err(|source| CheckoutError::Folder { path: index, source })?;
            git.in_tree(tree, &call).await?;
        }
        done => drop(done?),
    }
    Ok(())
}

/// The folder above is closed to others; a container reaches this one by its mount,
/// as whatever user it runs as.
fn make_readable(tree: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(tree)?;
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))
}
