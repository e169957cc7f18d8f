//! Floor 2's seams: what the controller needs of the world, and nothing more.
//!
//! Each adapter folder implements one of these and imports no other adapter.
//! [`crate::sim`] implements all of them over one in-memory world, so every
//! method here is a place where a crash or a fault can be injected.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::domain::{
    ContainerId, Delivery, Digest, GateKey, GateTarget, GitStanding, ImageId, ImageRef, Letter,
    Memory, Probe, ReceiverId, Resolution, RouteTable, SignatureWanted, Stack, Unreached,
    release::RestartPolicy,
    said::SaidLine,
    snapshot::{Failure, Host, InFlight, Listed, Measured, ProbeStanding, ProxyState},
    stack::{NetworkSpec, ProxyConfig, VolumeSpec},
    time::Timestamp,
};
use crate::plan::{NewContainer, SecretFiles};

/// A Docker host, seen as one stack. Dropping a returned future must be safe at
/// any point: it is what a crash looks like.
pub trait Engine: Send + Sync {
    /// Lists every container that carries the stack's label, in any state, with
    /// one API call: replicas, and apart from them what runs a gate's job.
    fn containers(&self) -> impl Future<Output = Result<Listed, Failure>> + Send;

    /// Lists images, networks, volumes and disk space.
    fn host(&self) -> impl Future<Output = Result<Host, Failure>> + Send;

    /// Creates the network unless one of that name exists.
    fn create_network(
        &self,
        name: &str,
        spec: &NetworkSpec,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Creates the volume unless one of that name exists.
    fn create_volume(
        &self,
        name: &str,
        spec: &VolumeSpec,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Puts the secret files of containers where the engine mounts them from, as far as
    /// they are not there, and removes those that nothing needs. What cannot be put there
    /// is told by the creation or the start that needs it.
    fn keep_secrets(&self, files: &SecretFiles<'_>);

    /// Creates a replica or a job's container without starting it. One of that name that carries the
    /// same labels counts as created; a foreign one is [`NameTaken`].
    ///
    /// [`NameTaken`]: crate::domain::snapshot::FailureKind::NameTaken
    fn create(&self, new: &NewContainer) -> impl Future<Output = Result<(), Failure>> + Send;

    fn start(&self, id: &ContainerId) -> impl Future<Output = Result<(), Failure>> + Send;

    fn set_restart_policy(
        &self,
        id: &ContainerId,
        policy: RestartPolicy,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Sets the restart policy to `no`, then stops the container; a container
    /// that is stopped or gone already counts as done.
    fn stop(
        &self,
        id: &ContainerId,
        grace: Option<Duration>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes a container and its anonymous volumes; named volumes never. One
    /// that is gone already counts as done.
    fn remove(&self, id: &ContainerId) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes our mark of this digest off the image, and deletes the image if
    /// nobody else names or uses it.
    fn remove_image(
        &self,
        id: &ImageId,
        digest: &Digest,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Returns the last `tail` lines of standard output and error, oldest first, with
    /// where they may be cut.
    fn logs(
        &self,
        id: &ContainerId,
        tail: usize,
    ) -> impl Future<Output = Result<Vec<SaidLine>, Failure>> + Send;

    /// Starts a pull in the background unless one of this image is in flight:
    /// resolves the tag to a digest once, pulls that digest and marks the image
    /// as pulled by this stack.
    fn begin_pull(&self, image: &ImageRef);

    /// Returns the pulls in flight, with the share done in percent where known.
    fn pulls(&self) -> BTreeMap<ImageRef, Option<u8>>;

    /// Takes the pulls that have ended since the last call.
    fn take_pulled(&self) -> Vec<(ImageRef, Result<Resolution, Failure>)>;
}

/// The proxy that carries the traffic.
pub trait Proxy: Send + Sync {
    /// Reads our part of the proxy's configuration with one call.
    fn observe(
        &self,
        config: &ProxyConfig,
    ) -> impl Future<Output = Result<ProxyState, Failure>> + Send;

    /// Counts the requests in flight, with one call.
    fn in_flight(
        &self,
        config: &ProxyConfig,
    ) -> impl Future<Output = Result<InFlight, Failure>> + Send;

    /// Makes our part exactly `table` in one atomic write, and touches nothing
    /// else. Writing what stands already changes nothing.
    fn write(
        &self,
        config: &ProxyConfig,
        table: &RouteTable,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A replica to probe, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTarget {
    pub probe: Probe,
    /// The address on the stack's network; None for a replica without one.
    pub address: Option<std::net::IpAddr>,
}

/// Probes in the background, and tells what they showed.
pub trait Prober: Send + Sync {
    /// Probes exactly these from now on. A new or changed target starts from
    /// nothing, its first probe at once; one that is not named is forgotten.
    fn watch(&self, targets: BTreeMap<ContainerId, ProbeTarget>);

    /// Returns what the probes have shown so far; a target that was not probed
    /// yet is absent.
    fn standings(&self) -> BTreeMap<ContainerId, ProbeStanding>;
}

/// Measures gates in the background, and tells what they showed.
pub trait Gatekeeper: Send + Sync {
    /// Measures exactly these from now on, each at its interval. A new or changed
    /// target starts from nothing, its first measurement at once; one that is not
    /// named is forgotten. Jobs are not measured.
    fn watch(&self, targets: BTreeMap<GateKey, GateTarget>);

    /// Returns what the measurements have shown so far; a target that was not
    /// measured yet is absent.
    fn measured(&self) -> BTreeMap<GateKey, Measured>;
}

/// Looks in registries who has signed what.
///
/// The one port that is an object: it is asked once for an image, and so costs no type
/// parameter everywhere.
pub trait Verifier: Send + Sync {
    /// Looks whether one of the keys has signed the image. [`Refused`] says that none
    /// has; everything else that nobody could tell. Must end by itself.
    ///
    /// [`Refused`]: crate::domain::snapshot::FailureKind::Refused
    fn verify<'a>(&'a self, wanted: &'a SignatureWanted) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Runs a command inside a replica, for probes and gates.
pub trait Exec: Send + Sync {
    /// Returns the command's exit code; fails if it could not be run or has not
    /// ended within `timeout`.
    fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<i64, Failure>> + Send;
}

impl<T: Exec> Exec for Arc<T> {
    fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<i64, Failure>> + Send {
        T::exec(self, id, command, timeout)
    }
}

/// Tells people and forges, in the background. Nothing waits for it.
pub trait Notifier: Send + Sync {
    /// Delivers exactly these from now on, those of one receiver one after another. One
    /// that is not named any more is not tried again.
    fn deliver(&self, letters: Vec<Letter>);

    /// Takes the deliveries that have ended since the last call.
    fn take_delivered(&self) -> Vec<Delivery>;

    /// Returns whom letters keep failing to reach.
    fn unreached(&self) -> BTreeMap<ReceiverId, Unreached>;
}

/// Keeps the memory across restarts.
pub trait Ledger: Send + Sync {
    /// Returns what was saved last; an empty memory if nothing was, or if the
    /// store had to be set aside.
    fn load(&self) -> Memory;

    /// Saves durably before it returns. A ledger that cannot (a full disk)
    /// warns once and goes on: no traffic depends on it.
    fn save(&self, memory: &Memory) -> Result<(), Failure>;
}

/// Where the desired state comes from.
pub trait Source: Send + Sync {
    /// Reads the desired state as it stands now. The error is the full report
    /// for people: file, line, column, reason and mend.
    fn load(&self) -> impl Future<Output = Result<Stack, String>> + Send;

    /// Returns how the branch stands that it comes from, for people; None where there
    /// is none.
    fn standing(&self) -> Option<GitStanding> {
        None
    }
}

/// The time.
pub trait Clock: Send + Sync {
    /// Returns the time on the count that decisions use; never runs backwards.
    fn now(&self) -> Timestamp;

    /// Returns wall-clock milliseconds since 1970, for people only.
    fn unix_ms(&self) -> i64;

    /// Returns the name of this boot of the host.
    fn boot_id(&self) -> String;
}
