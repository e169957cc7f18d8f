//! Everything one desired-state file declares.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Commit, Digest, ImageRef, Service, ServiceName, SignatureWanted, StackName, Telling,
    signature::SignatureRule,
};

/// A valid desired state. Made only by [`crate::domain::manifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    pub name: StackName,
    /// The commit that the file is of; None for one that is not in Git.
    #[serde(default)]
    pub commit: Option<Commit>,
    pub proxy: Option<ProxyConfig>,
    pub services: BTreeMap<ServiceName, Service>,
    /// What the file declares for other hosts only.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub on_other_hosts: BTreeSet<ServiceName>,
    /// Networks to create when missing, by Docker's name.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Volumes to create when missing, by Docker's name.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Networks and volumes that must exist already (`external: true`).
    pub external_networks: Vec<String>,
    pub external_volumes: Vec<String>,
    #[serde(default)]
    pub images: Images,
    /// Which images must be signed, by the policy of this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignatureRule>,
    /// Who is told what happens.
    #[serde(default)]
    pub telling: Telling,
}

/// For how long images are kept, and how much of the disk stays free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// How many releases of each service keep their image.
    pub retain_releases: usize,
    /// For how long a release keeps its image that neither serves nor may have to; None
    /// for as long as it is among those.
    pub retain_for: Option<Duration>,
    /// No pull starts while less than this share of the disk is free, in percent.
    pub min_free_percent: u8,
}

impl Default for Images {
    fn default() -> Images {
        Images { retain_releases: 5, retain_for: None, min_free_percent: 10 }
    }
}

impl Stack {
    /// Returns by whom an image must be signed; None if it need not be.
    pub fn signature_of(&self, image: &ImageRef, digest: &Digest) -> Option<SignatureWanted> {
        SignatureWanted::by(&self.signatures, image, digest)
    }

    /// Returns Docker's name of the stack's own network, on which the proxy
    /// reaches replicas.
    pub fn default_network(&self) -> String {
        format!("{}_default", self.name)
    }

    /// Returns whether a network is a bridge of ours, on which the gateway is this
    /// host: not one that somebody else made, and not one without a way out.
    pub fn has_bridge(&self, network: &str) -> bool {
        let spec = self.networks.get(network);
        spec.is_some_and(|spec| {
            spec.driver.as_deref().is_none_or(|driver| driver == "bridge") && !spec.internal
        })
    }

    /// Returns whether any service has a route.
    pub fn has_routes(&self) -> bool {
        self.services.values().any(|service| service.route.is_some())
    }
}

/// Where the proxy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyConfig {
    pub admin: AdminEndpoint,
    /// The `listen` address of the Caddy server that gets our routes, `:443`.
    pub listen: Option<String>,
    #[serde(default)]
    pub flip: FlipChoice,
    #[serde(default)]
    pub names: NameChoice,
}

/// `proxy.caddy.flip`: by which means traffic is to move between slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlipChoice {
    /// The switch file where Caddy is seen to see it, else the admin API.
    #[default]
    Auto,
    AdminApi,
    /// The switch file, or nothing moves.
    SwitchFile,
}

/// `proxy.caddy.names`: who is to answer when a container calls a service by its
/// name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameChoice {
    /// Caddy where it can hold the addresses at any time, else Docker.
    #[default]
    Auto,
    Caddy,
    /// Docker's network aliases, which reach every replica.
    Docker,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminEndpoint {
    /// `http://HOST:PORT`, without a path.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl AdminEndpoint {
    /// Returns what a request to it says in its Host header. The port belongs into
    /// it even where it is the default one: Caddy compares both. On a Unix socket
    /// Caddy 2.6 lets an empty Host in, and no other; newer ones let any in.
    pub fn authority(&self) -> String {
        match self {
            AdminEndpoint::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => {
                format!("[{host}]:{port}")
            }
            AdminEndpoint::Tcp { host, port } => format!("{host}:{port}"),
            AdminEndpoint::Unix(_) => String::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub enable_ipv6: bool,
    pub labels: BTreeMap<String, String>,
    /// Subnets in CIDR form.
    pub subnets: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}
