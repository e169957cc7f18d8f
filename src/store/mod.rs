//! The ledger: the memory on disk, in sled, made safe.
//!
//! ```text
//! STATE_DIR/STACK/lock           who has it open (flock)
//! STATE_DIR/STACK/db/            sled 0.34.7
//! STATE_DIR/STACK/db.damaged-N/  stores that could not be trusted, at most 3
//! ```
//!
//! `records` splits the memory into records with a sequence number and a
//! checksum and puts them together again, saying what is missing; `disk`
//! opens sled and sets a damaged one aside; `lock` keeps a second process out.
//! This file decides when to write.
//!
//! Why so careful: sled loses acknowledged writes at a kill unless flushed, can
//! call itself corrupt after a kill in mid-snapshot, and opens most damaged files
//! without a word, with a part of the rows. Nothing here decides anything about
//! traffic: the worst that a lost store does is to restart timers.

mod disk;
mod lock;
mod records;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    domain::{
        Memory, StackName,
        snapshot::{Failure, FailureKind},
    },
    ports::Ledger,
};

use disk::{Disk, DiskError};
pub use lock::Holder;
use lock::{LockFile, Purpose};
use records::Shelf;

/// A memory that differs from the saved one in nothing but its clock is saved
/// only when the clock has moved this far: an idle controller writes once a
/// minute, and a reboot forgets at most a minute of waiting.
const CLOCK_SAVED_EVERY: Duration = Duration::from_secs(60);

/// How long whoever only glances at the store is waited for, and how often it is
/// looked whether it is gone. Opening and reading one takes some 30 ms.
const GLANCE_PATIENCE: Duration = Duration::from_secs(5);
const GLANCE_PAUSE: Duration = Duration::from_millis(5);

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store of stack {stack} in {} is in use by {holder}", folder.display())]
    Held { stack: StackName, folder: PathBuf, holder: Holder },
    #[error("cannot use the state folder {}", folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Only when reading: one that writes sets the damaged store aside.
    #[error("cannot read the store in {}", folder.display())]
    Unreadable {
        folder: PathBuf,
        #[source]
        source: DiskError,
    },
}

/// The memory of one stack on disk, held by this process.
pub struct Store {
    folder: PathBuf,
    state: Mutex<State>,
    _lock: LockFile,
}

struct State {
    /// None while sled cannot be opened or after it failed; opened again at the
    /// next save.
    disk: Option<Disk>,
    shelf: Shelf,
    warned: bool,
}

impl Store {
    /// Opens the store of `stack` under `state_dir`, making what is missing, and
    /// holds it until dropped. `file` is told to whoever comes second.
    ///
    /// A store that is damaged is set aside with a warning, and what could be
    /// read of it is kept. A store that cannot be opened for another reason (a
    /// full disk) is warned of, counts as empty, and is tried again at each save.
    pub fn open(state_dir: &Path, stack: &StackName, file: &str) -> Result<Store, OpenError> {
        let folder = state_dir.join(stack.as_str());
        let at_folder = |source| OpenError::Folder { folder: folder.clone(), source };
        disk::make_private_folder(&folder).map_err(at_folder)?;
        let lock = take_lock(&folder, stack, file, Purpose::Control)?;
        let mut state = State { disk: None, shelf: Shelf::default(), warned: false };
        match disk::open_or_set_aside(&folder) {
            Ok((disk, shelf)) => {
                state.disk = Some(disk);
                state.shelf = shelf;
            }
            Err(error) => {
                state.warned = true;
                warn_unsaved(&folder, &error);
            }
        }
        Ok(Store { folder, state: Mutex::new(state), _lock: lock })
    }

    /// Returns the memory of `stack` for a look at it, while no controller has it
    /// open; empty if there is none. Makes no folder and sets nothing aside.
    pub fn read(state_dir: &Path, stack: &StackName, file: &str) -> Result<Memory, OpenError> {
        let folder = state_dir.join(stack.as_str());
        match folder.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(Memory::default()),
            Err(source) => return Err(OpenError::Folder { folder, source }),
        }
        let _lock = take_lock(&folder, stack, file, Purpose::Glance)?;
        if !disk::exists(&folder) {
            return Ok(Memory::default());
        }
        let (_disk, shelf) = disk::open(&folder)
            .map_err(|source| OpenError::Unreadable { folder: folder.clone(), source })?;
        shelf.losses().iter().for_each(|loss| tracing::warn!("the store has a gap: {loss}"));
        Ok(shelf.memory())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The shelf is replaced as a whole, after the disk has it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for Store {
    fn load(&self) -> Memory {
        self.state().shelf.memory()
    }

    fn save(&self, memory: &Memory) -> Result<(), Failure> {
        let mut state = self.state();
        match state.save(&self.folder, memory) {
            Ok(()) => {
                if std::mem::take(&mut state.warned) {
                    tracing::info!("the memory is saved again");
                }
                Ok(())
            }
            Err(error) => {
                if !std::mem::replace(&mut state.warned, true) {
                    warn_unsaved(&self.folder, &error);
                }
                let message = format!("the memory could not be saved: {}", with_cause(&error));
                Err(Failure { kind: FailureKind::Transient, message })
            }
        }
    }
}

impl State {
    fn save(&mut self, folder: &Path, memory: &Memory) -> Result<(), DiskError> {
        if self.disk.is_some() && is_saved(&self.shelf, memory) {
            return Ok(());
        }
        let disk = match self.disk.take() {
            Some(disk) => disk,
            None => {
                // What the failed write left is known only by reading it again.
                let (disk, shelf) = disk::open_or_set_aside(folder)?;
                self.shelf = shelf;
                disk
            }
        };
        let (shelf, changes) = self.shelf.changed_to(memory);
        // On failure the disk is dropped: once it has failed, sled refuses all.
        disk.write(&changes)?;
        self.shelf = shelf;
        self.disk = Some(disk);
        Ok(())
    }
}

fn is_saved(shelf: &Shelf, memory: &Memory) -> bool {
    shelf.holds_all_but_the_clock_of(memory)
        && match (shelf.boot(), &memory.boot) {
            (Some(saved), Some(now)) => {
                saved.id == now.id && now.saved_at.since(saved.saved_at) < CLOCK_SAVED_EVERY
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
}

/// Takes the lock; waits for whoever only glances, so that a `status` at the
/// wrong moment keeps no controller from starting.
fn take_lock(
    folder: &Path,
    stack: &StackName,
    file: &str,
    purpose: Purpose,
) -> Result<LockFile, OpenError> {
    let deadline = Instant::now() + GLANCE_PATIENCE;
    loop {
        match LockFile::take(folder, stack, file, purpose) {
            Ok(Ok(lock)) => return Ok(lock),
            Ok(Err(holder)) if holder.is_passing() && Instant::now() < deadline => {
                thread::sleep(GLANCE_PAUSE);
            }
            Ok(Err(holder)) => {
                let (stack, folder) = (stack.clone(), folder.to_owned());
                return Err(OpenError::Held { stack, folder, holder });
            }
            Err(source) => {
                return Err(OpenError::Folder { folder: folder.to_owned(), source });
            }
        }
    }
}

fn warn_unsaved(folder: &Path, error: &DiskError) {
    tracing::warn!(
        folder = %folder.display(),
        "the memory cannot be saved: {}; a restart now would forget timers, holds and history",
        with_cause(error)
    );
}

fn with_cause(error: &DiskError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
