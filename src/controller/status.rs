//! How the stack stands: what `status` shows, and what the API answers.
//!
//! Made from one pass and nothing else, so a report is never a mixture of two
//! moments. It holds no secret value: of a container's spec it shows nothing.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{
    Container, Digest, ImageRef, Memory, Observed, ProbeCheck, ReleaseId, Service, ServiceName,
    Slot, SlotChoice, Snapshot, Stack, StackName, Strategy, Timestamp,
    memory::{Placement, ServiceMemory},
    service::ServiceKind,
    snapshot::{ContainerState, Health, ObserveFailure},
};
use crate::plan::{Plan, ServicePlan, ServiceState, WaitingOn};

/// How a whole stack stood after one pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub stack: StackName,
    /// The worst of the services; at least `degraded` while the file is bad.
    pub state: ServiceState,
    pub file: FileStanding,
    pub docker: PartStanding,
    pub proxy: ProxyStanding,
    /// In the order of their names.
    pub services: Vec<ServiceStatus>,
    /// Services that the file no longer declares and that still have containers.
    pub orphans: Vec<ServiceName>,
}

/// Whether the file as it stands now is the one in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStanding {
    pub path: PathBuf,
    pub valid: bool,
    /// The full report for people, if it is not valid.
    pub problem: Option<String>,
}

/// Whether a part of the world could be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStanding {
    pub known: bool,
    /// Why it is not, in the words of whoever answered.
    pub why: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStanding {
    /// False for a stack without a proxy.
    pub used: bool,
    #[serde(flatten)]
    pub part: PartStanding,
    /// `2.11.7`; None where the proxy does not tell.
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: ServiceName,
    pub state: ServiceState,
    /// One sentence for people.
    pub reason: String,
    pub strategy: Strategy,
    /// The slot that serves: the one the proxy routes to, else the remembered one.
    pub active_slot: Option<Slot>,
    /// The image that serves; before anything does, the one the file declares.
    pub image: ImageRef,
    pub digest: Option<Digest>,
    pub release: Option<ReleaseId>,
    /// The release that last finished its bake.
    pub last_good: Option<ReleaseId>,
    /// For people, with the time left when the report was asked for.
    pub waiting_on: Vec<String>,
    /// The same as values, for [`StatusReport::as_of`]; not on the wire.
    #[serde(skip)]
    pub barriers: Vec<WaitingOn>,
    pub declared: Declared,
    /// The hosts of its route.
    pub hosts: Vec<String>,
    pub replicas: ReplicaCount,
    pub hold: Option<HoldStatus>,
    pub slots: Slots,
}

/// What the file in force says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    pub image: ImageRef,
    /// None for `slot: auto`.
    pub slot: Option<Slot>,
}

/// Replicas of the release that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaCount {
    pub ready: u32,
    pub declared: u32,
}

/// A release that failed and is not tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    pub image: ImageRef,
    pub release: Option<ReleaseId>,
    pub reason: String,
    /// Its last log lines, oldest first.
    pub log: Vec<String>,
    /// Wall-clock milliseconds since 1970.
    pub at_unix_ms: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    pub blue: Option<SlotStatus>,
    pub green: Option<SlotStatus>,
}

impl Slots {
    pub fn get(&self, slot: Slot) -> Option<&SlotStatus> {
        match slot {
            Slot::Blue => self.blue.as_ref(),
            Slot::Green => self.green.as_ref(),
        }
    }
}

/// What a slot holds. During a swap it holds two releases; the one that serves
/// is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    pub image: ImageRef,
    pub release: ReleaseId,
    pub ready: u32,
    pub replicas: u32,
}

impl StatusReport {
    /// Returns the report with every countdown counted to `now`.
    pub fn as_of(mut self, now: Timestamp) -> StatusReport {
        for service in &mut self.services {
            service.waiting_on = describe(&service.barriers, now);
        }
        self
    }

    pub fn service(&self, name: &ServiceName) -> Option<&ServiceStatus> {
        self.services.iter().find(|service| service.name == *name)
    }
}

/// Returns how the stack stands after a pass that saw `seen` and decided `plan`.
pub fn report(
    stack: &Stack,
    file: &FileStanding,
    seen: &Snapshot,
    memory: &Memory,
    plan: &Plan,
    now: Timestamp,
) -> StatusReport {
    let containers = seen.containers.known().map_or(&[][..], Vec::as_slice);
    let mut of_service: BTreeMap<&ServiceName, Vec<&Container>> = BTreeMap::new();
    for container in containers {
        of_service.entry(&container.service).or_default().push(container);
    }
    let services: Vec<ServiceStatus> = stack
        .services
        .values()
        .map(|service| {
            let mine = of_service.get(&service.name).map_or(&[][..], Vec::as_slice);
            service_status(service, mine, seen, memory, plan, now)
        })
        .collect();
    let orphans = of_service
        .into_keys()
        .filter(|name| !stack.services.contains_key(*name))
        .cloned()
        .collect();
    StatusReport {
        stack: stack.name.clone(),
        state: overall(&services, file),
        file: file.clone(),
        docker: part(&seen.containers),
        proxy: ProxyStanding {
            used: stack.proxy.is_some(),
            part: part(&seen.proxy),
            version: seen.proxy.known().and_then(|proxy| proxy.version).map(|version| {
                format!("{}.{}.{}", version.major, version.minor, version.patch)
            }),
        },
        services,
        orphans,
    }
}

fn service_status(
    service: &Service,
    containers: &[&Container],
    seen: &Snapshot,
    memory: &Memory,
    plan: &Plan,
    now: Timestamp,
) -> ServiceStatus {
    let remembered = memory.services.get(&service.name);
    let planned = plan.services.get(&service.name);
    let active = active_placement(service, containers, seen, remembered);
    let serving: Vec<&Container> = containers
        .iter()
        .copied()
        .filter(|container| active.as_ref().is_some_and(|active| is_at(container, active)))
        .collect();
    let target = planned.and_then(|planned| planned.target.as_ref());
    let slot = |slot| slot_status(service, slot, containers, active.as_ref(), target, seen);
    let (image, digest) = served_image(service, &serving, active.as_ref(), remembered);
    let barriers = planned.map(|planned| planned.waiting_on.clone()).unwrap_or_default();
    ServiceStatus {
        name: service.name.clone(),
        state: planned.map_or(ServiceState::Unknown, |planned| planned.state),
        reason: planned.map(|planned| planned.reason.clone()).unwrap_or_default(),
        strategy: service.rollout.strategy,
        active_slot: active.as_ref().map(|active| active.slot),
        image,
        digest,
        release: active.map(|active| active.release),
        last_good: remembered.and_then(|remembered| remembered.good.last().cloned()),
        waiting_on: describe(&barriers, now),
        barriers,
        declared: Declared {
            image: service.image.clone(),
            slot: match service.slot {
                SlotChoice::Auto => None,
                SlotChoice::Declared(slot) => Some(slot),
            },
        },
        hosts: service.route.as_ref().map(|route| route.hosts.clone()).unwrap_or_default(),
        replicas: ReplicaCount {
            ready: count_ready(service, &serving, seen),
            declared: service.replicas,
        },
        hold: hold_in_force(service, remembered),
        slots: Slots { blue: slot(Slot::Blue), green: slot(Slot::Green) },
    }
}


/// Returns where traffic goes; the proxy knows best, whatever we remember.
fn active_placement(
    service: &Service,
    containers: &[&Container],
    seen: &Snapshot,
    remembered: Option<&ServiceMemory>,
) -> Option<Placement> {
    let routed = seen.proxy.known().and_then(|proxy| proxy.table.get(&service.name));
    if let (Some(_), Some(state)) = (&service.route, routed) {
        let backend = &state.backend;
        return Some(Placement { slot: backend.slot, release: backend.release.clone() });
    }
    let remembered = remembered.and_then(|remembered| remembered.active.clone());
    // Without a memory a single placement can only be the active one.
    remembered.or_else(|| {
        let mut placements = containers.iter().map(|container| placement(container));
        let first = placements.next()?;
        placements.all(|other| other == first).then_some(first)
    })
}

fn placement(container: &Container) -> Placement {
    Placement { slot: container.slot, release: container.release.clone() }
}

fn is_at(container: &Container, placement: &Placement) -> bool {
    container.slot == placement.slot && container.release == placement.release
}

fn served_image(
    service: &Service,
    serving: &[&Container],
    active: Option<&Placement>,
    remembered: Option<&ServiceMemory>,
) -> (ImageRef, Option<Digest>) {
    if let Some(container) = serving.first() {
        return (container.image.clone(), Some(container.digest.clone()));
    }
    let kept = active.zip(remembered).and_then(|(active, remembered)| {
        remembered.releases.iter().find(|release| release.id == active.release)
    });
    match kept {
        Some(release) => (release.image.clone(), Some(release.digest.clone())),
        None => (service.image.clone(), None),
    }
}

fn slot_status(
    service: &Service,
    slot: Slot,
    containers: &[&Container],
    active: Option<&Placement>,
    target: Option<&ReleaseId>,
    seen: &Snapshot,
) -> Option<SlotStatus> {
    let here: Vec<&Container> =
        containers.iter().copied().filter(|container| container.slot == slot).collect();
    let newest = here.iter().max_by_key(|container| container.created_at)?;
    let holds = |release: &&ReleaseId| here.iter().any(|container| container.release == **release);
    let active_here = active.filter(|active| active.slot == slot).map(|active| &active.release);
    let release =
        active_here.filter(holds).or(target.filter(holds)).unwrap_or(&newest.release).clone();
    let of_release: Vec<&Container> =
        here.iter().copied().filter(|container| container.release == release).collect();
    Some(SlotStatus {
        image: of_release.first()?.image.clone(),
        ready: count_ready(service, &of_release, seen),
        replicas: u32::try_from(of_release.len()).unwrap_or(u32::MAX),
        release,
    })
}

fn count_ready(service: &Service, containers: &[&Container], seen: &Snapshot) -> u32 {
    let ready = containers.iter().filter(|container| is_ready(service, container, seen)).count();
    u32::try_from(ready).unwrap_or(u32::MAX)
}

fn is_ready(service: &Service, container: &Container, seen: &Snapshot) -> bool {
    if service.kind == ServiceKind::OneShot {
        return container.state == ContainerState::Exited { code: 0 };
    }
    let ContainerState::Running { health } = container.state else { return false };
    match &service.probe.check {
        ProbeCheck::Docker => health == Some(Health::Healthy),
        ProbeCheck::Started => true,
        ProbeCheck::Http { .. } | ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => {
            seen.probes.get(&container.id).is_some_and(|standing| standing.ready)
        }
    }
}

/// Returns the hold if it is of what the file declares now: an older one is
/// over, and only not cleared yet.
fn hold_in_force(service: &Service, remembered: Option<&ServiceMemory>) -> Option<HoldStatus> {
    let hold = remembered?.hold.as_ref()?;
    (hold.declaration == service.declaration()).then(|| HoldStatus {
        image: hold.image.clone(),
        release: hold.release.clone(),
        reason: hold.reason.clone(),
        log: hold.log.clone(),
        at_unix_ms: hold.at_unix_ms,
    })
}

fn describe(barriers: &[WaitingOn], now: Timestamp) -> Vec<String> {
    barriers.iter().map(|barrier| barrier.describe(now)).collect()
}

fn part<T>(observed: &Observed<T>) -> PartStanding {
    let why = match observed {
        Observed::Known(_) => None,
        Observed::Unknown(ObserveFailure::Failed(why)) => Some(why.clone()),
        Observed::Unknown(ObserveFailure::NotAsked) => Some("not looked at yet".to_owned()),
    };
    PartStanding { known: why.is_none(), why }
}

fn overall(services: &[ServiceStatus], file: &FileStanding) -> ServiceState {
    let of_file = if file.valid { ServiceState::Settled } else { ServiceState::Degraded };
    let states = services.iter().map(|service| service.state).chain([of_file]);
    states.max_by_key(|state| severity(*state)).expect("the file's own state is always there")
}

/// How much a state asks for a human: more is worse.
fn severity(state: ServiceState) -> u8 {
    match state {
        ServiceState::Settled => 0,
        ServiceState::Progressing => 1,
        ServiceState::Unknown => 2,
        ServiceState::Degraded => 3,
        ServiceState::Held => 4,
    }
}
