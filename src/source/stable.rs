//! Reading a file that somebody may be writing.

use std::{
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::open::open_regular;

/// The largest desired-state file.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How long a file must have stood unchanged. Longer than the 4 ms in which
/// Linux may give two writes the same time, and short beside the 100 ms in
/// which an edit is to act.
pub(super) const QUIET: Duration = Duration::from_millis(20);

/// How often a file is looked at that keeps changing.
const MAX_READS: u32 = 50;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot read {}: it is a folder; name the file in it", path.display())]
    Folder { path: PathBuf },
    #[error(
        "cannot read {}: it is not a regular file; write what it yields to one first", path.display()
    )]
    NotRegular { path: PathBuf },
    #[error(
        "{} is larger than 1 MiB ({size_bytes} bytes); a desired-state file is far smaller",
        path.display()
    )]
    TooLarge { path: PathBuf, size_bytes: u64 },
    #[error(
        "{} keeps changing while it is read; write it in one go, or beside and rename it",
        path.display()
    )]
    KeepsChanging { path: PathBuf },
}

/// Tells one state of a file from another: which file, how long, when written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    /// Set by the kernel at each write; no tool sets it back as it can `modified`.
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of the file that a path leads to, through symlinks.
    pub fn of(path: &Path) -> io::Result<Stamp> {
        fs::metadata(path).map(|metadata| Stamp::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file's whole content at a moment in which nobody was writing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub stamp: Stamp,
    pub bytes: Vec<u8>,
}

/// Reads until two reads, [`QUIET`] apart, agree. `known` is what an earlier
/// call returned; if its stamp still stands, it is the answer.
///
/// A writer that pauses longer in the middle of a file cannot be told from one
/// that is done; the file it leaves is read as it stands, and again at its next
/// write.
pub(super) async fn read(path: &Path, known: Option<Content>) -> Result<Content, ReadError> {
    if let Some(known) = known
        && Stamp::of(path).is_ok_and(|stamp| stamp == known.stamp)
    {
        return Ok(known);
    }
    settled(path, || read_once(path)).await
}

async fn settled(
    path: &Path,
    mut read_once: impl FnMut() -> Result<Content, ReadError>,
) -> Result<Content, ReadError> {
    let mut last = read_once();
    for _ in 0..MAX_READS {
        tokio::time::sleep(QUIET).await;
        let next = read_once();
        match (last, next) {
            (Ok(before), Ok(after)) if before == after => return Ok(after),
            // Only when it stays so: some editors leave no file for a moment.
            (Err(_), Err(error)) => return Err(error),
            (_, next) => last = next,
        }
    }
    Err(ReadError::KeepsChanging { path: path.to_owned() })
}

fn read_once(path: &Path) -> Result<Content, ReadError> {
    let at_path = |source| ReadError::Io { path: path.to_owned(), source };
    // Asked before it is opened: opening a named pipe would wait for its writer.
    refuse_odd(path, &fs::metadata(path).map_err(at_path)?)?;
    let (file, metadata) = open_regular(path).map_err(at_path)?;
    refuse_odd(path, &metadata)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(at_path)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let size_bytes = metadata.size().max(bytes.len() as u64);
        return Err(ReadError::TooLarge { path: path.to_owned(), size_bytes });
    }
    Ok(Content { stamp: Stamp::from(&metadata), bytes })
}

fn refuse_odd(path: &Path, metadata: &Metadata) -> Result<(), ReadError> {
    let path = || path.to_owned();
    if metadata.is_dir() {
        return Err(ReadError::Folder { path: path() });
    }
    if !metadata.is_file() {
        return Err(ReadError::NotRegular { path: path() });
    }
    if metadata.size() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge { path: path(), size_bytes: metadata.size() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what a writer leaves in turn, over and over. `-` is no file.
    async fn settled_after(states: &[&str]) -> Result<String, String> {
        let stamp = Stamp::of(Path::new("/")).expect("there is a root");
        let mut states = states.iter().cycle();
        let read = || match *states.next().expect("a cycle") {
            "-" => Err(ReadError::Io {
                path: "shop.yaml".into(),
                source: io::Error::from(io::ErrorKind::NotFound),
            }),
            text => Ok(Content { stamp, bytes: text.into() }),
        };
        let content = settled(Path::new("shop.yaml"), read).await;
        content
            .map(|content| String::from_utf8(content.bytes).expect("text"))
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_torn_file_is_never_acted_on() {
        let written = settled_after(&["", "name", "name: sh", "name: shop", "name: shop"]).await;
        assert_eq!(written.as_deref(), Ok("name: shop"));
    }

    #[tokio::test]
    async fn a_file_that_is_gone_for_a_moment_is_waited_for() {
        let replaced = settled_after(&["-", "name: shop", "name: shop"]).await;
        assert_eq!(replaced.as_deref(), Ok("name: shop"));
        let gone = settled_after(&["name: shop", "-", "-"]).await;
        assert_eq!(gone, Err("cannot read shop.yaml: entity not found".to_owned()));
    }

    #[tokio::test]
    async fn a_file_that_keeps_changing_is_given_up() {
        let error = settled_after(&["name: a", "name: b"]).await.expect_err("never the same");
        assert!(error.starts_with("shop.yaml keeps changing while it is read"), "{error}");
    }

    #[tokio::test]
    async fn a_rewrite_with_the_same_content_counts_as_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.yaml");
        fs::write(&path, "name: shop").expect("a file");
        let first = read(&path, None).await.expect("readable");
        fs::write(folder.path().join("beside"), "name: shop").expect("a file");
        fs::rename(folder.path().join("beside"), &path).expect("a rename");
        let second = read(&path, Some(first.clone())).await.expect("readable");
        assert_eq!(first.bytes, second.bytes);
        assert_ne!(first.stamp, second.stamp, "the known content was taken for the file's");
    }
}
