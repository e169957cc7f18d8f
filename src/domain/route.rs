//! What the proxy sends to a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{ReleaseId, ServiceName, Slot, Subnet, name::BadName};

/// The public side of a service: which requests are its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Host names, lower case; none for a service that only the stack's own
    /// containers call, by its name.
    pub hosts: Vec<String>,
    /// A Caddy path pattern: `/*` is everything, `/api/*` a prefix.
    pub path: String,
    /// The port that the replicas listen on.
    pub port: u16,
    /// How the idle slot is looked at.
    // What is not said leaves the fingerprint as it was before it could be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
}

/// Which requests of a route go to the idle slot, for people who look at a release
/// before it is promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preview {
    /// Those to this host, whatever their path.
    Host(String),
    /// Those to the route with this header; None is any value.
    Header { name: String, value: Option<String> },
}

/// What the name of a route for looking ends with. No service of a file has the name that this makes.
const PREVIEW: &str = "--preview";

/// Returns the name under which the route for looking at a service stands.
///
/// # Errors
///
/// Fails for a name that is too long; the file refuses a preview of such a service.
pub fn preview_name(service: &ServiceName) -> Result<ServiceName, BadName> {
    format!("{service}{PREVIEW}").parse()
}

/// The one release that answers a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub slot: Slot,
    pub release: ReleaseId,
    /// The replicas' addresses. Never empty in a table that is written.
    pub dials: BTreeSet<SocketAddr>,
}

/// A route as it stands, or is to stand, in the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteState {
    pub route: Route,
    pub backend: Backend,
    /// The release in the other slot, or the one before in the same slot, that
    /// gets a request only when `backend` cannot take it.
    pub standby: Option<Backend>,
    /// How long a stream or WebSocket may outlive a change of the proxy's
    /// configuration: the service's `drain_timeout`.
    pub stream_close_delay: Duration,
    /// Where containers of the stack reach the same by the service's name; None
    /// where the name is left to the engine.
    #[serde(default)]
    pub inside: Option<Inside>,
}

/// Where the proxy answers to a service's name, and whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The host's own address on each network of the service, at the route's port.
    pub listen: BTreeSet<SocketAddr>,
    /// The subnets of these networks: nobody else is answered.
    pub from: BTreeSet<Subnet>,
}

impl RouteState {
    /// Returns every address that a request of this route can reach.
    pub fn dials(&self) -> impl Iterator<Item = &SocketAddr> {
        let standby = self.standby.iter().flat_map(|standby| &standby.dials);
        self.backend.dials.iter().chain(standby)
    }
}

/// Every route of a stack: the unit that is observed and written, so that all
/// flips of one pass are one write.
pub type RouteTable = BTreeMap<ServiceName, RouteState>;
