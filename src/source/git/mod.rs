//! The desired state in Git.
//!
//! ```text
//!  remote ── fetch (background) ──▶ repository ── read, at one commit ──▶ Stack
//!                following             │                    tree
//!                                      └─ checkout ──▶ files for bind mounts
//! ```
//!
//! [`GitSource::load`] never touches the network: it reads the commit that is followed
//! from the repository below the state folder, so a controller whose remote is down
//! converges, also after a restart. Which commit that is, is moved by [`fetch`], and
//! only forward unless the user says otherwise. git itself does the work, as a child
//! process ([`child`]): its credential helpers, keys and known hosts are the user's.

mod checkout;
mod child;
mod fetch;
mod followed;
mod following;
mod remote;
mod repository;
mod tree;
mod unread;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use crate::{
    domain::{
        Commit, GitStanding, HostIdentity, HostPolicy, Stack,
        manifest::{self, AllowDeleteAll, Holds, Input},
        telling::CommitNote,
    },
    ports::Source,
};

use super::{
    policy::{PolicyFile, engine_sockets, in_force},
    variables::Variables,
    vault::{AgeIdentity, HostVault, Values},
    watch::{FileWatch, LOOK_EVERY, Wake},
};
use fetch::{Branch, Fetched};
use followed::Followed;
use repository::{FOLLOWED, Repository, VALID};
use tree::TreeError;
use unread::Unread;

pub use child::GitError;
pub use fetch::{FetchError, Rewritten};
pub use following::{FetchSoon, Following};
pub use remote::{BadRemote, Remote};
pub use repository::RepositoryError;
pub use tree::{BadRepoPath, RepoPath};

/// How often a file may name others that name others. No file needs more than one.
const MAX_READS: usize = 8;

/// What to follow, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub remote: Remote,
    pub branch: String,
    pub path: RepoPath,
    pub rewritten: Rewritten,
    /// On this host. Without any, the `.env` beside the file in the repository is read,
    /// if there is one.
    pub env_files: Vec<PathBuf>,
    pub allow_delete_all: AllowDeleteAll,
    pub host: HostIdentity,
    /// What this host lets run: a file of its own, never of the repository.
    pub policy: Option<PolicyFile>,
    /// Decrypts the repository's secrets.
    pub age_identity: AgeIdentity,
}

/// A desired-state file on a branch of a Git repository. Cheap to clone.
#[derive(Clone)]
pub struct GitSource(Arc<Inner>);

struct Inner {
    options: Options,
    repository: Repository,
    state: Mutex<State>,
    /// The files of this host that the last load read secrets with.
    of_secrets: Mutex<BTreeSet<PathBuf>>,
    /// The files of keys that the policy named when it was last read.
    of_policy: Mutex<Vec<PathBuf>>,
    /// One fetch at a time, and one load.
    fetching: tokio::sync::Mutex<()>,
    loading: tokio::sync::Mutex<Loaded>,
}

#[derive(Clone, Debug, Default)]
struct State {
    followed: Option<Followed>,
    /// Where the branch was found rewritten to.
    refused: Option<Commit>,
    fetched_at_unix_ms: Option<i64>,
    trouble: Option<String>,
}

/// What is known of the commit that was loaded last.
#[derive(Default)]
struct Loaded {
    commit: Option<Commit>,
    files: BTreeMap<PathBuf, Result<Vec<u8>, Unread>>,
    /// The commit that the files on disk are of, as far as this process knows.
    checked_out: Option<Commit>,
    valid: Option<Commit>,
}

impl GitSource {
    /// Opens what is known of the branch below `state_dir`; asks nobody.
    ///
    /// # Errors
    ///
    /// Fails if there is no `git`, if the folder cannot be used, and if another
    /// process follows the same file there.
    pub async fn open(state_dir: &Path, options: Options) -> Result<GitSource, RepositoryError> {
        let (remote, path) = (options.remote.clone(), options.path.as_str());
        let repository = Repository::open(state_dir, remote, &options.branch, path).await?;
        let followed = match repository.commit(FOLLOWED).await? {
            Some(commit) => Some(Followed::read(&repository, commit).await?),
            None => None,
        };
        let state = State { followed, ..State::default() };
        Ok(GitSource(Arc::new(Inner {
            options,
            repository,
            state: Mutex::new(state),
            of_secrets: Mutex::default(),
            of_policy: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        })))
    }

    /// Looks where the branch is now, and follows it.
    ///
    /// # Errors
    ///
    /// Fails if the branch cannot be followed; then the commit that was followed
    /// before is followed still, and [`GitStanding::trouble`] says why.
    pub async fn fetch(&self) -> Result<(), FetchError> {
        let _one_at_a_time = self.0.fetching.lock().await;
        let State { followed, refused, .. } = self.state().clone();
        let branch = Branch {
            repository: &self.0.repository,
            name: &self.0.options.branch,
            rewritten: self.0.options.rewritten,
        };
        let from = followed.as_ref().map(|followed| &followed.commit);
        let fetched = branch.fetch(from, refused.as_ref()).await;
        let moved = self.0.moved(&fetched).await;
        match fetched.and_then(|fetched| Ok((fetched, moved?))) {
            Ok((fetched, moved)) => {
                say(&self.0.options.branch, from, &fetched);
                let mut state = self.state();
                if state.trouble.take().is_some() {
                    info!(branch = self.0.options.branch, "the branch is followed again");
                }
                state.followed = moved.or(state.followed.take());
                state.refused = None;
                state.fetched_at_unix_ms = Some(unix_ms_now());
                Ok(())
            }
            Err(error) => {
                self.state().take_note(&error);
                Err(error)
            }
        }
    }

    /// Follows the branch in the background: looks at once unless it has been looked
    /// at already, and then each `interval`. Must be called inside a runtime.
    pub fn follow(&self, interval: Duration, wake: Wake) -> Following {
        Following::begin(self.clone(), interval, wake)
    }

    /// Calls `wake` soon after a file of this host changes that variables or secrets come
    /// from, or the policy with its keys. Must be called inside a runtime.
    pub fn watch_host_files(&self, wake: Wake) -> FileWatch {
        let source = self.clone();
        let files = move || {
            let of_secrets = lock(&source.0.of_secrets);
            let of_policy = lock(&source.0.of_policy);
            let policy = source.0.options.policy.iter().map(PolicyFile::path);
            let named = source.0.options.env_files.iter().chain(of_secrets.iter());
            let named = named.chain(of_policy.iter());
            named.map(PathBuf::as_path).chain(policy).map(Path::to_owned).collect()
        };
        FileWatch::begin(files, wake, LOOK_EVERY)
    }

    /// Returns where the file stands on disk when the stack needs it there: by this path
    /// it is known, whatever the commit.
    pub fn file(&self) -> PathBuf {
        self.0.repository.tree().join(self.0.options.path.as_str())
    }

    /// Returns whether there is a commit to read.
    pub fn has_commit(&self) -> bool {
        self.state().followed.is_some()
    }

    /// Reads the last commit whose file was valid; None if there is none.
    pub async fn load_last_valid(&self) -> Option<Stack> {
        let commit = self.0.repository.commit(VALID).await.ok()??;
        self.load_at(&commit).await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_fetched(&self) -> bool {
        self.state().fetched_at_unix_ms.is_some()
    }

    /// What has to differ for the loop to be woken.
    fn point(&self) -> impl PartialEq + use<> {
        let state = self.state();
        (state.followed.clone(), state.trouble.clone())
    }

    async fn load_at(&self, commit: &Commit) -> Result<Stack, String> {
        let mut loaded = self.0.loading.lock().await;
        if loaded.commit.as_ref() != Some(commit) {
            loaded.commit = Some(commit.clone());
            loaded.files.clear();
        }
        let stack = self.0.read(commit, &mut loaded.files).await?;
        self.0.settle(&stack, commit, &mut loaded).await?;
        Ok(Stack { commit: Some(commit.clone()), ..stack })
    }
}

impl Inner {
    /// Returns what is followed now, if a look has moved it.
    async fn moved(
        &self,
        fetched: &Result<Fetched, FetchError>,
    ) -> Result<Option<Followed>, GitError> {
        match fetched {
            Ok(Fetched::First(commit) | Fetched::Ahead(commit) | Fetched::Elsewhere(commit)) => {
                let followed = Followed::read(&self.repository, commit.clone()).await?;
                // Only disk space is at stake.
                if let Err(error) = self.repository.tidy().await {
                    warn!("the copy of the repository cannot be tidied: {error}");
                }
                Ok(Some(followed))
            }
            Ok(Fetched::Same) | Err(_) => Ok(None),
        }
    }

    /// Reads the file at a commit, and the files that it names.
    async fn read(
        &self,
        commit: &Commit,
        files: &mut BTreeMap<PathBuf, Result<Vec<u8>, Unread>>,
    ) -> Result<Stack, String> {
        let path = Path::new(self.options.path.as_str());
        let name = format!("{} @ {}", path.display(), commit.short());
        let text = self.file_at(commit, path, files).await?;
        let text = text.map_err(|unread| format!("cannot read {name}: {}", unread.why))?;
        let variables = self.variables(commit, files).await?;
        let policy = self.options.policy.as_ref().map(PolicyFile::read).transpose()?.flatten();
        *lock(&self.of_policy) =
            policy.iter().flat_map(|policy| policy.key_files.clone()).collect();
        for _ in 0..MAX_READS {
            let wanted = Mutex::new(BTreeSet::new());
            let read = self.parse(&name, &text, &variables, policy.as_ref(), files, &wanted);
            let wanted = wanted.into_inner().unwrap_or_else(PoisonError::into_inner);
            if wanted.is_empty() {
                return read;
            }
            for path in wanted {
                // A file that cannot be read is the parser's to tell.
                let _ = self.file_at(commit, &path, files).await?;
            }
        }
        Err(format!("{name} names files without end"))
    }

    /// Parses with the files that are known, and notes those that it wants besides.
    fn parse(
        &self,
        name: &str,
        text: &[u8],
        variables: &Variables,
        policy: Option<&HostPolicy>,
        files: &BTreeMap<PathBuf, Result<Vec<u8>, Unread>>,
        wanted: &Mutex<BTreeSet<PathBuf>>,
    ) -> Result<Stack, String> {
        let folder = self.options.path.folder();
        let read_file = |path: &Path| {
            let path = folder.join(path);
            match files.get(&path) {
                Some(Ok(bytes)) => Ok(bytes.clone()),
                Some(Err(unread)) => Err(io::Error::new(unread.kind, unread.why.clone())),
                None => {
                    wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
                    Err(io::ErrorKind::NotFound.into())
                }
            }
        };
        let of_secrets = Mutex::default();
        let vault = HostVault {
            identity: &self.options.age_identity,
            inside: &|path, _: Holds| read_file(path).map_err(|error| unread::of_secret(&error)),
            concerned: &of_secrets,
            values: Values::Asked,
        };
        let engine_sockets = engine_sockets();
        let stack = manifest::parse(&Input {
            file_name: name,
            text,
            variables: &|variable| variables.get(variable),
            read_file: &read_file,
            vault: &vault,
            base_dir: &self.repository.tree().join(folder),
            allow_delete_all: self.options.allow_delete_all,
            host: &self.options.host,
            policy: policy.map(|rules| in_force(rules, &engine_sockets)),
        });
        *lock(&self.of_secrets) = of_secrets.into_inner().unwrap_or_else(PoisonError::into_inner);
        stack.map_err(|report| report.to_string())
    }

    async fn variables(
        &self,
        commit: &Commit,
        files: &mut BTreeMap<PathBuf, Result<Vec<u8>, Unread>>,
    ) -> Result<Variables, String> {
        if !self.options.env_files.is_empty() {
            return Variables::of_files(&self.options.env_files);
        }
        let path = self.options.path.folder().join(".env");
        let name = format!("{} @ {}", path.display(), commit.short());
        let mut variables = Variables::default();
        match self.file_at(commit, &path, files).await? {
            Ok(bytes) => variables.add(&name, bytes)?,
            Err(unread) if unread.kind == io::ErrorKind::NotFound => {}
            Err(unread) => return Err(format!("cannot read the env file {name}: {}", unread.why)),
        }
        Ok(variables)
    }

    /// Returns a file of the commit, or what it is instead.
    async fn file_at(
        &self,
        commit: &Commit,
        path: &Path,
        files: &mut BTreeMap<PathBuf, Result<Vec<u8>, Unread>>,
    ) -> Result<Result<Vec<u8>, Unread>, String> {
        if let Some(known) = files.get(path) {
            return Ok(known.clone());
        }
        let read = match tree::read(&self.repository.git, commit, path).await {
            Ok(bytes) => Ok(bytes),
            // Not the commit's fault, so the next pass tries again.
            Err(TreeError::Git(error)) => {
                return Err(format!("cannot read {} of {commit}: {error}", path.display()));
            }
            Err(error) => Err(Unread::from(&error)),
        };
        files.insert(path.to_owned(), read.clone());
        Ok(read)
    }

    /// Puts the commit of a valid file where it is wanted: its files on disk, and its
    /// name where a later start finds it.
    async fn settle(
        &self,
        stack: &Stack,
        commit: &Commit,
        loaded: &mut Loaded,
    ) -> Result<(), String> {
        let tree = self.repository.tree();
        if loaded.checked_out.as_ref() != Some(commit) && checkout::is_needed(stack, &tree) {
            loaded.checked_out = None;
            let brought = checkout::bring(&self.repository.git, &tree, commit).await;
            brought.map_err(|error| {
                format!("the files of {} cannot be put on the disk: {error}", commit.short())
            })?;
            loaded.checked_out = Some(commit.clone());
        }
        if loaded.valid.as_ref() != Some(commit) {
            match self.repository.name(VALID, commit).await {
                Ok(()) => loaded.valid = Some(commit.clone()),
                // Only a start that finds no memory and a bad file would want it.
                Err(error) => warn!("the last good commit cannot be noted: {error}"),
            }
        }
        Ok(())
    }
}

impl State {
    fn take_note(&mut self, error: &FetchError) {
        match error {
            FetchError::Rewritten { to, .. } => {
                // The remote answers well; it is what it says that is not followed.
                self.refused = Some(to.clone());
                self.fetched_at_unix_ms = Some(unix_ms_now());
            }
            FetchError::NoBranch { .. } => self.fetched_at_unix_ms = Some(unix_ms_now()),
            FetchError::Remote { .. } | FetchError::Local(_) => {}
        }
        let stays = match &self.followed {
            Some(followed) => format!(". {} stays in force", followed.commit.short()),
            None => String::new(),
        };
        let trouble = format!("{}{stays}", error.with_hint());
        if self.trouble.as_ref() != Some(&trouble) {
            warn!("{trouble}");
        }
        self.trouble = Some(trouble);
    }
}

impl Source for GitSource {
    async fn load(&self) -> Result<Stack, String> {
        let followed = self.state().followed.clone();
        match followed {
            Some(Followed { commit, subject, author, .. }) => {
                let mut stack = self.load_at(&commit).await?;
                stack.telling.commit = Some(CommitNote { subject, author });
                Ok(stack)
            }
            None => Err(self.state().trouble.clone().unwrap_or_else(|| {
                format!("nothing is fetched yet from {}", self.0.options.remote.shown())
            })),
        }
    }

    fn standing(&self) -> Option<GitStanding> {
        let State { followed, refused, fetched_at_unix_ms, trouble } = self.state().clone();
        let Followed { commit, subject, earlier, committed_at_unix_ms, author: _ } = followed?;
        Some(GitStanding {
            url: self.0.options.remote.shown().to_owned(),
            branch: self.0.options.branch.clone(),
            path: self.0.options.path.as_str().to_owned(),
            commit,
            subject,
            earlier,
            committed_at_unix_ms,
            fetched_at_unix_ms,
            trouble,
            refused,
        })
    }
}

fn say(branch: &str, from: Option<&Commit>, fetched: &Fetched) {
    let from = from.map_or("nothing", Commit::short);
    match fetched {
        Fetched::Same => {}
        Fetched::First(to) | Fetched::Ahead(to) => {
            info!(branch, from, to = to.short(), "the branch has moved");
        }
        Fetched::Elsewhere(to) => {
            let to = to.short();
            warn!(branch, from, to, "the branch's history was rewritten, and it is followed");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For people alone: nothing is decided by it.
fn unix_ms_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
