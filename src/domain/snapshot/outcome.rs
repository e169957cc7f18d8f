//! What became of the steps of earlier passes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{ImageRef, Resolution, ServiceName, SignedImage, memory::Hold};

use super::ContainerId;

/// What a step works on. No two steps on the same subject are in flight at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One replica, by its container's name.
    Replica {
        service: ServiceName,
        container: String,
    },
    /// What is remembered of a service.
    Service(ServiceName),
    Proxy,
    /// A network, a volume or an image, by name.
    Host(String),
}

/// What a step in flight does to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It stops or removes it: not to be counted on any more.
    TakesAway,
    /// It leaves what runs as it is: a replica that gets its restart policy goes
    /// on serving meanwhile.
    Tends,
}

impl Subject {
    /// Returns the service whose pace a failure of the step slows.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Subject::Replica { service, .. } | Subject::Service(service) => Some(service),
            Subject::Proxy | Subject::Host(_) => None,
        }
    }
}

/// How one step or pull ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pulled {
        image: ImageRef,
        result: Result<Resolution, Failure>,
    },
    /// An image was looked at in its registry; an error means that it is not signed as
    /// the policy wants, or that nobody could tell.
    Verified {
        image: SignedImage,
        result: Result<(), Failure>,
    },
    /// The replica's restart policy is now the declared one.
    RestartPolicySet {
        service: ServiceName,
        container: ContainerId,
    },
    Started {
        service: ServiceName,
        container: ContainerId,
    },
    /// It was stopped because we wanted it to: its exit says nothing about it.
    Stopped {
        service: ServiceName,
        container: ContainerId,
    },
    /// The declaration is held, with what was kept of its log.
    Held {
        service: ServiceName,
        of: HoldOf,
        hold: Box<Hold>,
    },
    /// Any other step that did what it should.
    Done {
        subject: Subject,
    },
    Failed {
        subject: Subject,
        failure: Failure,
    },
}

/// What a hold keeps from being tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOf {
    /// The release that the file declares.
    Declared,
    /// What it wants in the idle slot.
    Standby,
}

/// Why a step failed, in the words of whoever refused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

/// What a failure means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Trying again may help; the pace slows with each try.
    Transient,
    /// Asked to come back later, after this long at the earliest.
    RateLimited { retry_after: Option<Duration> },
    /// Trying the same again cannot help: no such image, no permission, wrong
    /// architecture, a command that does not exist.
    Refused,
    /// The image is not on this host (any more).
    NoSuchImage,
    /// A container that is not ours has the name; the message says which.
    NameTaken,
}
