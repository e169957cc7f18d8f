//! Our part of the proxy's configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde::{Deserialize, Serialize};

use crate::domain::{RouteState, RouteTable, ServiceName};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyState {
    /// Our routes as far as they could be read back.
    pub table: RouteTable,
    /// Services with a route of ours of which nobody can tell any more which release
    /// answers: their switch file is gone. The proxy goes on sending requests.
    pub unclear: BTreeSet<ServiceName>,
    /// Whether what stands there is exactly what we write for `table`, once and
    /// in its place. False for an edited, doubled or misplaced subtree, and for
    /// one that is missing although `table` is not meant to be empty: anything
    /// that one more write would put right.
    pub intact: bool,
    /// Addresses that stand in the proxy's configuration for a service's idle
    /// slot and get no request: a release that comes to stand at the same ones
    /// leaves the configuration as it is.
    pub idle: BTreeMap<ServiceName, BTreeSet<SocketAddr>>,
    /// How the next write moves traffic.
    pub flip: FlipMechanism,
    /// Who can answer to a service's name.
    pub names: NameMechanism,
    /// Addresses on which the proxy was found unable to listen, and why.
    pub refused: BTreeMap<SocketAddr, String>,
    /// None where the proxy does not tell.
    pub version: Option<ProxyVersion>,
}

impl ProxyState {
    /// Returns every address of ours that the configuration names, whether it gets
    /// requests or is idle.
    pub fn dials(&self) -> impl Iterator<Item = &SocketAddr> {
        let routed = self.table.values().flat_map(RouteState::dials);
        routed.chain(self.idle.values().flatten())
    }
}

/// By which means traffic moves between slots, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum FlipMechanism {
    /// A file that the proxy looks for at each request: a flip closes no
    /// connection.
    #[default]
    SwitchFile,
    /// A write of the proxy's configuration, which closes idle connections.
    AdminApi { why: String },
    /// Nothing moves: the file asks for the switch file, which cannot be had.
    Blocked { why: String },
}

/// Who answers to a service's name on the stack's networks, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum NameMechanism {
    /// The proxy: what is active, as from outside.
    #[default]
    Caddy,
    /// The engine: every replica, ready or not.
    Docker { why: String },
}

/// How many requests the proxy has in flight, by the address they were sent to:
/// requests that wait for their answer, streams and WebSockets alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Only counts that are exact.
    pub listed: BTreeMap<SocketAddr, u64>,
    /// What it means of an address that is not among them.
    pub unlisted: Unlisted,
}

/// What is known of an address that the proxy does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlisted {
    /// Nothing: this proxy forgets an address with the route that named it.
    #[default]
    Unknown,
    /// No request is in flight to it: this proxy lists an address for as long.
    Idle,
}

impl InFlight {
    /// Returns how many requests are in flight to the address; None where the
    /// proxy cannot tell.
    pub fn to(&self, address: &SocketAddr) -> Option<u64> {
        match (self.listed.get(address), self.unlisted) {
            (Some(count), _) => Some(*count),
            (None, Unlisted::Idle) => Some(0),
            (None, Unlisted::Unknown) => None,
        }
    }
}

/// A proxy's version, as far as behaviour depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProxyVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}
