//! The secret files of containers, in a folder of this host's memory.
//!
//! ```text
//! SECRETS_DIR/STACK/RELEASE/0-db_password      on a tmpfs, folders 0700
//! ```
//!
//! Containers have them bind-mounted, read-only. There is a folder for each release, so
//! what a release sees never changes: a rotation is another release. A folder goes when
//! nothing needs it; after a reboot all of them are gone, and they are put back from
//! what is remembered before their containers are started. What was put there stays
//! where it is, since a bind mount holds on to the file and not to its name.
//!
//! Deliberately no volume driver and no `docker cp`: both leave values on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{FsWord, Gid, Uid, chown, statfs},
    process::geteuid,
};

use crate::{
    domain::{
        ReleaseId, SecretFile, StackName,
        snapshot::{Failure, FailureKind},
    },
    plan::SecretFiles,
};

/// Where secret files are put unless somebody says otherwise.
pub const SECRETS_DIR: &str = "/run/quaymaster/secrets";

/// File systems that are memory and nothing else; statfs(2).
const IN_MEMORY: [FsWord; 2] = [0x0102_1994, 0x8584_58f6];

/// Nobody but us lists or passes through the folders, whatever the files allow.
const FOLDER_MODE: u32 = 0o700;

const WRITTEN_BY_OTHERS: u32 = 0o022;

/// The files of one release: path in the container → secret.
type Files = BTreeMap<String, SecretFile>;

/// Why secret files cannot be put in place. Never holds a value.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretsError {
    #[error(
        "secret files need an engine on this host, and {0} is not known to be one; \
         `secrets: [{{ source: …, environment: … }}]` gives them as variables"
    )]
    EngineElsewhere(String),
    #[error(
        "secret files are kept in memory only, and {} is on a disk; \
         name a folder on a tmpfs with --secrets-dir (`findmnt --types tmpfs` lists them)",
        .0.display()
    )]
    OnDisk(PathBuf),
    #[error(
        "other users can change {}, so no secret is put there; \
         name a folder of this user alone with --secrets-dir",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("its secret files are gone, and what was in them is not remembered")]
    Forgotten,
    #[error("cannot give the secret {name} to {owner}: only root may (CAP_CHOWN)")]
    Owner { name: String, owner: String },
    #[error("cannot put secret files into {}: {source}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
}

impl SecretsError {
    pub fn into_failure(self, doing: &str) -> Failure {
        let kind = match &self {
            SecretsError::EngineElsewhere(_)
            | SecretsError::OnDisk(_)
            | SecretsError::Foreign(_)
            | SecretsError::Forgotten
            | SecretsError::Owner { .. } => FailureKind::Refused,
            SecretsError::Io { .. } => FailureKind::Transient,
        };
        Failure { kind, message: format!("cannot {doing}: {self}") }
    }
}

/// The secret files of one stack.
pub(super) struct SecretsFolder {
    top: PathBuf,
    stack: PathBuf,
    /// Where the engine is, if that is elsewhere.
    elsewhere: Option<String>,
    /// The files of the releases that have containers, so that they can be put back.
    known: Mutex<BTreeMap<ReleaseId, Files>>,
    said: Mutex<Option<String>>,
}

impl SecretsFolder {
    pub fn new(top: &Path, stack: &StackName, elsewhere: Option<String>) -> SecretsFolder {
        // Docker mounts no relative path.
        let top = std::path::absolute(top).unwrap_or_else(|_| top.to_owned());
        SecretsFolder {
            stack: top.join(stack.as_str()),
            top,
            elsewhere,
            known: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// Returns each file of a release: where it is put, and where the container has it.
    pub fn places<'f>(
        &self,
        release: &ReleaseId,
        files: &'f Files,
    ) -> impl Iterator<Item = (PathBuf, &'f str, &'f SecretFile)> {
        let folder = self.stack.join(release.as_str());
        files.iter().enumerate().map(move |(at, (target, file))| {
            // Numbered: one secret may be there twice, with two owners.
            (folder.join(format!("{at}-{}", file.name)), target.as_str(), file)
        })
    }

    /// Puts the files of these releases where they are missing, and removes those that
    /// nothing needs.
    pub fn keep(&self, wanted: &SecretFiles<'_>) {
        for (release, files) in &wanted.of {
            if !lock(&self.known).contains_key(release) {
                lock(&self.known).insert((*release).clone(), (*files).clone());
            }
            if let Err(error) = self.put(release, files) {
                self.say_once(&error);
            }
        }
        if let Some(needed) = &wanted.needed {
            lock(&self.known).retain(|release, _| needed.contains(release));
            if let Err(error) = self.prune(needed) {
                self.say_once(&self.io_error(error));
            }
        }
    }

    /// Puts the files of a release where they are missing.
    pub fn put(&self, release: &ReleaseId, files: &Files) -> Result<(), SecretsError> {
        if files.is_empty() {
            return Ok(());
        }
        if let Some(endpoint) = &self.elsewhere {
            return Err(SecretsError::EngineElsewhere(endpoint.clone()));
        }
        if self.places(release, files).all(|(path, _, file)| stands(&path, file)) {
            return Ok(());
        }
        let folder = self.stack.join(release.as_str());
        // Looked at first, so that nothing is left on a disk.
        let there = self.top.ancestors().find(|folder| folder.exists()).unwrap_or(&self.top);
        if !is_in_memory(there).map_err(|error| self.io_error(error))? {
            return Err(SecretsError::OnDisk(self.top.clone()));
        }
        for folder in [&self.top, &self.stack, &folder] {
            if !is_own_folder(folder).map_err(|error| self.io_error(error))? {
                return Err(SecretsError::Foreign(folder.clone()));
            }
            if !is_in_memory(folder).map_err(|error| self.io_error(error))? {
                return Err(SecretsError::OnDisk(folder.clone()));
            }
        }
        for (path, _, file) in self.places(release, files) {
            if !stands(&path, file) {
                self.write(&path, file)?;
            }
        }
        Ok(())
    }

    /// Puts back the files of a container that is about to be started.
    pub fn put_back(&self, release: &ReleaseId) -> Result<(), SecretsError> {
        let files = lock(&self.known).get(release).cloned();
        match files {
            Some(files) => self.put(release, &files),
            None if self.stack.join(release.as_str()).is_dir() => Ok(()),
            None => Err(SecretsError::Forgotten),
        }
    }

    /// Returns whether a mount's source is one of ours.
    pub fn holds(&self, source: &str) -> bool {
        Path::new(source).starts_with(&self.stack)
    }

    /// Written beside and renamed, so that no container ever starts with half of one.
    fn write(&self, path: &Path, file: &SecretFile) -> Result<(), SecretsError> {
        let fresh = path.with_extension("new");
        let write = || {
            // Left by a controller that was killed in between.
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut out = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
            out.write_all(file.content.reveal())?;
            out.set_permissions(Permissions::from_mode(file.mode))
        };
        write().map_err(|error| self.io_error(error))?;
        if file.uid.is_some() || file.gid.is_some() {
            let (uid, gid) = (file.uid.map(Uid::from_raw), file.gid.map(Gid::from_raw));
            chown(&fresh, uid, gid).map_err(|error| match error {
                rustix::io::Errno::PERM => {
                    let id = |id: Option<u32>| id.map_or(String::new(), |id| id.to_string());
                    let owner = format!("{}:{}", id(file.uid), id(file.gid));
                    SecretsError::Owner { name: file.name.clone(), owner }
                }
                error => self.io_error(error.into()),
            })?;
        }
        fs::rename(&fresh, path).map_err(|error| self.io_error(error))
    }

    fn prune(&self, needed: &BTreeSet<&ReleaseId>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.stack) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            // What is named otherwise is not ours.
            let Ok(release) = ReleaseId::try_from(name) else { continue };
            if !needed.contains(&release) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        // It stays as long as there is something in it.
        let _ = fs::remove_dir(&self.stack);
        Ok(())
    }

    fn io_error(&self, source: io::Error) -> SecretsError {
        SecretsError::Io { folder: self.stack.clone(), source }
    }

    fn say_once(&self, error: &SecretsError) {
        let text = error.to_string();
        let mut said = lock(&self.said);
        if said.as_ref() != Some(&text) {
            tracing::warn!("secret files are not in place: {text}");
            *said = Some(text);
        }
    }
}

/// Returns whether a file is there as it should be. A wrong owner is one that was asked
/// for and is another's.
fn stands(path: &Path, file: &SecretFile) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    let content = file.content.reveal();
    metadata.is_file()
        && metadata.mode() & 0o7777 == file.mode
        && file.uid.is_none_or(|uid| uid == metadata.uid())
        && file.gid.is_none_or(|gid| gid == metadata.gid())
        && u64::try_from(content.len()).is_ok_and(|length| length == metadata.len())
        && match fs::read(path) {
            Ok(there) => there == content,
            // Its mode or owner bars us as well; nobody else gets into the folder.
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
}

/// Makes a folder that nobody else gets into, unless it is there. Returns whether it is
/// one that nobody else can change: what is in it could be swapped otherwise.
fn is_own_folder(folder: &Path) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let metadata = fs::symlink_metadata(folder)?;
    let is_open = metadata.mode() & WRITTEN_BY_OTHERS != 0;
    Ok(metadata.is_dir() && metadata.uid() == geteuid().as_raw() && !is_open)
}

fn is_in_memory(folder: &Path) -> io::Result<bool> {
    Ok(IN_MEMORY.contains(&statfs(folder)?.f_type))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretBytes;

    /// A folder in memory, where this host has one for everybody.
    fn in_memory() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("qm-").tempdir_in("/dev/shm").expect("a folder in memory")
    }

    fn folder_in(top: &Path) -> SecretsFolder {
        SecretsFolder::new(&top.join("secrets"), &"shop".parse().expect("a name"), None)
    }

    fn release(digit: char) -> ReleaseId {
        ReleaseId::try_from(digit.to_string().repeat(ReleaseId::HEX_DIGITS)).expect("an id")
    }

    fn files(value: &str) -> Files {
        let file = |mode| SecretFile {
            name: "db".to_owned(),
            content: SecretBytes::new(value),
            uid: None,
            gid: None,
            mode,
        };
        [("/run/secrets/db".to_owned(), file(0o444)), ("/x".to_owned(), file(0o400))].into()
    }

    fn wanted<'f>(release: &'f ReleaseId, files: &'f Files) -> SecretFiles<'f> {
        SecretFiles { of: [(release, files)].into(), needed: Some([release].into()) }
    }

    #[test]
    fn each_file_is_put_with_its_mode_where_nobody_else_gets() {
        let top = in_memory();
        let folder = folder_in(top.path());
        let (release, files) = (release('a'), files("hunter2"));
        folder.put(&release, &files).expect("put");
        for (path, _, file) in folder.places(&release, &files) {
            assert_eq!(fs::read(&path).expect("it is there"), b"hunter2");
            assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, file.mode);
            let around = path.ancestors().skip(1).take(3);
            for folder in around {
                assert_eq!(fs::metadata(folder).expect("there").mode() & 0o7777, 0o700);
            }
        }
    }

    #[test]
    fn what_stands_is_left_where_it_is_and_what_does_not_is_mended() {
        let top = in_memory();
        let folder = folder_in(top.path());
        let (release, files) = (release('a'), files("hunter2"));
        let (path, _, _) = folder.places(&release, &files).next().expect("a file");
        let inode = || fs::metadata(&path).expect("it is there").ino();
        folder.keep(&wanted(&release, &files));
        let first = inode();
        folder.keep(&wanted(&release, &files));
        assert_eq!(inode(), first);
        fs::write(path.with_extension("new"), "half").expect("a leftover");
        fs::remove_file(&path).expect("ours");
        fs::write(&path, "changed").expect("ours");
        folder.keep(&wanted(&release, &files));
        assert_eq!(fs::read(&path).expect("it is there"), b"hunter2");
        fs::remove_dir_all(folder.stack.clone()).expect("ours");
        folder.put_back(&release).expect("it is remembered");
        assert_eq!(fs::read(&path).expect("it is there"), b"hunter2");
    }

    #[test]
    fn only_folders_of_releases_that_nothing_needs_are_removed() {
        let top = in_memory();
        let folder = folder_in(top.path());
        let (old, new) = (release('a'), release('b'));
        let files = files("hunter2");
        folder.put(&old, &files).expect("put");
        let theirs = folder.stack.join("theirs");
        fs::create_dir(&theirs).expect("a folder");
        folder.keep(&SecretFiles { needed: None, ..wanted(&new, &files) });
        assert!(folder.stack.join(old.as_str()).exists(), "removed, though it may be needed");
        folder.keep(&wanted(&new, &files));
        assert!(!folder.stack.join(old.as_str()).exists());
        assert!(folder.stack.join(new.as_str()).exists() && theirs.exists());
        assert!(matches!(folder.put_back(&old), Err(SecretsError::Forgotten)));
        fs::remove_dir(theirs).expect("a folder");
        folder.keep(&SecretFiles { of: BTreeMap::new(), needed: Some(BTreeSet::new()) });
        assert!(!folder.stack.exists());
    }

    #[test]
    fn no_secret_is_put_on_a_disk() {
        // Of the build, which nobody keeps in memory.
        let disk = Path::new(env!("CARGO_MANIFEST_DIR"));
        if is_in_memory(disk).expect("it is there") {
            return;
        }
        let top = tempfile::tempdir_in(disk).expect("a folder");
        let folder = folder_in(top.path());
        let error = folder.put(&release('a'), &files("hunter2")).expect_err("it is a disk");
        assert!(matches!(error, SecretsError::OnDisk(_)), "{error}");
        let failure = error.into_failure("create shop-web-blue-1");
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("--secrets-dir"), "{failure}");
        assert!(!folder.top.exists(), "something is left there");
    }

    #[test]
    fn a_folder_that_others_can_change_is_not_used() {
        let top = in_memory();
        let folder = folder_in(top.path());
        fs::create_dir(top.path().join("elsewhere")).expect("a folder");
        std::os::unix::fs::symlink("elsewhere", &folder.top).expect("a symlink");
        let error = folder.put(&release('a'), &files("hunter2")).expect_err("a symlink");
        assert!(matches!(error, SecretsError::Foreign(_)), "{error}");
        fs::remove_file(&folder.top).expect("ours");
        fs::create_dir(&folder.top).expect("a folder");
        fs::set_permissions(&folder.top, Permissions::from_mode(0o1777)).expect("ours");
        let error = folder.put(&release('a'), &files("hunter2")).expect_err("for everybody");
        assert!(matches!(error, SecretsError::Foreign(_)), "{error}");
    }

    #[test]
    fn an_engine_elsewhere_sees_no_file_of_this_host() {
        let top = in_memory();
        let stack = "shop".parse().expect("a name");
        let folder = SecretsFolder::new(top.path(), &stack, Some("tcp://10.0.0.2:2375".to_owned()));
        let error = folder.put(&release('a'), &files("hunter2")).expect_err("it is elsewhere");
        assert!(error.to_string().contains("tcp://10.0.0.2:2375"), "{error}");
        folder.put(&release('b'), &Files::new()).expect("nothing is to be put");
    }
}
