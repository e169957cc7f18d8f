//! A service as the file declares it, validated.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    ContainerSpec, Digest, Fingerprint, Gate, ImageId, ImageRef, Phase, Probe, Release, Route,
    Secret, ServiceName, Slot,
};

/// One service of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    pub image: ImageRef,
    pub slot: SlotChoice,
    pub kind: ServiceKind,
    pub replicas: u32,
    pub route: Option<Route>,
    pub probe: Probe,
    pub spec: ContainerSpec,
    pub depends_on: BTreeMap<ServiceName, DependsOn>,
    pub rollout: Rollout,
    /// Services of one group are promoted together, or none of them is.
    // What is not said leaves the fingerprint as it was before it could be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_group: Option<ServiceName>,
    /// An image to run in the idle slot without traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<ImageRef>,
    /// Where the slots of a service are that runs elsewhere: both of them, and never
    /// without an address. Then `image` only reads as the declared slot's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<BTreeMap<Slot, BTreeSet<SocketAddr>>>,
}

impl Service {
    /// Returns the fingerprint of everything the file says of this service.
    /// A hold ends when it changes.
    pub fn declaration(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// Returns every image that the file names for this service.
    pub fn images(&self) -> impl Iterator<Item = &ImageRef> {
        let jobs = self.gates().filter_map(|gate| gate.job()?.image.as_ref());
        std::iter::once(&self.image).chain(&self.standby).chain(jobs)
    }

    /// Returns the values of its secret files.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.spec.secrets.values().map(|file| file.content.as_text())
    }

    /// Returns the values of its variables, and of those that its jobs have of their own:
    /// any may be a secret, and none is shown.
    pub fn variables(&self) -> impl Iterator<Item = Secret> {
        let jobs = self.gates().filter_map(Gate::job).flat_map(|job| job.environment.values());
        self.spec.environment.values().chain(jobs).cloned()
    }

    fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.rollout.all_gates().map(|(gate, _)| gate)
    }

    /// Returns the release of this service on the given image.
    pub fn release(&self, digest: Digest, image_id: ImageId) -> Release {
        // A slot that is elsewhere is its addresses, and nothing else.
        let spec = match self.upstreams {
            Some(_) => ContainerSpec::default(),
            None => self.spec.clone(),
        };
        Release::new(self.image.clone(), digest, image_id, spec)
    }
}

/// What `slot:` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotChoice {
    Auto,
    Declared(Slot),
}

/// Whether a service is meant to keep running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    LongRunning,
    /// `restart: "no"`, written out: it runs once per release, and exit code 0
    /// is success. What `service_completed_successfully` waits for.
    OneShot,
}

/// What must be true of a dependency before a replica is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependsOn {
    ServiceStarted,
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

/// How one release replaces another. Names are those of Argo Rollouts, Nomad
/// and Kamal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub strategy: Strategy,
    /// How long a release that is not ready yet may take.
    pub progress_deadline: Duration,
    /// How long a replica must have been ready before it counts.
    pub min_healthy_time: Duration,
    /// How long a release that lost its route keeps its requests in flight.
    pub drain_timeout: Duration,
    /// How long after a flip a failure still flips back by itself.
    pub bake: Duration,
    /// How long the previous slot stays warm after the bake.
    pub scale_down_delay: Duration,
    /// Whether a failure in the bake flips back.
    pub auto_revert: bool,
    pub failover: Failover,
    /// What must have passed before a release is promoted, one after another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_promotion: Vec<Gate>,
    /// What must keep passing through the bake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_promotion: Vec<Gate>,
    /// Whether a release is promoted once it may be; else somebody says when.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub auto_promote: bool,
}

impl Rollout {
    /// Returns the gates of a phase, in the order of the file.
    pub fn gates(&self, phase: Phase) -> &[Gate] {
        match phase {
            Phase::PrePromotion => &self.pre_promotion,
            Phase::PostPromotion => &self.post_promotion,
        }
    }

    /// Returns every gate with its phase, in the order of the file.
    pub fn all_gates(&self) -> impl Iterator<Item = (&Gate, Phase)> {
        let of_phase = |phase| self.gates(phase).iter().map(move |gate| (gate, phase));
        Phase::BOTH.into_iter().flat_map(of_phase)
    }
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

/// What becomes of a request that the active release cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// The release before it answers, while it is warm and ready.
    Standby,
    /// It fails: for a release that leaves the one before it unable to serve, as
    /// a migration can.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The new release starts in the idle slot (or beside the old one, for a
    /// swap), the route flips once, the old release stays warm for a while.
    BlueGreen,
    /// One replica more than declared at any time; the route flips once, when
    /// at least half of the replicas are new.
    Rolling,
    /// Stop, then start: for what must not run twice.
    Recreate,
}
