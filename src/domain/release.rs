//! Releases: what exactly runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fmt::Write as _,
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Commit, Digest, ImageId, ImageRef, Secret, SecretFile};

/// The first twelve hexadecimal digits of a release's fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId(String);

impl ReleaseId {
    pub const HEX_DIGITS: usize = 12;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text is not twelve lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a release id")]
pub struct BadReleaseId(String);

impl TryFrom<String> for ReleaseId {
    type Error = BadReleaseId;

    fn try_from(text: String) -> Result<ReleaseId, BadReleaseId> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if text.len() != Self::HEX_DIGITS || !text.chars().all(hex) {
            return Err(BadReleaseId(text));
        }
        Ok(ReleaseId(text))
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> String {
        id.0
    }
}

/// A hash over a canonical serialisation: equal exactly when the things are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Returns the fingerprint of anything whose serialisation is canonical:
    /// structs, sequences and ordered maps.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Fingerprint {
        let json = serde_json::to_vec(value).expect("plain data with string keys serialises");
        let hash = Sha256::digest(&json);
        let mut hex = String::with_capacity(2 * hash.len());
        for byte in hash {
            write!(hex, "{byte:02x}").expect("writing to a String succeeds");
        }
        Fingerprint(hex)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One immutable version of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub id: ReleaseId,
    pub image: ImageRef,
    pub digest: Digest,
    pub image_id: ImageId,
    pub spec: ContainerSpec,
    /// The commit that first declared it, for people; None without Git. No part of
    /// what makes a release: the same one can be declared by many commits.
    #[serde(default)]
    pub commit: Option<Commit>,
}

impl Release {
    /// Returns the release of `spec` on the image that `image` was resolved to.
    pub fn new(image: ImageRef, digest: Digest, image_id: ImageId, spec: ContainerSpec) -> Release {
        let fingerprint = Fingerprint::of(&(&digest, &spec));
        let id = ReleaseId(fingerprint.as_str()[..ReleaseId::HEX_DIGITS].to_owned());
        Release { id, image, digest, image_id, spec, commit: None }
    }
}

/// Everything that makes a container what it is, apart from its image.
///
/// Field names and meanings are the Compose Specification's. Changing any of
/// them makes a new release; the number of replicas, the probe, the route's
/// host and the rollout do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    /// Merged from `env_file` and `environment`, after interpolation.
    pub environment: BTreeMap<String, Secret>,
    pub mounts: Vec<Mount>,
    /// Docker's names of the networks, the stack's own first where the file
    /// names none, each with the aliases a replica answers to.
    pub networks: Vec<NetworkAttachment>,
    /// The port the route sends to: part of the release, so that a release
    /// which moves to another port is rolled out like any other.
    pub route_port: Option<u16>,
    pub ports: Vec<PublishedPort>,
    pub expose: BTreeSet<String>,
    pub healthcheck: Option<Healthcheck>,
    pub restart: RestartPolicy,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub stop_signal: Option<String>,
    /// Docker's default is 10 s.
    pub stop_grace_period: Option<Duration>,
    pub resources: Resources,
    pub logging: Option<Logging>,
    pub labels: BTreeMap<String, String>,
    /// `host` → address, or the word `host-gateway`.
    pub extra_hosts: BTreeMap<String, String>,
    /// name → (soft, hard).
    pub ulimits: BTreeMap<String, (i64, i64)>,
    pub cap_add: BTreeSet<String>,
    pub cap_drop: BTreeSet<String>,
    pub read_only: bool,
    /// Mount point → options (may be empty).
    pub tmpfs: BTreeMap<String, String>,
    pub init: Option<bool>,
    pub shm_size_bytes: Option<i64>,
    pub security_opt: Vec<String>,
    /// Absolute path in the container → the secret that is mounted there. Those given
    /// as variables are in `environment`.
    // What is not said leaves the fingerprint as it was before it could be said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// Docker's name of the network.
    pub network: String,
    pub aliases: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// Docker's name of a named volume.
    Volume(String),
    /// An absolute path on the host.
    Bind(String),
    /// A volume without a name, made with the container.
    Anonymous,
    Tmpfs {
        size_bytes: Option<i64>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub container_port: u16,
    pub protocol: PortProtocol,
    /// None publishes on a port that Docker picks.
    pub host_port: Option<u16>,
    /// None listens on every address, as Compose does.
    pub host_ip: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    Tcp,
    Udp,
    Sctp,
}

impl PortProtocol {
    pub fn as_str(self) -> &'static str {
        match self {
            PortProtocol::Tcp => "tcp",
            PortProtocol::Udp => "udp",
            PortProtocol::Sctp => "sctp",
        }
    }
}

/// Docker's health check. `test` is Docker's own form: `["NONE"]`,
/// `["CMD", …]` or `["CMD-SHELL", "…"]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    pub test: Vec<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub retries: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    No,
    /// Our default (Compose's is `no`): a replica that dies comes back, also
    /// after a reboot.
    #[default]
    Always,
    OnFailure {
        max_attempts: Option<u32>,
    },
    UnlessStopped,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_limit_milli: Option<u64>,
    pub memory_limit_bytes: Option<i64>,
    pub memory_reservation_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}
