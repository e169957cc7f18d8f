//! What one pass observed.
//!
//! Every part is [`Observed`]: a part that could not be seen is `Unknown`, and
//! `Unknown` never licenses a removal, a stop or a flip (S5).

mod container;
mod gate;
mod host;
mod outcome;
mod proxy;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

pub use container::{Container, ContainerId, ContainerState, Health, ProbeStanding};
pub use gate::{JobContainer, Listed, Measured, Measurement};
pub use host::{AddressRange, Disk, Gateway, Host, HostNetwork, LocalImage};
pub use outcome::{Failure, FailureKind, HoldOf, Outcome, Subject, Work};
pub use proxy::{FlipMechanism, InFlight, NameMechanism, ProxyState, ProxyVersion, Unlisted};

use super::{GateKey, ImageRef};

/// A part of the world as one pass saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    Known(T),
    Unknown(ObserveFailure),
}

impl<T> Observed<T> {
    /// Returns the part if it was seen.
    pub fn known(&self) -> Option<&T> {
        match self {
            Observed::Known(part) => Some(part),
            Observed::Unknown(_) => None,
        }
    }
}

/// Why a part is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObserveFailure {
    /// This pass did not look, because nothing was expected to need it. The
    /// plan asks for it with [`crate::plan::Plan::wants_host`].
    NotAsked,
    /// It looked and failed; in the words of whoever answered.
    Failed(String),
}

/// Everything one pass observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Every replica that carries our stack's label, in any state.
    pub containers: Observed<Vec<Container>>,
    /// The containers of jobs, likewise; empty while the replicas are unknown.
    pub jobs: Vec<JobContainer>,
    /// Our routes. `Known` and empty for a stack without a proxy.
    pub proxy: Observed<ProxyState>,
    /// What the proxy has in flight; asked for only while something drains.
    pub in_flight: Observed<InFlight>,
    /// Images, networks, volumes and disk; asked for only when needed.
    pub host: Observed<Host>,
    /// What the probes say so far; a running replica that is missing here has
    /// not been probed yet.
    pub probes: BTreeMap<ContainerId, ProbeStanding>,
    /// What the gates' measurements say so far; one that is missing here has not
    /// been measured yet.
    pub measured: BTreeMap<GateKey, Measured>,
    /// Pulls in flight, with the share done in percent where it is known.
    pub pulls: BTreeMap<ImageRef, Option<u8>>,
    /// What ended since the last pass: steps and pulls.
    pub outcomes: Vec<Outcome>,
    /// What steps in flight are working on: nothing more is planned for it.
    pub busy: BTreeMap<Subject, Work>,
    /// The addresses that creations in flight have been given.
    pub claimed: BTreeSet<IpAddr>,
}
