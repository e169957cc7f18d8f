//! Secrets from files of this host, and the age identity that decrypts others.
//!
//! What is in the clear must not be for every user to read; the identity, which opens
//! all that is encrypted to it, for nobody but its owner. Both are read anew at each
//! load, and watched, so that a rotation is a save.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::SystemTime,
};

use age::{Decryptor, IdentityFile, armor::ArmoredReader};

use crate::domain::manifest::{Holds, MAX_SECRET_BYTES, Undecrypted, Unread, Vault};

use super::{
    open::{open_regular, rest_of},
    stable::{MAX_FILE_BYTES, QUIET, Stamp},
};

/// Where the identity is looked for that nobody named.
const USUAL_IDENTITY: &str = "/etc/quaymaster/age.key";

/// Others than the owner may do something with a file.
const FOR_OTHERS: u32 = 0o077;

/// Every user may read a file.
const READ_BY_ALL: u32 = 0o004;

/// How often a file is looked at that does not stand unchanged for [`QUIET`]. Few, because the loop waits meanwhile: a
/// file that is still being written wakes it again when it is done.
const MAX_READS: usize = 5;

type Identities = Vec<Box<dyn age::Identity + Send + Sync>>;

/// The age identity of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeIdentity {
    path: PathBuf,
    is_named: bool,
}

impl Default for AgeIdentity {
    /// The one in the usual place, if there is one.
    fn default() -> AgeIdentity {
        AgeIdentity { path: PathBuf::from(USUAL_IDENTITY), is_named: false }
    }
}

impl AgeIdentity {
    /// The one in this file, which has to be there once it is needed.
    pub fn named(path: PathBuf) -> AgeIdentity {
        AgeIdentity { path, is_named: true }
    }

    /// Decrypts what is encrypted to it, up to the size of a secret.
    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, Undecrypted> {
        // Looked at first: whoever has no identity is better told of a bad paste.
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(without_margin(encrypted)))
            .map_err(|_| Undecrypted::NotAge)?;
        if decryptor.is_scrypt() {
            return Err(Undecrypted::Passphrase);
        }
        let identities = self.read()?;
        let identities = identities.iter().map(|identity| &**identity as &dyn age::Identity);
        let reader = decryptor.decrypt(identities).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => Undecrypted::ForOthers(self.path.clone()),
            _ => Undecrypted::Damaged,
        })?;
        let mut content = Vec::new();
        let most = u64::try_from(MAX_SECRET_BYTES).unwrap_or(u64::MAX) + 1;
        reader.take(most).read_to_end(&mut content).map_err(|_| Undecrypted::Damaged)?;
        match content.len() > MAX_SECRET_BYTES {
            true => Err(Undecrypted::TooLarge),
            false => Ok(content),
        }
    }

    fn read(&self) -> Result<Identities, Undecrypted> {
        let bad = |why: &dyn std::fmt::Display| Undecrypted::BadIdentity {
            path: self.path.clone(),
            why: why.to_string(),
        };
        let (file, metadata) = open_regular(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !self.is_named => {
                Undecrypted::NoIdentity { usual: self.path.clone() }
            }
            io::ErrorKind::NotFound => bad(&"there is no such file"),
            _ => bad(&error),
        })?;
        if metadata.mode() & FOR_OTHERS != 0 {
            return Err(Undecrypted::OpenIdentity(self.path.clone()));
        }
        let content = rest_of(file, &metadata, MAX_FILE_BYTES).map_err(|error| bad(&error))?;
        // The library's own words may be translated; and none of the line is to be told.
        let identities = IdentityFile::from_buffer(&content[..])
            .ok()
            .and_then(|file| file.into_identities().ok())
            .filter(|identities| !identities.is_empty());
        identities.ok_or_else(|| bad(&"there is no AGE-SECRET-KEY-1… line in it"))
    }
}

/// Returns an armored text without the blank lines around it, that pasting leaves.
fn without_margin(encrypted: &[u8]) -> &[u8] {
    let trimmed = encrypted.trim_ascii();
    if trimmed.starts_with(b"-----BEGIN ") { trimmed } else { encrypted }
}

/// Reads a path below the folder of the desired-state file.
type ReadInside<'l> = dyn Fn(&Path, Holds) -> Result<Vec<u8>, Unread> + 'l;

/// What one load of the desired state reads its secrets with.
pub(super) struct HostVault<'l> {
    pub identity: &'l AgeIdentity,
    /// Reads a path below the folder of the desired-state file.
    pub inside: &'l ReadInside<'l>,
    /// Takes note of each file of this host that matters: what to watch.
    pub concerned: &'l Mutex<BTreeSet<PathBuf>>,
    pub values: Values,
}

/// Whether this host has what secrets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Asked,
    /// Only the file is to be checked, where there are none.
    NotAsked,
}

impl HostVault<'_> {
    fn note(&self, path: &Path) {
        self.concerned.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }
}

impl Vault for HostVault<'_> {
    fn read(&self, path: &Path, holds: Holds) -> Result<Vec<u8>, Unread> {
        if path.is_relative() {
            return (self.inside)(path, holds);
        }
        self.note(path);
        read_settled(path, holds)
    }

    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, Undecrypted> {
        self.note(&self.identity.path);
        self.identity.decrypt(encrypted)
    }

    fn is_open(&self) -> bool {
        self.values == Values::Asked
    }
}

/// Reads a file of this host once nobody is writing it: half a secret must not become
/// a release.
pub(super) fn read_settled(path: &Path, holds: Holds) -> Result<Vec<u8>, Unread> {
    let mut last = read_once(path, holds);
    for _ in 0..MAX_READS {
        let stands = match &last {
            Ok((stamp, _)) => Stamp::of(path).ok() == Some(*stamp),
            Err(_) => true,
        };
        if stands && !is_fresh(path) {
            return last.map(|(_, content)| content);
        }
        thread::sleep(QUIET);
        let next = read_once(path, holds);
        if next == last {
            return next.map(|(_, content)| content);
        }
        last = next;
    }
    let why = "it keeps changing while it is read; write it in one go, or beside and rename it";
    Err(Unread::Unreadable(why.to_owned()))
}

/// Whether somebody may still be writing a file. One that is gone may be on its way, but
/// a pass must not wait for each file that is missing.
fn is_fresh(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age < QUIET)
}

fn read_once(path: &Path, holds: Holds) -> Result<(Stamp, Vec<u8>), Unread> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Missing,
        io::ErrorKind::FileTooLarge => Unread::TooLarge,
        _ => Unread::Unreadable(error.to_string()),
    };
    let (file, metadata) = open_regular(path).map_err(unreadable)?;
    let most = match holds {
        Holds::ThePlainSecret => u64::try_from(MAX_SECRET_BYTES).unwrap_or(u64::MAX),
        // As Base64, and with a header for each recipient.
        Holds::AnEncryptedOne => MAX_FILE_BYTES,
    };
    if holds == Holds::ThePlainSecret && metadata.mode() & READ_BY_ALL != 0 {
        return Err(Unread::Open { path: path.to_owned() });
    }
    let content = rest_of(file, &metadata, most).map_err(unreadable)?;
    Ok((Stamp::from(&metadata), content))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use age::{secrecy::ExposeSecret, x25519};

    use super::*;

    struct Host {
        folder: tempfile::TempDir,
        recipient: x25519::Recipient,
    }

    impl Host {
        /// A host with an identity in `age.key`.
        fn new() -> Host {
            let folder = tempfile::tempdir().expect("a folder");
            let identity = x25519::Identity::generate();
            let text = format!("# made by a test\n{}\n", identity.to_string().expose_secret());
            let host = Host { folder, recipient: identity.to_public() };
            host.write("age.key", text.as_bytes(), 0o600);
            host
        }

        fn write(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
            let path = self.folder.path().join(name);
            fs::write(&path, content).expect("writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            path
        }

        fn identity(&self) -> AgeIdentity {
            AgeIdentity::named(self.folder.path().join("age.key"))
        }
    }

    #[test]
    fn armored_and_binary_are_decrypted() {
        let host = Host::new();
        let armored = age::encrypt_and_armor(&host.recipient, b"hunter2").expect("encrypted");
        let binary = age::encrypt(&host.recipient, b"hunter2").expect("encrypted");
        for encrypted in [armored.as_bytes(), format!("\n{armored}\n").as_bytes(), &binary] {
            assert_eq!(host.identity().decrypt(encrypted).as_deref(), Ok(&b"hunter2"[..]));
        }
    }

    #[test]
    fn what_cannot_be_decrypted_is_told_apart() {
        let (host, other) = (Host::new(), Host::new());
        let decrypt = |encrypted: &[u8]| host.identity().decrypt(encrypted).expect_err("refused");
        let path = host.identity().path;
        let for_other = age::encrypt(&other.recipient, b"hunter2").expect("encrypted");
        assert_eq!(decrypt(&for_other), Undecrypted::ForOthers(path.clone()));
        assert_eq!(decrypt(b"hunter2"), Undecrypted::NotAge);
        let mut damaged = age::encrypt(&host.recipient, b"hunter2").expect("encrypted");
        *damaged.last_mut().expect("it has bytes") ^= 1;
        assert_eq!(decrypt(&damaged), Undecrypted::Damaged);
        let too_large = vec![b'a'; MAX_SECRET_BYTES + 1];
        let too_large = age::encrypt(&host.recipient, &too_large).expect("encrypted");
        assert_eq!(decrypt(&too_large), Undecrypted::TooLarge);
        let passphrase = age::scrypt::Recipient::new("open sesame".to_owned().into());
        let passphrase = age::encrypt(&passphrase, b"hunter2").expect("encrypted");
        assert_eq!(decrypt(&passphrase), Undecrypted::Passphrase);

        let mine = age::encrypt(&host.recipient, b"hunter2").expect("encrypted");
        host.write("age.key", b"hunter2\n", 0o600);
        assert!(
            matches!(decrypt(&mine), Undecrypted::BadIdentity { why, .. } if !why.contains("hunter2"))
        );
        host.write("age.key", b"", 0o640);
        assert_eq!(decrypt(&mine), Undecrypted::OpenIdentity(path));
    }

    #[test]
    fn an_identity_that_nobody_named_may_be_missing() {
        let host = Host::new();
        let mine = age::encrypt(&host.recipient, b"hunter2").expect("encrypted");
        let path = host.folder.path().join("none");
        let unnamed = AgeIdentity { path: path.clone(), is_named: false };
        assert_eq!(unnamed.decrypt(&mine), Err(Undecrypted::NoIdentity { usual: path.clone() }));
        let error = AgeIdentity::named(path).decrypt(&mine).expect_err("it is not there");
        assert!(matches!(error, Undecrypted::BadIdentity { .. }), "{error}");
    }

    #[test]
    fn a_secret_that_every_user_may_read_is_refused() {
        let host = Host::new();
        let read = |path: &Path, holds| read_settled(path, holds);
        let path = host.write("db", b"hunter2", 0o640);
        assert_eq!(read(&path, Holds::ThePlainSecret).as_deref(), Ok(&b"hunter2"[..]));
        let path = host.write("db", b"hunter2", 0o644);
        assert_eq!(read(&path, Holds::ThePlainSecret), Err(Unread::Open { path: path.clone() }));
        assert!(read(&path, Holds::AnEncryptedOne).is_ok());
        let path = host.write("large", &vec![0; MAX_SECRET_BYTES + 1], 0o600);
        assert_eq!(read(&path, Holds::ThePlainSecret), Err(Unread::TooLarge));
        let missing = host.folder.path().join("none");
        assert_eq!(read(&missing, Holds::ThePlainSecret), Err(Unread::Missing));
        let folder = read(host.folder.path(), Holds::ThePlainSecret);
        assert!(matches!(folder, Err(Unread::Unreadable(_))), "{folder:?}");
    }

    /// `/proc/kmsg` is one of these: a regular file by its own account, whose reading waits.
    #[test]
    fn neither_a_secret_nor_an_identity_is_read_that_the_kernel_makes_up() {
        let host = Host::new();
        let link = host.folder.path().join("link");
        std::os::unix::fs::symlink("/proc/self/environ", &link).expect("made");
        for path in [Path::new("/proc/self/environ"), &link] {
            let read = read_settled(path, Holds::ThePlainSecret);
            let told = matches!(&read, Err(Unread::Unreadable(why)) if why.contains("procfs"));
            assert!(told, "{:?}", read.map(|content| content.len()));
            let mine = age::encrypt(&host.recipient, b"hunter2").expect("encrypted");
            let error = AgeIdentity::named(path.to_owned()).decrypt(&mine).expect_err("refused");
            assert!(error.to_string().contains("procfs"), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_written_all_the_time_does_not_hold_up_the_loop() {
        let host = Host::new();
        let path = host.write("db", b"0", 0o600);
        let is_done = std::sync::atomic::AtomicBool::new(false);
        let write = |round: u32| fs::write(&path, round.to_string()).expect("writable");
        thread::scope(|scope| {
            scope.spawn(|| {
                let is_going = |_: &u32| !is_done.load(std::sync::atomic::Ordering::Relaxed);
                (0..).take_while(is_going).for_each(write);
            });
            let read = read_settled(&path, Holds::ThePlainSecret);
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            let told =
                matches!(&read, Err(Unread::Unreadable(why)) if why.contains("keeps changing"));
            assert!(told, "{read:?}");
            // It was given up after so many looks, which is what bounds the wait.
            let longest: std::time::Duration = [QUIET; MAX_READS].into_iter().sum();
            assert!(longest <= std::time::Duration::from_millis(100), "{longest:?}");
        });
    }
}
