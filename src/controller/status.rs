//! How the stack stands: what `status` shows, and what the API answers.
//!
//! Made from one pass and nothing else, so a report is never a mixture of two
//! moments. It holds no secret value: of a container's spec it shows nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::domain::{
    Commit, Digest, GitStanding, ImageRef, Memory, Observed, ReleaseId, ServiceName, Slot,
    SlotChoice, Snapshot, Stack, StackName, Strategy, Timestamp, Unreached,
    memory::{GateRecord, HeldBy, Placement},
    snapshot::{FlipMechanism, NameMechanism},
    time::Now,
};
use crate::plan::{
    Plan, ServiceState, WaitingOn, gates, names,
    view::{Replica, View, World, count, why_unknown},
};

/// How a whole stack stood after one pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub stack: StackName,
    /// When the pass was: wall-clock milliseconds since 1970, for people.
    #[serde(default)]
    pub at_unix_ms: i64,
    /// Whether a running controller tells this; else it was looked at from outside,
    /// and nobody keeps it so.
    pub controlled: bool,
    /// The worst of the services; at least `degraded` while the file is bad or its
    /// branch cannot be followed.
    pub state: ServiceState,
    pub file: FileStanding,
    /// The commit of the file in force; None for one that is not in Git.
    #[serde(default)]
    pub commit: Option<Commit>,
    pub docker: PartStanding,
    pub proxy: ProxyStanding,
    /// In the order of their names.
    pub services: Vec<ServiceStatus>,
    /// Services that the file no longer declares and that still have containers.
    pub orphans: Vec<ServiceName>,
    /// Whom the news of this stack keep failing to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<Unreached>,
}

/// Whether the file as it stands now is the one in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStanding {
    pub path: PathBuf,
    pub valid: bool,
    /// The full report for people, if it is not valid.
    pub problem: Option<String>,
    /// How its branch stands; None for a file that is not in Git.
    #[serde(default)]
    pub git: Option<GitStanding>,
}

impl FileStanding {
    /// Whether what is in force is what the user says now, as far as anybody knows.
    fn is_current(&self) -> bool {
        self.valid && self.git.as_ref().is_none_or(|git| git.trouble.is_none())
    }
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
    /// How the next flip moves traffic; None while the proxy cannot be seen, and
    /// for a stack without one.
    #[serde(default)]
    pub flip: Option<FlipMechanism>,
    /// Who can answer to the services' names; None likewise.
    #[serde(default)]
    pub names: Option<NameMechanism>,
    /// Services with containers that ask Docker all the same, because they are
    /// older than a name: until their next deploy.
    #[serde(default)]
    pub untold: BTreeSet<ServiceName>,
    /// Services with containers for which the proxy goes on answering to names though
    /// it should not be asked to any more: until their next deploy.
    #[serde(default)]
    pub promised: BTreeSet<ServiceName>,
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
    /// The commit that first declared that release; None without Git.
    #[serde(default)]
    pub commit: Option<Commit>,
    /// The release that last finished its bake.
    pub last_good: Option<ReleaseId>,
    /// For people, with the time left when the report was asked for.
    pub waiting_on: Vec<String>,
    /// It is ready, and waits for an operator's `promote`.
    #[serde(default)]
    pub to_promote: bool,
    /// The same as values, for [`StatusReport::as_of`]; not on the wire.
    #[serde(skip)]
    pub barriers: Vec<WaitingOn>,
    pub declared: Declared,
    /// What became of the declared release's gates, in the order of the file.
    #[serde(default)]
    pub gates: Vec<GateRecord>,
    /// The hosts of its route; none for one that is for the inside only.
    pub hosts: Vec<String>,
    /// Who answers to its name in containers that are created now; None without
    /// a route, and while the proxy cannot be seen.
    #[serde(default)]
    pub name_answered: Option<NameMechanism>,
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
    /// How its gates stood when it failed, in the order of the file.
    #[serde(default)]
    pub gates: Vec<GateRecord>,
    #[serde(default)]
    pub by: HeldBy,
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

    /// Returns the whole in one line: `shop: 3 settled, 1 held (worker)`.
    pub fn line(&self) -> String {
        let mut names: BTreeMap<ServiceState, Vec<&str>> = BTreeMap::new();
        for service in &self.services {
            names.entry(service.state).or_default().push(service.name.as_str());
        }
        let counts = names.iter().map(|(state, names)| match state {
            ServiceState::Settled => format!("{} {state}", names.len()),
            ServiceState::Progressing
            | ServiceState::Degraded
            | ServiceState::Held
            | ServiceState::Unknown => format!("{} {state} ({})", names.len(), names.join(", ")),
        });
        let mut parts: Vec<String> = counts.collect();
        if parts.is_empty() {
            parts.push("no services".to_owned());
        }
        if !self.file.valid {
            parts.push("the file is not valid".to_owned());
        }
        if self.file.git.as_ref().is_some_and(|git| git.trouble.is_some()) {
            parts.push("the branch is not followed".to_owned());
        }
        format!("{}: {}", self.stack, parts.join(", "))
    }
}

/// Returns how the stack stands after a pass that saw `seen` and decided `plan`.
pub fn report(
    stack: &Stack,
    file: &FileStanding,
    seen: &Snapshot,
    memory: &Memory,
    plan: &Plan,
    now: Now,
) -> StatusReport {
    let world = World { stack, seen, memory, now };
    let services: Vec<ServiceStatus> =
        world.views().values().map(|view| service_status(view, plan)).collect();
    let containers = seen.containers.known().map_or(&[][..], Vec::as_slice);
    let orphans: BTreeSet<&ServiceName> = containers
        .iter()
        .map(|container| &container.service)
        .filter(|name| !stack.services.contains_key(*name))
        .collect();
    let proxy = seen.proxy.known().filter(|_| stack.proxy.is_some());
    let version = proxy.and_then(|proxy| proxy.version);
    StatusReport {
        stack: stack.name.clone(),
        at_unix_ms: now.unix_ms,
        controlled: true,
        state: overall(&services, file),
        file: file.clone(),
        commit: stack.commit.clone(),
        docker: part(&seen.containers),
        proxy: ProxyStanding {
            used: stack.proxy.is_some(),
            part: part(&seen.proxy),
            version: version
                .map(|version| format!("{}.{}.{}", version.major, version.minor, version.patch)),
            flip: proxy.map(|proxy| proxy.flip.clone()),
            names: proxy.map(|proxy| proxy.names.clone()),
            untold: names::untold(world),
            promised: names::promised(world),
        },
        services,
        orphans: orphans.into_iter().cloned().collect(),
        unreached: Vec::new(),
    }
}

fn service_status(view: &View, plan: &Plan) -> ServiceStatus {
    let service = view.service;
    let planned = plan.services.get(&service.name);
    let active = view.active();
    let (image, digest) = served_image(view, active.as_ref());
    let barriers = planned.map(|planned| planned.waiting_on.clone()).unwrap_or_default();
    let target = planned.and_then(|planned| planned.target.as_ref());
    ServiceStatus {
        name: service.name.clone(),
        state: planned.map_or(ServiceState::Unknown, |planned| planned.state),
        reason: planned.map(|planned| planned.reason.clone()).unwrap_or_default(),
        strategy: service.rollout.strategy,
        active_slot: active.as_ref().map(|active| active.slot),
        image,
        digest,
        release: active.as_ref().map(|active| active.release.clone()),
        commit: active.as_ref().and_then(|active| view.record(&active.release)?.commit.clone()),
        last_good: view.memory.good.last().cloned(),
        waiting_on: describe(&barriers, view.world.at()),
        to_promote: barriers.iter().any(|it| matches!(it, WaitingOn::Promotion { .. })),
        barriers,
        declared: Declared {
            image: service.image.clone(),
            slot: match service.slot {
                SlotChoice::Auto => None,
                SlotChoice::Declared(slot) => Some(slot),
            },
        },
        gates: target.map(|target| gates::results(view, target)).unwrap_or_default(),
        hosts: service.route.as_ref().map(|route| route.hosts.clone()).unwrap_or_default(),
        name_answered: names::answers(view.world, service),
        replicas: ReplicaCount {
            ready: active.as_ref().map_or(0, |active| match view.is_done(active) {
                true => service.replicas,
                false => view.ready_at(active),
            }),
            declared: service.replicas,
        },
        hold: hold_in_force(view),
        slots: Slots {
            blue: slot_status(view, Slot::Blue, active.as_ref(), target),
            green: slot_status(view, Slot::Green, active.as_ref(), target),
        },
    }
}

fn served_image(view: &View, active: Option<&Placement>) -> (ImageRef, Option<Digest>) {
    let Some(active) = active else { return (view.service.image.clone(), None) };
    if let Some(replica) = view.at(active).next() {
        return (replica.container.image.clone(), Some(replica.container.digest.clone()));
    }
    match view.record(&active.release) {
        Some(release) => (release.image.clone(), Some(release.digest.clone())),
        None => (view.service.image.clone(), None),
    }
}

fn slot_status(
    view: &View,
    slot: Slot,
    active: Option<&Placement>,
    target: Option<&ReleaseId>,
) -> Option<SlotStatus> {
    let here: Vec<&Replica> =
        view.replicas.iter().filter(|replica| replica.container.slot == slot).collect();
    let shown = here.iter().max_by_key(|replica| {
        let release = &replica.container.release;
        let serves = active.is_some_and(|active| replica.is_at(active));
        (serves, Some(release) == target, replica.container.created_at)
    })?;
    let placement = shown.placement();
    Some(SlotStatus {
        image: shown.container.image.clone(),
        ready: view.ready_at(&placement),
        replicas: count(view.at(&placement)),
        release: placement.release,
    })
}

/// Returns the hold if it is of what the file declares now: an older one is
/// over, and only not cleared yet.
fn hold_in_force(view: &View) -> Option<HoldStatus> {
    let hold = view.memory.hold.as_ref().or(view.memory.failed_standby.as_ref())?;
    (hold.declaration == *view.declaration()).then(|| HoldStatus {
        image: hold.image.clone(),
        release: hold.release.clone(),
        reason: hold.reason.clone(),
        log: hold.log.clone(),
        gates: hold.gates.clone(),
        by: hold.by,
        at_unix_ms: hold.at_unix_ms,
    })
}

fn describe(barriers: &[WaitingOn], now: Timestamp) -> Vec<String> {
    let mut texts: Vec<String> = barriers.iter().map(|barrier| barrier.describe(now)).collect();
    texts.dedup();
    texts
}

fn part<T>(observed: &Observed<T>) -> PartStanding {
    let why = why_unknown(observed);
    PartStanding { known: why.is_none(), why }
}

fn overall(services: &[ServiceStatus], file: &FileStanding) -> ServiceState {
    let of_file = if file.is_current() { ServiceState::Settled } else { ServiceState::Degraded };
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
