//! What a secret's value is asked of, and why it may not be had.
//!
//! Reading files of the host and decrypting are effects, so whoever opens the file
//! brings them ([`Vault`]). No error here ever holds a value (S9).

use std::path::{Path, PathBuf};

/// The largest secret, in bytes: Swarm's `MaxSecretSize`, so that what works there
/// works here.
pub const MAX_SECRET_BYTES: usize = 500 * 1024;

/// Where the values of secrets come from that a file only names.
pub trait Vault {
    /// Reads a file. A relative path is below the folder of the desired-state file
    /// and never leads out of it by `..`; following symbolic links out of it is for
    /// the vault to refuse. An absolute one is of the host.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, and if it holds a secret in the clear that every
    /// user of the host may read.
    fn read(&self, path: &Path, holds: Holds) -> Result<Vec<u8>, Unread>;

    /// Decrypts an age file, armored or binary, with the identity of this host.
    ///
    /// # Errors
    ///
    /// Fails without an identity that fits, and for what is no age file.
    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, Undecrypted>;

    /// Returns whether values are to be asked for. If not, what the file says of secrets
    /// is checked as far as that goes, and the stack is without them: nothing to run.
    fn is_open(&self) -> bool {
        true
    }
}

/// What is in a file that the vault is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    ThePlainSecret,
    /// Who reads it knows nothing.
    AnEncryptedOne,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("there is no such file")]
    Missing,
    #[error("every user of this host may read it")]
    Open { path: PathBuf },
    #[error("it has more than {MAX_SECRET_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Unreadable(String),
}

impl Unread {
    /// Returns what to do about it.
    pub(super) fn mend(&self) -> String {
        match self {
            Unread::Missing => {
                "create it, for its owner to read only: `umask 077; openssl rand -hex 32 > FILE`"
                    .to_owned()
            }
            Unread::Open { path } => format!("`chmod 600 {}`", path.display()),
            Unread::TooLarge => {
                "name the right file; mount what is that large as a volume".to_owned()
            }
            Unread::Unreadable(_) => "make it a file that the controller may read".to_owned(),
        }
    }
}

/// Why an encrypted secret cannot be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecrypted {
    #[error("this host has no age identity to decrypt it with")]
    NoIdentity { usual: PathBuf },
    #[error("the age identity {} cannot be used: {why}", path.display())]
    BadIdentity { path: PathBuf, why: String },
    #[error("others than its owner may read the age identity {}", .0.display())]
    OpenIdentity(PathBuf),
    #[error("it is not encrypted to the age identity of this host, {}", .0.display())]
    ForOthers(PathBuf),
    #[error("it is encrypted with a passphrase, and nobody is there to type it")]
    Passphrase,
    #[error("this is not what `age` makes")]
    NotAge,
    #[error("it is damaged, or was changed after it was encrypted")]
    Damaged,
    #[error("it has more than {MAX_SECRET_BYTES} bytes")]
    TooLarge,
}

impl Undecrypted {
    /// Returns what to do about it.
    pub(super) fn mend(&self) -> String {
        match self {
            Undecrypted::NoIdentity { usual } => {
                format!("put it at {}, or name it with --age-identity", usual.display())
            }
            Undecrypted::BadIdentity { path, .. } => {
                format!("`age-keygen -o {}` makes one", path.display())
            }
            Undecrypted::OpenIdentity(path) => format!("`chmod 600 {}`", path.display()),
            Undecrypted::ForOthers(path) => format!(
                "encrypt it to the recipient that `age-keygen -y {}` prints, too: `age -r age1… -r age1…`",
                path.display()
            ),
            Undecrypted::Passphrase => {
                "encrypt it to a recipient: `age --armor -r age1…`".to_owned()
            }
            Undecrypted::NotAge => {
                "paste all that `age --armor -r age1…` prints, from its BEGIN to its END line"
                    .to_owned()
            }
            Undecrypted::Damaged => "encrypt it anew".to_owned(),
            Undecrypted::TooLarge => "mount what is that large as a volume".to_owned(),
        }
    }
}
