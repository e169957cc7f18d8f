//! One process has the store open: flock(2) on a file that says which.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::domain::StackName;

/// Who has the store open, as that process wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// None in the moment between taking the lock and writing it down.
    pub pid: Option<u32>,
    pub stack: Option<StackName>,
    /// The desired-state file it was started with.
    pub file: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("another process")?,
        }
        match (&self.stack, &self.file) {
            (Some(stack), Some(file)) => write!(f, " (stack {stack}, file {file})"),
            (_, _) => Ok(()),
        }
    }
}

/// The lock, held until dropped; the kernel drops it with the process.
#[derive(Debug)]
pub(super) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock of this folder, or returns who has it.
    pub fn take(
        folder: &Path,
        stack: &StackName,
        file: &str,
    ) -> io::Result<Result<LockFile, Holder>> {
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // What the holder wrote must stay until the lock is ours.
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(read_holder(&mut lock))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let holder = Holder {
            pid: Some(std::process::id()),
            stack: Some(stack.clone()),
            file: Some(file.to_owned()),
        };
        // Only for people: a full disk must not keep a controller from running.
        if let Err(error) = write_holder(&mut lock, &holder) {
            tracing::debug!(%error, "the lock file does not say who holds it");
        }
        Ok(Ok(LockFile { _file: lock }))
    }
}

fn write_holder(lock: &mut File, holder: &Holder) -> io::Result<()> {
    let text = serde_json::to_vec(holder)?;
    lock.set_len(0)?;
    lock.write_all(&text)
}

fn read_holder(lock: &mut File) -> Holder {
    let mut text = String::new();
    let read = lock.take(4096).read_to_string(&mut text);
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or(Holder {
        pid: None,
        stack: None,
        file: None,
    })
}
