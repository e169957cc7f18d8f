//! Containers as the engine lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::Gateway;
use crate::domain::{Digest, ImageId, ImageRef, ReleaseId, ServiceName, Slot};

/// The engine's id of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl ContainerId {
    /// Returns the first twelve digits, as Docker shows ids.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.short())
    }
}

/// A container that carries our stack's labels: one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub service: ServiceName,
    pub slot: Slot,
    pub release: ReleaseId,
    /// Counted from 1 within its slot and release.
    pub replica: u32,
    /// The reference the file had when it was created.
    pub image: ImageRef,
    /// The digest it was created from.
    pub digest: Digest,
    /// The image that it really runs, as the engine says.
    pub image_id: ImageId,
    /// The port a route sends to, if the release had one.
    pub route_port: Option<u16>,
    pub state: ContainerState,
    /// Docker's name of a network → the address there. Only of a running
    /// container: an exited one still shows an address that may be another's.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Docker's name of a network → what it has for its gateway there. Only of a
    /// running container.
    pub gateways: BTreeMap<String, Gateway>,
    /// The services whose names lead to the proxy, by its own hosts file: for as
    /// long as it lives.
    pub calls_by_proxy: BTreeSet<ServiceName>,
    /// Wall-clock seconds; compared with one another only.
    pub created_at: i64,
}

impl Container {
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    /// Returns every address at which a route can reach it.
    pub fn dials(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = self.addresses.values();
        addresses.filter_map(|ip| Some(SocketAddr::new(*ip, self.route_port?)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    Created,
    Running {
        health: Option<Health>,
    },
    /// It died and its restart policy is about to start it again.
    Restarting,
    Paused,
    Exited {
        code: i64,
    },
    /// The engine is removing it, or failed to (`dead`).
    Removing,
}

/// Docker's own verdict on a container that has a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// What the probes of one replica have shown so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStanding {
    /// `healthy_after` successes in a row, and not `unhealthy_after` failures since.
    pub ready: bool,
    /// How many probes were made of it.
    pub probes: u32,
    /// What the last probe that failed said, if one did since it was last ready.
    pub last_failure: Option<String>,
}
