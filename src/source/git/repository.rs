//! The repository that is kept below the state folder: bare, small, and ours alone.
//!
//! ```text
//! STATE_DIR/.from-git/KEY/lock         who has it open (flock)
//! STATE_DIR/.from-git/KEY/repository/  objects, and three names:
//!     refs/quaymaster/followed         the commit whose file is read
//!     refs/quaymaster/valid            the last one whose file was valid
//!     refs/quaymaster/tip              where the branch was when last fetched
//! STATE_DIR/.from-git/KEY/tree/        the files, for relative bind mounts
//! ```
//!
//! KEY is made of the URL without its credential, the branch and the path: the stack's
//! name is known only once the file is read. No stack can be called `.from-git`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    child::{Git, GitError},
    remote::Remote,
};
use crate::domain::{Commit, Fingerprint};

pub(super) const FOLLOWED: &str = "refs/quaymaster/followed";
pub(super) const VALID: &str = "refs/quaymaster/valid";
pub(super) const TIP: &str = "refs/quaymaster/tip";

/// The folder of all repositories, below the state folder.
const FOLDER: &str = ".from-git";

/// Enough that no two sources of a host are taken for one.
const KEY_DIGITS: usize = 16;

/// Beyond these, what is fetched is put together and what is old thrown away.
const MAX_LOOSE_OBJECTS: u32 = 500;
const MAX_PACKS: u32 = 10;

/// Why the repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("another quaymaster follows this branch, with {}", .0.display())]
    Held(PathBuf),
    #[error("`{0}` is not the name of a branch")]
    BadBranch(String),
    #[error("cannot use {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Git(#[from] GitError),
}

/// The repository on disk, held by this process.
pub(super) struct Repository {
    pub git: Git,
    folder: PathBuf,
    _lock: File,
}

impl Repository {
    /// Opens the repository of this branch's file, making it if there is none. One
    /// that is damaged is made anew: what it held can be fetched again.
    pub async fn open(
        state_dir: &Path,
        remote: Remote,
        branch: &str,
        path: &str,
    ) -> Result<Repository, RepositoryError> {
        let key = Fingerprint::of(&(remote.shown(), branch, path));
        // git is started in other folders, and a mount names its source from the root.
        let state_dir = std::path::absolute(state_dir)
            .map_err(|source| RepositoryError::Folder { path: state_dir.to_owned(), source })?;
        let folder = state_dir.join(FOLDER).join(&key.as_str()[..KEY_DIGITS]);
        let at_folder = |source| RepositoryError::Folder { path: folder.clone(), source };
        make_private(&state_dir, &folder).map_err(at_folder)?;
        let lock = File::create(folder.join("lock")).map_err(at_folder)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::WOULDBLOCK => RepositoryError::Held(folder),
                other => at_folder(other.into()),
            });
        }
        let git = Git::new(folder.join("repository"), remote);
        let repository = Repository { git, folder, _lock: lock };
        let reference = format!("refs/heads/{branch}");
        match repository.git.local(&["check-ref-format", &reference]).await {
            Err(GitError::Failed { .. }) => {
                return Err(RepositoryError::BadBranch(branch.to_owned()));
            }
            checked => drop(checked?),
        }
        repository.make_usable().await?;
        Ok(repository)
    }

    /// Returns where the files stand for bind mounts: the same for every commit, because
    /// a release's fingerprint holds it.
    pub fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Returns the commit that a name of ours stands for.
    pub async fn commit(&self, name: &str) -> Result<Option<Commit>, GitError> {
        let name = format!("{name}^{{commit}}");
        match self.git.line(&["rev-parse", "--verify", "--quiet", &name]).await {
            Ok(text) => Ok(text.parse().ok()),
            Err(GitError::Failed { code: Some(1), .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the commits that one came after, the latest first, as far as they are here.
    pub async fn commits_before(
        &self,
        commit: &Commit,
        at_most: usize,
    ) -> Result<Vec<Commit>, GitError> {
        let count = format!("--max-count={}", at_most.saturating_add(1));
        let listed = self.git.local(&["rev-list", &count, commit.as_str(), "--"]).await?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        Ok(listed.lines().skip(1).filter_map(|line| line.parse().ok()).collect())
    }

    /// Lets a name of ours stand for a commit, in one step that survives a crash.
    pub async fn name(&self, name: &str, commit: &Commit) -> Result<(), GitError> {
        self.git.local(&["update-ref", name, commit.as_str()]).await.map(drop)
    }

    async fn make_usable(&self) -> Result<(), RepositoryError> {
        let folder = self.git.repository();
        let at_folder = |source| RepositoryError::Folder { path: folder.to_owned(), source };
        if folder.join("HEAD").is_file() {
            // Whoever made them is gone, or we would not have the lock.
            remove_locks(folder).map_err(at_folder)?;
            match self.is_sound().await {
                Err(GitError::Failed { said, .. }) => {
                    tracing::warn!("the copy of the repository is damaged and made anew: {said}");
                }
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(()),
            }
        }
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(at_folder)?;
        }
        fs::create_dir(folder).map_err(at_folder)?;
        // Without a template: its hooks and settings are not ours.
        self.git.local(&["init", "--quiet", "--bare", "--template="]).await?;
        Ok(())
    }

    /// Reads the whole tree that is followed, though not the files in it.
    async fn is_sound(&self) -> Result<(), GitError> {
        self.git.local(&["rev-parse", "--is-bare-repository"]).await?;
        let is_named = self.git.repository().join(FOLLOWED).exists();
        match self.commit(FOLLOWED).await? {
            Some(commit) => {
                let tree = format!("{commit}^{{tree}}");
                self.git.local(&["cat-file", "-e", &tree]).await.map(drop)
            }
            None if is_named => Err(GitError::Failed {
                what: "rev-parse".to_owned(),
                code: None,
                said: format!("{FOLLOWED} names nothing that is there"),
            }),
            None => Ok(()),
        }
    }

    /// Throws away what no name of ours leads to, once that is worth it.
    pub async fn tidy(&self) -> Result<(), GitError> {
        // git's own `gc --auto` guesses from a sample, and would be late here.
        let told = self.git.line(&["count-objects", "-v"]).await?;
        let count = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.trim().parse::<u32>().ok()).unwrap_or(0)
        };
        if count("count:") > MAX_LOOSE_OBJECTS || count("packs:") > MAX_PACKS {
            self.git.local(&["gc", "--quiet", "--prune=now"]).await?;
        }
        Ok(())
    }
}

fn make_private(state_dir: &Path, folder: &Path) -> io::Result<()> {
    if !state_dir.exists() {
        // As the store makes it: Caddy passes through to its switch files.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(state_dir)?;
        fs::set_permissions(state_dir, fs::Permissions::from_mode(0o711))?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Removes the lock files that a killed git left behind.
fn remove_locks(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_objects = path.file_name().is_some_and(|name| name == "objects");
        if kind.is_dir() && !is_objects {
            remove_locks(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
