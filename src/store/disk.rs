//! sled, opened with care, and set aside when it cannot be trusted.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use super::records::{Changes, Shelf};

/// sled keeps pages of at most this size in memory; the memory of a stack is
/// well below one megabyte.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// The damaged stores that are kept for a look at them.
const MAX_DAMAGED: usize = 3;

/// How often, and how far apart, sled is opened while it is still locked.
const MAX_OPENS: u32 = 40;
const BETWEEN_OPENS: Duration = Duration::from_millis(25);

const DAMAGED: &str = "db.damaged-";

/// Why sled did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot {action} the store")]
    Sled {
        action: &'static str,
        #[source]
        source: sled::Error,
    },
    #[error("sled panicked on trying to {action} the store")]
    Panicked { action: &'static str },
    #[error("cannot {action} {}", path.display())]
    Folder {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl DiskError {
    /// Returns whether the store itself is at fault, so that trying again with
    /// the same files cannot help. A full or read-only disk is not damage.
    fn is_damage(&self) -> bool {
        match self {
            DiskError::Panicked { .. } => true,
            DiskError::Folder { .. } => false,
            DiskError::Sled { source, .. } => match source {
                sled::Error::Corruption { .. }
                | sled::Error::ReportableBug(_)
                | sled::Error::Unsupported(_)
                | sled::Error::CollectionNotFound(_) => true,
                sled::Error::Io(error) => matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::IsADirectory
                        | io::ErrorKind::NotADirectory
                ),
            },
        }
    }

    fn is_lock(&self) -> bool {
        match self {
            DiskError::Sled { source: sled::Error::Io(error), .. } => {
                // sled keeps nothing of the error but its text.
                error.to_string().starts_with("could not acquire lock")
            }
            DiskError::Sled { .. } | DiskError::Panicked { .. } | DiskError::Folder { .. } => false,
        }
    }
}

/// An open sled.
pub(super) struct Disk {
    /// None only while it is being dropped.
    db: Option<sled::Db>,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let db = self.db.take();
        // sled flushes once more when dropped, and may panic over a disk that
        // has failed. The panic has nothing to add to the failure.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
    }
}

impl Disk {
    /// Writes all changes or none, durably.
    pub fn write(&self, changes: &Changes) -> Result<(), DiskError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_bytes(), value.as_slice()),
                None => batch.remove(key.as_bytes()),
            }
        }
        guarded("write", || {
            let db = self.db();
            db.apply_batch(batch)?;
            db.flush().map(drop)
        })
    }

    fn rows(&self) -> Result<BTreeMap<String, Vec<u8>>, DiskError> {
        guarded("read", || {
            self.db()
                .iter()
                .map(|row| {
                    let (key, value) = row?;
                    Ok((String::from_utf8_lossy(&key).into_owned(), value.to_vec()))
                })
                .collect()
        })
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("it is there until dropped")
    }
}

/// Returns whether a store stands in this folder.
pub(super) fn exists(folder: &Path) -> bool {
    db_path(folder).exists()
}

/// Opens the store in this folder, and reads all of it.
pub(super) fn open(folder: &Path) -> Result<(Disk, Shelf), DiskError> {
    let path = db_path(folder);
    make_private_folder(&path).map_err(|source| DiskError::Folder {
        action: "make",
        path: path.clone(),
        source,
    })?;
    sweep_torn_snapshots(&path).map_err(|source| DiskError::Folder {
        action: "sweep",
        path: path.clone(),
        source,
    })?;
    let disk = Disk { db: Some(open_unlocked(&path)?) };
    hide(&path).map_err(|source| DiskError::Folder { action: "protect", path, source })?;
    let shelf = Shelf::read(&disk.rows()?);
    Ok((disk, shelf))
}

/// Opens sled. Our own lock keeps other processes out, but sled's is let go of
/// late: by its threads after an earlier open of ours, or by a child of ours
/// between its fork and its exec.
fn open_unlocked(path: &Path) -> Result<sled::Db, DiskError> {
    let mut tries = 1;
    loop {
        let opened = guarded("open", || {
            sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .mode(sled::Mode::LowSpace)
                // Each write is flushed when it is made; a flush in between would
                // only wake an idle machine.
                .flush_every_ms(None)
                .open()
        });
        match opened {
            Err(error) if error.is_lock() && tries < MAX_OPENS => {
                tries += 1;
                std::thread::sleep(BETWEEN_OPENS);
            }
            Ok(_) | Err(_) => return opened,
        }
    }
}

/// Opens the store; one that is damaged is set aside, and what could be read of
/// it is written to a new one.
pub(super) fn open_or_set_aside(folder: &Path) -> Result<(Disk, Shelf), DiskError> {
    let salvaged = match open(folder) {
        Ok((disk, shelf)) if shelf.losses().is_empty() => return Ok((disk, shelf)),
        // It must be closed before it is moved.
        Ok((disk, shelf)) => {
            drop(disk);
            shelf.losses().iter().for_each(|loss| tracing::warn!("the store has a gap: {loss}"));
            shelf
        }
        Err(error) if error.is_damage() => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(cause, "the store is damaged: {error}");
            Shelf::default()
        }
        Err(error) => return Err(error),
    };
    let aside = set_aside(folder)?;
    tracing::warn!(
        kept_as = %aside.display(),
        "the damaged store was set aside; what is lost of it starts anew: timers, holds, history"
    );
    let (disk, empty) = open(folder)?;
    let (shelf, changes) = empty.changed_to(&salvaged.memory());
    disk.write(&changes)?;
    Ok((disk, shelf))
}

/// Makes a folder that only its owner can look into: the memory holds secrets.
/// What is missing above it lets others pass, since Caddy has to reach the
/// switch files there.
pub(super) fn make_private_folder(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent().filter(|above| !above.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(above)?;
        // The umask takes from the mode that a folder is created with.
        fs::set_permissions(above, fs::Permissions::from_mode(0o711))?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

fn db_path(folder: &Path) -> PathBuf {
    folder.join("db")
}

/// Removes the snapshots whose writing a kill interrupted: sled would take one
/// for a whole snapshot and call the store corrupt.
fn sweep_torn_snapshots(db: &Path) -> io::Result<()> {
    for entry in fs::read_dir(db)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(db.join(&*name))?;
        }
    }
    Ok(())
}

/// Takes everyone else's rights off the files that sled made.
fn hide(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        let mode = if is_folder { 0o700 } else { 0o600 };
        match fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode)) {
            Ok(()) => {}
            // sled removes an old snapshot in the background.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        if is_folder {
            hide(&entry.path())?;
        }
    }
    Ok(())
}

/// Moves the store out of the way, and removes the oldest of those moved before.
fn set_aside(folder: &Path) -> Result<PathBuf, DiskError> {
    let number = |entry: fs::DirEntry| -> Option<u64> {
        entry.file_name().to_str()?.strip_prefix(DAMAGED)?.parse().ok()
    };
    let at = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DiskError::Folder { action, path, source }
    };
    let mut numbers: Vec<u64> = fs::read_dir(folder)
        .map_err(at("list", folder))?
        .filter_map(|entry| number(entry.ok()?))
        .collect();
    numbers.sort_unstable();
    let aside = folder.join(format!("{DAMAGED}{}", numbers.last().unwrap_or(&0) + 1));
    fs::rename(db_path(folder), &aside).map_err(at("set aside", &aside))?;
    let too_many = (numbers.len() + 1).saturating_sub(MAX_DAMAGED);
    for old in &numbers[..too_many] {
        let path = folder.join(format!("{DAMAGED}{old}"));
        fs::remove_dir_all(&path).map_err(at("remove", &path))?;
    }
    Ok(aside)
}

fn guarded<T>(
    action: &'static str,
    work: impl FnOnce() -> sled::Result<T>,
) -> Result<T, DiskError> {
    // sled panics on some damage instead of returning an error.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|source| DiskError::Sled { action, source }),
        Err(_panic) => Err(DiskError::Panicked { action }),
    }
}
