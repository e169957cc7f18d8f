//! One commit's files, read from git's objects: whatever is being fetched meanwhile,
//! all of them are of the same commit.
//!
//! A symlink is never followed, at the end of a path or on the way: where it leads is
//! for the host to say, and not for whoever can push.

use std::path::{Component, Path, PathBuf};

use super::child::{Git, GitError};
use crate::{domain::Commit, source::stable::MAX_FILE_BYTES};

/// A path inside a repository: neither absolute nor with a `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoPath(String);

/// The path cannot be one inside a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path inside a repository, such as `stacks/prod.yaml`")]
pub struct BadRepoPath(String);

impl RepoPath {
    /// # Errors
    ///
    /// Fails if the path leads out of the repository, or names nothing in it.
    pub fn parse(text: &str) -> Result<RepoPath, BadRepoPath> {
        let bad = || BadRepoPath(text.to_owned());
        let mut parts = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => parts.push(part.to_str().ok_or_else(bad)?),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(bad());
                }
            }
        }
        if parts.is_empty() || text.contains('\0') {
            return Err(bad());
        }
        Ok(RepoPath(parts.join("/")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the folder that the file is in; empty for the top.
    pub fn folder(&self) -> &Path {
        Path::new(&self.0).parent().unwrap_or(Path::new(""))
    }
}

/// Why a file of a commit cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    #[error("there is no such file")]
    Missing,
    #[error("`{}` is a symlink: commit the file itself, or name what it leads to", .0.display())]
    Symlink(PathBuf),
    #[error("`{}` is a submodule: its files are in another repository", .0.display())]
    Submodule(PathBuf),
    #[error("it is a folder; name the file in it")]
    Folder,
    #[error("it is larger than 1 MiB ({0} bytes)")]
    TooLarge(u64),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Returns the content of the file at `path`, from the top of the commit's tree.
pub(super) async fn read(git: &Git, commit: &Commit, path: &Path) -> Result<Vec<u8>, TreeError> {
    let mut folder = format!("{commit}^{{tree}}");
    let mut so_far = PathBuf::new();
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        so_far.push(name);
        let name = name.to_str().ok_or(TreeError::Missing)?;
        let listed =
            git.local(&["ls-tree", "-z", "-l", "--full-tree", &folder, "--", name]).await?;
        let entry = Entry::read(&listed).ok_or(TreeError::Missing)?;
        let is_last = names.peek().is_none();
        match (entry.kind, is_last) {
            (Kind::Symlink, _) => return Err(TreeError::Symlink(so_far)),
            (Kind::Submodule, _) => return Err(TreeError::Submodule(so_far)),
            (Kind::Folder, true) => return Err(TreeError::Folder),
            (Kind::Folder, false) => folder = entry.object,
            (Kind::File, false) => return Err(TreeError::Missing),
            (Kind::File, true) if entry.size_bytes > MAX_FILE_BYTES => {
                return Err(TreeError::TooLarge(entry.size_bytes));
            }
            (Kind::File, true) => {
                return Ok(git.local(&["cat-file", "blob", &entry.object]).await?);
            }
        }
    }
    Err(TreeError::Missing)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Symlink,
    Folder,
    Submodule,
}

struct Entry {
    kind: Kind,
    object: String,
    size_bytes: u64,
}

impl Entry {
    /// Reads the first `MODE TYPE OBJECT SIZE\tNAME\0` of git-ls-tree(1).
    fn read(listed: &[u8]) -> Option<Entry> {
        let text = String::from_utf8_lossy(listed);
        let (head, _name) = text.split_once('\t')?;
        let mut words = head.split_ascii_whitespace();
        let (mode, kind, object) = (words.next()?, words.next()?, words.next()?);
        let kind = match (mode, kind) {
            ("120000", _) => Kind::Symlink,
            (_, "blob") => Kind::File,
            (_, "tree") => Kind::Folder,
            (_, _) => Kind::Submodule,
        };
        // Only a blob has a size.
        let size_bytes = words.next().and_then(|size| size.parse().ok()).unwrap_or(0);
        Some(Entry { kind, object: object.to_owned(), size_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_the_repository() {
        let path = RepoPath::parse("./stacks//prod.yaml").expect("a path inside");
        assert_eq!(path.as_str(), "stacks/prod.yaml");
        assert_eq!(path.folder(), Path::new("stacks"));
        assert_eq!(RepoPath::parse("a.yaml").expect("inside").folder(), Path::new(""));
        for bad in ["../a.yaml", "a/../../b", "/etc/passwd", "", ".", "a/.."] {
            assert!(RepoPath::parse(bad).is_err(), "{bad}");
        }
    }
}
