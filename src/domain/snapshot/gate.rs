//! Gates under way: what measurements show, and containers that run a job.

use serde::{Deserialize, Serialize};

use super::{ContainerId, ContainerState};
use crate::domain::{Digest, GateKey, ImageId};

/// What the measurements of one gate have shown since they began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub passed: u32,
    pub failed: u32,
    pub last: Measurement,
}

/// How one measurement came out, in words for people that hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    /// With what was seen: `HTTP 200`, `0.99`.
    Passed(String),
    Failed(String),
    /// Whoever is asked did not answer, or not in a way that can be judged: nothing
    /// is known.
    Unanswered(String),
}

/// A container that runs a gate's job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobContainer {
    pub id: ContainerId,
    pub name: String,
    pub key: GateKey,
    /// The digest it was created from, and the image that it really runs.
    pub digest: Digest,
    pub image_id: ImageId,
    pub state: ContainerState,
    /// Wall-clock seconds; compared with one another only.
    pub created_at: i64,
}

/// What the engine has of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub replicas: Vec<super::Container>,
    pub jobs: Vec<JobContainer>,
}
