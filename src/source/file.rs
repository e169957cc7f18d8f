//! The desired state in a local file.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    domain::{
        HostIdentity, Stack,
        manifest::{self, AllowDeleteAll, Holds, Input, Unread},
    },
    ports::Source,
};

use super::{
    policy::{PolicyFile, engine_sockets, in_force},
    stable::{self, Content},
    variables::{Variables, read_bounded},
    vault::{AgeIdentity, HostVault, Values, read_settled},
    watch::{FileWatch, LOOK_EVERY, Wake},
};

/// A desired-state file, with the `--env-file`s that its variables come from.
pub struct FileSource {
    path: PathBuf,
    env_files: EnvFiles,
    allow_delete_all: AllowDeleteAll,
    host: HostIdentity,
    policy: Option<PolicyFile>,
    age_identity: AgeIdentity,
    values: Values,
    /// What was read last, so that an idle pass asks only for the file's stamp.
    known: Mutex<Option<Content>>,
    /// Every file that the last load read or wanted: what to watch.
    concerned: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// Where variables come from, beside the environment.
enum EnvFiles {
    /// These, and each of them has to be there. Later files win, as they do for
    /// Compose.
    Named(Vec<PathBuf>),
    /// The `.env` beside the file, if there is one: Compose's default.
    Beside(PathBuf),
}

impl EnvFiles {
    fn new(named: Vec<PathBuf>, file: &Path) -> EnvFiles {
        match named.is_empty() {
            true => EnvFiles::Beside(base_dir(file).join(".env")),
            false => EnvFiles::Named(named),
        }
    }

    fn paths(&self) -> &[PathBuf] {
        match self {
            EnvFiles::Named(paths) => paths,
            EnvFiles::Beside(path) => std::slice::from_ref(path),
        }
    }

    fn read(&self) -> Result<Variables, String> {
        match self {
            EnvFiles::Named(paths) => Variables::of_files(paths),
            EnvFiles::Beside(path) => Variables::of_file_if_there(path),
        }
    }
}

impl FileSource {
    /// Returns the source of what the file at `path` declares for `host`. Without any `env_files`, the `.env`
    /// beside it is read, if there is one.
    pub fn new(
        path: impl Into<PathBuf>,
        env_files: Vec<PathBuf>,
        allow_delete_all: AllowDeleteAll,
        host: HostIdentity,
    ) -> FileSource {
        let path = path.into();
        let env_files = EnvFiles::new(env_files, &path);
        let concerned = concerned_by(&path, &env_files);
        FileSource {
            path,
            env_files,
            allow_delete_all,
            host,
            policy: None,
            age_identity: AgeIdentity::default(),
            values: Values::Asked,
            known: Mutex::default(),
            concerned: Arc::new(Mutex::new(concerned)),
        }
    }

    /// Returns the source with every load held against the policy of this host.
    #[must_use]
    pub fn under(self, policy: PolicyFile) -> FileSource {
        lock(&self.concerned).insert(policy.path().to_owned());
        FileSource { policy: Some(policy), ..self }
    }

    /// Decrypts with this identity, instead of the one in the usual place.
    pub fn with_age_identity(self, age_identity: AgeIdentity) -> FileSource {
        FileSource { age_identity, ..self }
    }

    /// Asks for no value of a secret: what is loaded then is good for a check of the file,
    /// and for nothing else.
    pub fn without_secrets(self) -> FileSource {
        FileSource { values: Values::NotAsked, ..self }
    }

    /// Calls `wake` soon after one of the files changes that the desired state
    /// is made of, for as long as the watch lives. Must be called inside a
    /// runtime.
    pub fn watch(&self, wake: Wake) -> FileWatch {
        let concerned = Arc::clone(&self.concerned);
        FileWatch::begin(move || lock(&concerned).clone(), wake, LOOK_EVERY)
    }

    async fn read(&self) -> Result<Vec<u8>, String> {
        let known = lock(&self.known).take();
        let content = stable::read(&self.path, known).await.map_err(|error| error.to_string())?;
        let bytes = content.bytes.clone();
        *lock(&self.known) = Some(content);
        Ok(bytes)
    }

    fn parse(&self, text: &[u8]) -> Result<Stack, String> {
        let variables = self.env_files.read()?;
        let variables = |name: &str| variables.get(name);
        let base_dir = base_dir(&self.path);
        let policy = self.policy.as_ref().map(PolicyFile::read).transpose()?.flatten();
        let mut concerned = concerned_by(&self.path, &self.env_files);
        concerned.extend(self.policy.as_ref().map(|policy| policy.path().to_owned()));
        concerned.extend(policy.iter().flat_map(|policy| policy.key_files.clone()));
        let concerned = Mutex::new(concerned);
        let read_file = |path: &Path| {
            let path = base_dir.join(path);
            lock(&concerned).insert(path.clone());
            read_within(&base_dir, &path)
        };
        let read_secret = |path: &Path, holds| {
            let path = base_dir.join(path);
            lock(&concerned).insert(path.clone());
            read_secret_within(&base_dir, &path, holds)
        };
        let vault = HostVault {
            identity: &self.age_identity,
            inside: &read_secret,
            concerned: &concerned,
            values: self.values,
        };
        let engine_sockets = engine_sockets();
        let stack = manifest::parse(&Input {
            file_name: &self.path.display().to_string(),
            text,
            variables: &variables,
            read_file: &read_file,
            vault: &vault,
            base_dir: &base_dir,
            allow_delete_all: self.allow_delete_all,
            host: &self.host,
            policy: policy.as_ref().map(|rules| in_force(rules, &engine_sockets)),
        });
        *lock(&self.concerned) = concerned.into_inner().unwrap_or_else(PoisonError::into_inner);
        stack.map_err(|report| report.to_string())
    }
}

impl Source for FileSource {
    async fn load(&self) -> Result<Stack, String> {
        let text = self.read().await?;
        self.parse(&text)
    }
}

fn concerned_by(path: &Path, env_files: &EnvFiles) -> BTreeSet<PathBuf> {
    env_files.paths().iter().cloned().chain([path.to_owned()]).collect()
}

/// Returns the absolute folder that the file's relative paths start from.
fn base_dir(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Reads a file that the desired state names; one that lies outside `folder`,
/// also by way of a symlink, is refused.
fn read_within(folder: &Path, path: &Path) -> io::Result<Vec<u8>> {
    stays_within(folder, path)?;
    read_bounded(path)
}

fn read_secret_within(folder: &Path, path: &Path, holds: Holds) -> Result<Vec<u8>, Unread> {
    match stays_within(folder, path) {
        Ok(()) => read_settled(path, holds),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unread::Missing),
        Err(error) => Err(Unread::Unreadable(error.to_string())),
    }
}

fn stays_within(folder: &Path, path: &Path) -> io::Result<()> {
    if !fs::canonicalize(path)?.starts_with(fs::canonicalize(folder)?) {
        let text = format!("it leads out of {}", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
