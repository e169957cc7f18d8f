//! A secret that we share with whoever may call: read from a file, compared in the
//! same time whatever is presented.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Far more than any secret.
const MAX_FILE_BYTES: u64 = 4096;

/// HMAC-SHA256; RFC 2104.
pub(super) type Signature = Hmac<Sha256>;

/// A secret of at least one byte.
#[derive(Clone)]
pub struct SharedSecret(Vec<u8>);

/// Why a file holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum BadSecretFile {
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("{} has more than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("everybody on this host can read {}", .0.display())]
    Open(PathBuf),
}

impl SharedSecret {
    /// Reads the file's text, without the one line break that editors leave at its end.
    ///
    /// # Errors
    ///
    /// Fails if the file holds nothing, or if everybody may read it.
    pub fn read(path: &Path) -> Result<SharedSecret, BadSecretFile> {
        let unreadable = |source| BadSecretFile::Unreadable { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.len() > MAX_FILE_BYTES {
            return Err(BadSecretFile::TooLarge(path.to_owned()));
        }
        if metadata.is_file() && metadata.mode() & 0o004 != 0 {
            return Err(BadSecretFile::Open(path.to_owned()));
        }
        let text = fs::read(path).map_err(unreadable)?;
        SharedSecret::new(&text).ok_or_else(|| BadSecretFile::Empty(path.to_owned()))
    }

    /// Returns the secret of a text; None if there is nothing in it.
    pub fn new(text: &[u8]) -> Option<SharedSecret> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        (!text.is_empty()).then(|| SharedSecret(text.to_owned()))
    }

    /// Begins the signature of a message.
    pub(super) fn signature(&self) -> Signature {
        Signature::new_from_slice(&self.0).expect("HMAC takes a key of any length")
    }

    /// Returns whether this is the secret itself. Comparing signatures of both takes the
    /// same time however much of it is right.
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        let ours = self.signature().chain_update(&self.0).finalize().into_bytes();
        self.signature().chain_update(presented).verify_slice(&ours).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_line_break_is_no_part_of_a_secret() {
        let secret = SharedSecret::new(b"open sesame\n").expect("a secret");
        assert!(secret.is(b"open sesame"));
        for wrong in [&b"open sesame\n"[..], b"open", b"", b"open sesamf"] {
            assert!(!secret.is(wrong), "{wrong:?}");
        }
        assert!(SharedSecret::new(b"\n").is_none());
    }

    #[test]
    fn a_secret_that_everybody_knows_is_none() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "open sesame\n").expect("writable");
        let mode = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("ours");
            SharedSecret::read(file.path())
        };
        assert!(mode(0o640).is_ok());
        assert!(matches!(mode(0o644).err(), Some(BadSecretFile::Open(_))));
        fs::write(file.path(), "").expect("writable");
        assert!(matches!(mode(0o600).err(), Some(BadSecretFile::Empty(_))));
    }
}
