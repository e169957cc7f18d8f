//! A Unix socket that only its owner can connect to.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::{UnixListener, UnixStream};

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another controller answers at {0}")]
    Answered(PathBuf),
    #[error("{0} is there already and is not a socket")]
    NotASocket(PathBuf),
    #[error("cannot make the folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot listen at {path}")]
    Listen { path: PathBuf, source: io::Error },
}

/// A listening socket, and the file that names it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// Removes the socket's file when it is dropped, if it is still this socket's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens at `path` with mode 0600, and makes its folder if that is missing.
    /// A file that a dead controller left is replaced.
    ///
    /// # Errors
    ///
    /// Fails if somebody answers there, if something other than a socket is
    /// there, and if the folder or the socket cannot be made.
    pub async fn bind(path: &Path) -> Result<Socket, BindError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        fs::create_dir_all(folder)
            .map_err(|source| BindError::Folder { path: folder.to_owned(), source })?;
        refuse_if_taken(path).await?;
        let listen = |source| BindError::Listen { path: path.to_owned(), source };

        // `bind` makes the file with the mode that the umask leaves, open to
        // others for a moment. So it is made where nobody else can enter, and
        // moved into place once it is closed to them; moving also replaces a
        // dead socket without a gap.
        let private = PrivateFolder::make(folder).map_err(listen)?;
        let made_at = private.0.join("s");
        let listener = UnixListener::bind(&made_at).map_err(listen)?;
        fs::set_permissions(&made_at, fs::Permissions::from_mode(0o600)).map_err(listen)?;
        let inode = fs::symlink_metadata(&made_at).map_err(listen)?.ino();
        fs::rename(&made_at, path).map_err(listen)?;
        Ok(Socket { listener, file: SocketFile { path: path.to_owned(), inode } })
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

async fn refuse_if_taken(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Listen { path: path.to_owned(), source }),
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(BindError::Answered(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindError::Listen { path: path.to_owned(), source }),
    }
}

struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn make(beside: &Path) -> io::Result<PrivateFolder> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        // Short, because a socket's path has room for 107 bytes.
        let path = beside.join(format!(".q{}-{count}", std::process::id()));
        // What a killed process of the same id left holds at most its socket.
        let _ = fs::remove_dir_all(&path);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(PrivateFolder(path))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}
