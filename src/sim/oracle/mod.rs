//! Whether what the controller does is right.
//!
//! The oracle knows two things apart: how the world is, and what the controller
//! last saw of it. A replica that died a millisecond after it was seen ready is
//! nobody's fault; one that was stopped while the route was seen to name it is.

mod liveness;
mod safety;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::Arc,
};

use crate::domain::{
    Container, ContainerId, Digest, Fingerprint, GateKey, Memory, ProbeCheck, ReleaseId,
    RouteTable, Service, ServiceName, Slot, Stack, Strategy,
    snapshot::{ContainerState, Health, Measured, Measurement, ProbeStanding},
};

use super::{
    scenario::Fate,
    world::{Caddy, Docker},
};

pub use liveness::Ending;

/// The rule that was broken: design.md's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    S11,
    L1,
    L2,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// Milliseconds since the scenario began.
    pub at: i64,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}.{:03}s: {}", self.rule, self.at / 1000, self.at % 1000, self.text)
    }
}

/// What the controller last saw.
#[derive(Clone, Debug, Default)]
struct Knowledge {
    /// None where the last look failed, or none was made since the start.
    containers: Option<Vec<Container>>,
    proxy: Option<RouteTable>,
    stack: Option<Arc<Stack>>,
    /// Since when each replica has been seen to pass its probe without a break.
    passing_since: BTreeMap<ContainerId, i64>,
    /// What it took away since it last looked.
    taken: BTreeSet<ContainerId>,
}

/// Whether requests can be in flight to a container, in truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Routed,
    UnroutedSince(i64),
}

/// A release with all its replicas serving.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    slot: Slot,
    release: ReleaseId,
    fate: Fate,
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub violations: Vec<Violation>,
    knows: Knowledge,
    traffic: BTreeMap<ContainerId, Traffic>,
    /// What we last wrote for each service that was declared ever since.
    last_written: RouteTable,
    /// The routes of the last write that was sent, done or not.
    last_intended: RouteTable,
    /// The holds that the controller last wanted kept.
    holds: Holds,
    /// Those that were really saved: all that a controller that is killed leaves.
    saved_holds: Holds,
    foreign: BTreeSet<ContainerId>,
    /// The last release of each declared service that was seen whole.
    last_whole: BTreeMap<ServiceName, Whole>,
    /// Services that declared a release of which nobody can say what becomes.
    unclear: BTreeSet<ServiceName>,
    /// Releases of which a container ended with exit code 0, and not by us.
    done: BTreeSet<(ServiceName, ReleaseId)>,
    /// Gates that were seen to pass.
    passed: BTreeSet<GateKey>,
    /// Jobs that were done, and of which nothing may be known any more.
    forgotten: BTreeSet<GateKey>,
    /// Releases that a route was given.
    promoted: BTreeSet<(ServiceName, ReleaseId)>,
    /// Images that were seen to be signed.
    verified: BTreeSet<Digest>,
    /// The store was lost at least once: earlier releases may be unknown.
    pub amnesia: bool,
}

impl Oracle {
    pub fn store_lost(&mut self) {
        self.holds.clear();
        self.saved_holds.clear();
        self.amnesia = true;
    }

    /// A container of ours ended with exit code 0, and not by us.
    pub fn ended_well(&mut self, service: ServiceName, release: ReleaseId) {
        self.done.insert((service, release));
    }

    /// The controller's memory was saved.
    pub fn saved(&mut self, memory: &Memory) {
        self.saved_holds = holds_of(memory);
    }

    /// A controller begins with what was saved.
    pub fn loaded(&mut self) {
        self.holds = self.saved_holds.clone();
    }

    /// Notes that a job ended with exit code 0; false if it had done so before. With
    /// the store lost, or its container removed, nobody can know.
    pub fn job_succeeded(&mut self, key: GateKey) -> bool {
        let may_be_known = !self.amnesia && !self.forgotten.contains(&key);
        self.passed.insert(key) || !may_be_known
    }

    /// A job's container was removed before anybody noted that it had ended.
    pub fn job_forgotten(&mut self, key: GateKey) {
        self.forgotten.insert(key);
    }

    pub fn measured(&mut self, measured: &BTreeMap<GateKey, Measured>) {
        let passed = measured.iter().filter(|(_, it)| matches!(it.last, Measurement::Passed(_)));
        self.passed.extend(passed.map(|(key, _)| key.clone()));
    }

    pub fn verified(&mut self, digest: Digest) {
        self.verified.insert(digest);
    }

    pub fn foreign_made(&mut self, id: ContainerId) {
        self.foreign.insert(id);
    }

    pub fn forget_foreign(&mut self) -> BTreeSet<ContainerId> {
        std::mem::take(&mut self.foreign)
    }

    /// Returns somebody else's containers as if they carried our labels.
    pub fn foreign_as_ours(&self, docker: &Docker) -> Vec<Container> {
        let listed = docker.list(0).replicas;
        let Some(template) = listed.first() else { return Vec::new() };
        let disguise = |id: &ContainerId| Container {
            id: id.clone(),
            name: format!("foreign-{id}"),
            service: "gone".parse().expect("a valid name"),
            state: ContainerState::Exited { code: 0 },
            ..template.clone()
        };
        self.foreign.iter().map(disguise).collect()
    }

    pub fn containers_unseen(&mut self) {
        self.knows.containers = None;
    }

    pub fn containers_seen(&mut self, listed: &[Container]) {
        self.knows.containers = Some(listed.to_vec());
        self.knows.taken.clear();
    }

    pub fn proxy_unseen(&mut self) {
        self.knows.proxy = None;
    }

    pub fn proxy_seen(&mut self, table: &RouteTable) {
        self.knows.proxy = Some(table.clone());
    }

    pub fn file_read(&mut self, stack: &Arc<Stack>) {
        if self.knows.stack.as_ref().is_some_and(|known| Arc::ptr_eq(known, stack)) {
            return;
        }
        self.last_written.retain(|name, _| stack.services.contains_key(name));
        self.last_intended.retain(|name, _| stack.services.contains_key(name));
        self.holds.retain(|name, (declaration, _)| {
            stack.services.get(name).is_some_and(|service| service.declaration() == *declaration)
        });
        self.knows.stack = Some(Arc::clone(stack));
    }

    pub fn probes_seen(&mut self, standings: &BTreeMap<ContainerId, ProbeStanding>, now: i64) {
        let Some(containers) = &self.knows.containers else { return };
        let passing: BTreeSet<&ContainerId> = containers
            .iter()
            .filter(|container| {
                let service = self.knows.stack.as_ref();
                let service = service.and_then(|stack| stack.services.get(&container.service));
                service.is_some_and(|service| passes(service, container, standings))
            })
            .map(|container| &container.id)
            .collect();
        let since = &mut self.knows.passing_since;
        since.retain(|id, _| passing.contains(id));
        passing.into_iter().for_each(|id| {
            since.entry(id.clone()).or_insert(now);
        });
    }

    pub fn written(&mut self, table: &RouteTable) {
        self.last_written.extend(table.clone());
        self.knows.proxy = Some(table.clone());
    }

    /// Follows which running containers Caddy really names.
    pub fn time_passed(&mut self, docker: &Docker, caddy: &Caddy, now: i64) {
        for container in docker.all() {
            let Some(labels) = container.ours() else { continue };
            let Some(port) = labels.release.spec.route_port else { continue };
            let route = caddy.table.get(&labels.service);
            let mut dials = container.addresses.values().map(|ip| SocketAddr::new(*ip, port));
            let is_routed = container.is_running()
                && route.is_some_and(|route| dials.any(|d| route.dials().any(|named| *named == d)));
            let before = self.traffic.get(&container.id).copied();
            let after = match (is_routed, before) {
                (true, _) => Some(Traffic::Routed),
                (false, Some(Traffic::Routed)) => Some(Traffic::UnroutedSince(now)),
                (false, before) => before,
            };
            if after != before
                && let Some(after) = after
            {
                self.traffic.insert(container.id.clone(), after);
            }
        }
    }

    fn violation(&mut self, rule: Rule, at: i64, text: String) {
        self.violations.push(Violation { rule, at, text });
    }
}

/// Returns the addresses at which a route reaches a container.
pub fn dials_of(container: &Container) -> impl Iterator<Item = SocketAddr> {
    let addresses = container.addresses.values();
    addresses.filter_map(|ip| Some(SocketAddr::new(*ip, container.route_port?)))
}

/// Returns whether what was seen of a container passes its service's probe.
fn passes(
    service: &Service,
    container: &Container,
    standings: &BTreeMap<ContainerId, ProbeStanding>,
) -> bool {
    let ContainerState::Running { health } = container.state else { return false };
    match &service.probe.check {
        ProbeCheck::Http { .. } | ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => {
            standings.get(&container.id).is_some_and(|standing| standing.ready)
        }
        ProbeCheck::Docker => health == Some(Health::Healthy),
        ProbeCheck::Started => true,
    }
}

fn is_recreate(service: &Service) -> bool {
    service.rollout.strategy == Strategy::Recreate
}

/// The declaration and the release that failed, of each service that is held.
type Holds = BTreeMap<ServiceName, (Fingerprint, Option<ReleaseId>)>;

fn holds_of(memory: &Memory) -> Holds {
    let held = memory.services.iter().filter_map(|(name, service)| {
        let hold = service.hold.as_ref()?;
        Some((name.clone(), (hold.declaration.clone(), hold.release.clone())))
    });
    held.collect()
}
