//! One service as a pass sees it: its replicas by placement, each ready or not.
//!
//! Classify first, decide after: nothing here decides anything.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::domain::{
    Backend, Container, Fingerprint, ProbeCheck, Release, ReleaseId, RouteState, Service,
    ServiceKind, ServiceName, Snapshot, Stack, Timestamp,
    memory::{Memory, Placement, ReplicaMemory, ServiceMemory},
    route::preview_name,
    snapshot::{ContainerState, Health, ObserveFailure, Observed, ProxyState, Subject, Work},
    time::Now,
};

use super::{aim, gates};

/// How long the engine's list may lag behind a stop.
const LIST_LAG: Duration = Duration::from_secs(3);

/// What every decision of one pass may look at.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub stack: &'a Stack,
    pub seen: &'a Snapshot,
    pub memory: &'a Memory,
    pub now: Now,
}

/// One service and everything that was observed of it.
pub struct View<'a> {
    pub world: World<'a>,
    pub service: &'a Service,
    pub memory: ServiceMemory,
    pub replicas: Vec<Replica<'a>>,
    declaration: OnceCell<Fingerprint>,
}

/// One container of a service.
pub struct Replica<'a> {
    pub container: &'a Container,
    pub memory: ReplicaMemory,
    pub standing: Standing,
}

/// What can be expected of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs, and its probe says that it can take requests; of a one-shot: it
    /// ended with exit code 0.
    Ready,
    /// It runs, and too few probes were made of it to tell.
    Pending { why: Option<String> },
    /// It runs, and cannot take requests: enough probes in a row have said so.
    Failing { why: String },
    /// It was created and never started.
    Created,
    /// It does not run.
    Ended { code: i64 },
    /// A step is taking it away or is about to start it, or the engine is removing
    /// it: not to be counted on.
    Leaving,
    /// It does not run the image that its labels say. Never trusted with traffic.
    Impostor,
}

impl<'a> World<'a> {
    /// Returns the view of each declared service.
    pub fn views(self) -> BTreeMap<&'a ServiceName, View<'a>> {
        let views = self.stack.services.iter();
        views.map(|(name, service)| (name, View::new(self, service))).collect()
    }

    /// Returns the proxy's state where it was seen.
    pub fn proxy(self) -> Option<&'a ProxyState> {
        self.seen.proxy.known()
    }

    pub fn at(self) -> Timestamp {
        self.now.at
    }
}

impl<'a> View<'a> {
    /// Returns the view of one declared service.
    pub fn of(world: World<'a>, name: &ServiceName) -> Option<View<'a>> {
        world.stack.services.get(name).map(|service| View::new(world, service))
    }

    fn new(world: World<'a>, service: &'a Service) -> View<'a> {
        let memory = world.memory.service(&service.name);
        let containers = world.seen.containers.known().map_or(&[][..], Vec::as_slice);
        let mut replicas: Vec<Replica<'a>> = containers
            .iter()
            .filter(|container| container.service == service.name)
            .map(|container| {
                let remembered = memory.replicas.get(&container.id).cloned().unwrap_or_default();
                let standing = stand(world, service, container, &remembered);
                Replica { container, memory: remembered, standing }
            })
            .collect();
        replicas.sort_by(|a, b| {
            let key = |r: &Replica| (r.placement(), r.container.replica, r.container.created_at);
            key(a).cmp(&key(b))
        });
        View { world, service, memory, replicas, declaration: OnceCell::new() }
    }

    /// Returns the fingerprint of everything that the file says of the service.
    pub fn declaration(&self) -> &Fingerprint {
        self.declaration.get_or_init(|| self.service.declaration())
    }

    /// Returns the route as the proxy was seen to have it.
    fn route_state(&self) -> Option<&'a RouteState> {
        self.world.proxy()?.table.get(&self.service.name)
    }

    /// Returns what the route points at, where the proxy was seen to route.
    pub fn routed(&self) -> Option<&'a Backend> {
        self.route_state().map(|state| &state.backend)
    }

    /// Returns the placement the route points at.
    pub fn routed_placement(&self) -> Option<Placement> {
        self.routed().map(placement_of)
    }

    /// Returns what a route that the proxy has lost pointed at.
    pub fn lost_placement(&self) -> Option<Placement> {
        let written = self.world.memory.routes.get(&self.service.name);
        written.map(|state| placement_of(&state.backend)).or_else(|| self.memory.active.clone())
    }

    /// Returns the active placement: what the route points at; where no route
    /// can be seen, what last was. Of a service without a route that nothing is
    /// remembered of: the earlier release that has run longest, and has passed what the
    /// file wants of it.
    pub fn active(&self) -> Option<Placement> {
        if let Some(routed) = self.routed_placement() {
            return Some(routed);
        }
        if let Some(active) = &self.memory.active {
            return Some(active.clone());
        }
        if self.service.route.is_some() {
            return None;
        }
        let declared = aim::declared_release(self).map(|release| release.id);
        let earlier = self.replicas.iter().filter(|replica| {
            let release = &replica.container.release;
            replica.runs()
                && Some(release) != declared.as_ref()
                && gates::have_passed_before_promotion(self, release)
        });
        earlier.min_by_key(|replica| replica.container.created_at).map(Replica::placement)
    }

    pub fn at<'v>(&'v self, placement: &'v Placement) -> impl Iterator<Item = &'v Replica<'a>> {
        self.replicas.iter().filter(move |replica| replica.is_at(placement))
    }

    pub fn ready_at(&self, placement: &Placement) -> u32 {
        count(self.at(placement).filter(|replica| replica.is_ready()))
    }

    /// Returns whether a job has done its work in this placement and its container
    /// was taken away since: `docker container prune` undoes nothing.
    pub fn is_done(&self, placement: &Placement) -> bool {
        self.service.kind == ServiceKind::OneShot
            && self.memory.good.contains(&placement.release)
            && self.at(placement).next().is_none()
    }

    /// Returns where the proxy reaches the ready replicas of a placement, in the
    /// order of their numbers.
    pub fn ready_dials<'v>(
        &'v self,
        placement: &'v Placement,
    ) -> impl Iterator<Item = SocketAddr> + 'v {
        let ready = self.at(placement).filter(|replica| replica.is_ready());
        ready.filter_map(|replica| self.dial(replica))
    }

    /// Returns what a release was made of, if it is remembered.
    pub fn record(&self, release: &ReleaseId) -> Option<&Release> {
        self.memory.releases.iter().find(|record| record.id == *release)
    }

    /// Returns whether each of the declared number of replicas is ready.
    pub fn all_ready_at(&self, placement: &Placement) -> bool {
        if self.is_done(placement) {
            return true;
        }
        let ready: BTreeSet<u32> = self
            .at(placement)
            .filter(|replica| replica.is_ready())
            .map(|replica| replica.container.replica)
            .collect();
        (1..=self.replicas_at(placement)).all(|number| ready.contains(&number))
    }

    /// Returns how many replicas a placement is to have: of a slot that is elsewhere,
    /// as many as it has addresses.
    pub fn replicas_at(&self, placement: &Placement) -> u32 {
        match &self.service.upstreams {
            Some(slots) => count(slots.get(&placement.slot).into_iter().flatten()),
            None => self.service.replicas,
        }
    }

    /// Returns every placement that has a container.
    pub fn placements(&self) -> BTreeSet<Placement> {
        self.replicas.iter().map(Replica::placement).collect()
    }

    /// Returns where the proxy reaches a replica: its address on the first of
    /// the service's networks that it is on, and its release's port.
    pub fn dial(&self, replica: &Replica) -> Option<SocketAddr> {
        let port = replica.container.route_port?;
        let addresses = &replica.container.addresses;
        let preferred = self.service.spec.networks.iter();
        let address = preferred
            .filter_map(|attachment| addresses.get(&attachment.network))
            .chain(addresses.values())
            .next()?;
        Some(SocketAddr::new(*address, port))
    }

    /// Returns whether the route points at this replica's address.
    pub fn is_routed(&self, replica: &Replica) -> bool {
        match (self.routed(), self.dial(replica)) {
            (Some(backend), Some(dial)) => backend.dials.contains(&dial),
            (None, _) | (_, None) => false,
        }
    }

    /// Returns whether a request of the route can reach this replica: as one of
    /// the release that answers, or as its standby.
    pub fn is_named(&self, replica: &Replica) -> bool {
        let Some(dial) = self.dial(replica) else { return false };
        let names = |state: &RouteState| state.dials().any(|named| *named == dial);
        self.route_state().is_some_and(names) || self.preview_state().is_some_and(names)
    }

    fn preview_state(&self) -> Option<&'a RouteState> {
        let name = preview_name(&self.service.name).ok()?;
        self.world.proxy()?.table.get(&name)
    }

    /// Returns whether what the proxy does with this service can be seen, or
    /// does not matter to it.
    pub fn proxy_is_known(&self) -> bool {
        self.service.route.is_none() || self.world.proxy().is_some()
    }
}

impl Replica<'_> {
    pub fn placement(&self) -> Placement {
        Placement { slot: self.container.slot, release: self.container.release.clone() }
    }

    pub fn is_at(&self, placement: &Placement) -> bool {
        self.container.slot == placement.slot && self.container.release == placement.release
    }

    pub fn is_ready(&self) -> bool {
        self.standing == Standing::Ready
    }

    /// Returns whether it runs and nothing speaks against it yet.
    pub fn may_become_ready(&self) -> bool {
        match self.standing {
            Standing::Ready | Standing::Pending { .. } => true,
            Standing::Failing { .. }
            | Standing::Created
            | Standing::Ended { .. }
            | Standing::Leaving
            | Standing::Impostor => false,
        }
    }

    /// Returns whether a process of it may be running.
    pub fn runs(&self) -> bool {
        match self.container.state {
            ContainerState::Running { .. }
            | ContainerState::Restarting
            | ContainerState::Paused => true,
            ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Removing => {
                false
            }
        }
    }
}

/// Returns the placement a backend stands for.
pub fn placement_of(backend: &Backend) -> Placement {
    Placement { slot: backend.slot, release: backend.release.clone() }
}

/// Counts as the `u32` that replicas are numbered with.
pub fn count(things: impl Iterator) -> u32 {
    u32::try_from(things.count()).unwrap_or(u32::MAX)
}

fn stand(
    world: World,
    service: &Service,
    container: &Container,
    memory: &ReplicaMemory,
) -> Standing {
    let subject =
        Subject::Replica { service: service.name.clone(), container: container.name.clone() };
    let runs = matches!(container.state, ContainerState::Running { .. });
    match world.seen.busy.get(&subject) {
        Some(Work::Tends) if runs => {}
        Some(Work::TakesAway | Work::Tends) => return Standing::Leaving,
        None => {}
    }
    // Docker's list goes on calling a container running for a while after it has
    // stopped (0.6 s were measured). One that runs for longer was started by somebody.
    let just_stopped = |at: &Timestamp| runs && world.at() < *at + LIST_LAG;
    if memory.stopped_at.as_ref().is_some_and(just_stopped) {
        return Standing::Leaving;
    }
    if is_impostor(world, container) {
        return Standing::Impostor;
    }
    match (container.state, service.kind) {
        (ContainerState::Created, _) => Standing::Created,
        // One that we stopped has not done its work, whatever code it left with.
        (ContainerState::Exited { code: 0 }, ServiceKind::OneShot)
            if memory.stopped_at.is_none() =>
        {
            Standing::Ready
        }
        (ContainerState::Exited { code }, _) => Standing::Ended { code },
        (ContainerState::Removing, _) => Standing::Leaving,
        (ContainerState::Running { .. }, ServiceKind::OneShot) => Standing::Pending { why: None },
        (ContainerState::Restarting, _) => Standing::Failing { why: "it keeps exiting".to_owned() },
        (ContainerState::Paused, _) => Standing::Failing { why: "it is paused".to_owned() },
        (ContainerState::Running { .. }, ServiceKind::LongRunning) => {
            let long_enough = memory
                .probed_ready_since
                .is_some_and(|since| since + service.rollout.min_healthy_time <= world.at());
            match probed(world.seen, service, container) {
                Probed::Passes if long_enough => Standing::Ready,
                Probed::Passes => Standing::Pending { why: None },
                Probed::NotYet(why) => Standing::Pending { why },
                Probed::Fails(why) => Standing::Failing { why },
            }
        }
    }
}

/// What the probe of a running replica says.
pub enum Probed {
    Passes,
    /// Not enough probes were made to tell; with what the last one said.
    NotYet(Option<String>),
    Fails(String),
}

/// Returns what the probe of a replica says now.
pub fn probed(seen: &Snapshot, service: &Service, container: &Container) -> Probed {
    let ContainerState::Running { health } = container.state else { return Probed::NotYet(None) };
    match &service.probe.check {
        ProbeCheck::Started => Probed::Passes,
        ProbeCheck::Docker => match health {
            Some(Health::Healthy) => Probed::Passes,
            Some(Health::Starting) => Probed::NotYet(None),
            Some(Health::Unhealthy) => Probed::Fails("Docker says unhealthy".to_owned()),
            None => Probed::Fails("the image has no HEALTHCHECK".to_owned()),
        },
        ProbeCheck::Http { .. } | ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => {
            let Some(standing) = seen.probes.get(&container.id) else {
                return Probed::NotYet(None);
            };
            match (&standing.last_failure, standing.probes >= service.probe.unhealthy_after) {
                (_, _) if standing.ready => Probed::Passes,
                (Some(why), true) => Probed::Fails(why.clone()),
                (why, _) => Probed::NotYet(why.clone()),
            }
        }
    }
}

fn is_impostor(world: World, container: &Container) -> bool {
    let records = world.memory.services.get(&container.service).map(|s| s.releases.as_slice());
    let record = records.unwrap_or_default().iter().find(|r| r.id == container.release);
    record.is_some_and(|release| release.image_id != container.image_id)
}

/// Returns the part's words where it could not be seen.
pub fn why_unknown<T>(part: &Observed<T>) -> Option<String> {
    match part {
        Observed::Known(_) => None,
        Observed::Unknown(ObserveFailure::NotAsked) => Some("it was not looked at".to_owned()),
        Observed::Unknown(ObserveFailure::Failed(why)) => Some(why.clone()),
    }
}
