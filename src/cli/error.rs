//! Why a command failed. What people read of it is made in [`super::report`].

use std::{io, path::PathBuf};

use super::{client::ClientError, public_client::PublicClientError};
use crate::{
    clock::NoBootId,
    docker::ConnectError,
    domain::{ServiceName, Slot, snapshot::Failure},
    lock::LockError,
    plan::Refusal,
    server::{BadSecretFile, BindError, ListenError},
    source::git::{BadRemote, BadRepoPath, FetchError, RepositoryError},
    store::OpenError,
};

/// Everything that can end a command before it is done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The file is bad; the text is the full report, one that needs no frame.
    #[error("{0}")]
    File(String),
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    /// `policy check` without anything to check against.
    #[error("there is no policy at {path}")]
    NoPolicy { path: PathBuf },
    /// Nobody answers, and there is nothing to look at instead.
    #[error("no controller answers, and there is no {0} in this folder")]
    NoFile(&'static str),
    #[error(transparent)]
    Remote(#[from] BadRemote),
    #[error(transparent)]
    RepoPath(#[from] BadRepoPath),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// `flip` of a file that only a commit changes.
    #[error("the file is in Git, at {path} on branch {branch} of {url}")]
    FileInGit { service: ServiceName, url: String, branch: String, path: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    PublicClient(#[from] PublicClientError),
    #[error(transparent)]
    SecretFile(#[from] BadSecretFile),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot answer `quaymaster status`")]
    Bind(#[from] BindError),
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("Docker cannot be seen: {0}")]
    DockerUnseen(String),
    #[error("Docker: {0}")]
    Docker(Failure),
    /// Somebody else acts on this stack (S10).
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("{0}")]
    Unsaved(Failure),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Clock(#[from] NoBootId),
    #[error("the file has no service `{service}`")]
    NoSuchService { service: ServiceName, known: Vec<ServiceName> },
    #[error("{service} runs nothing")]
    NothingRuns { service: ServiceName },
    /// `flip` of a service whose slot the controller chooses.
    #[error("{service} has `slot: auto`: there is no slot in the file to change")]
    SlotIsAuto { service: ServiceName, active: Option<Slot> },
    #[error("cannot edit {path}: {why}")]
    NotEdited { path: PathBuf, why: String },
    #[error("cannot write {path}")]
    NotWritten { path: PathBuf, source: io::Error },
    #[error("cannot print")]
    Print(#[source] io::Error),
}
