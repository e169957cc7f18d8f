//! Floor 1: what to do next, as pure functions of what was observed and the time.

mod step;
mod waiting;

pub use step::{Flip, NewContainer, NewHold, Step};
pub use waiting::WaitingOn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{ReleaseId, ServiceName, Timestamp};

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Ordered; steps of different subjects may be done concurrently.
    pub steps: Vec<Step>,
    pub services: BTreeMap<ServiceName, ServicePlan>,
    /// The plan needs [`crate::domain::snapshot::Host`] to go on; observe it and plan again.
    pub wants_host: bool,
    /// When to look again without being woken.
    pub revisit: Option<Timestamp>,
}

/// How one service stands, and what it waits on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePlan {
    pub state: ServiceState,
    /// One sentence for people.
    pub reason: String,
    pub waiting_on: Vec<WaitingOn>,
    /// The release that the plan steers to, if its image is resolved.
    pub target: Option<ReleaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// It runs what the file declares.
    Settled,
    /// It is on its way there.
    Progressing,
    /// It serves, but less or something else than the file declares.
    Degraded,
    /// The declared release failed and is not tried again.
    Held,
    /// Too little can be seen to tell.
    Unknown,
}
