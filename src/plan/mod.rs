//! Floor 1: what to do next, as pure functions of what was observed and the time.
//!
//! A pass calls [`remember()`], then [`plan()`], then [`check()`]. A plan stops at the
//! next barrier: readiness, gates, bake and drain are [`WaitingOn`] values with
//! a deadline, never a step that sleeps. There is no script position: each plan
//! is derived from what was observed alone, so a crash loses nothing.
//!
//! | file | idea |
//! | --- | --- |
//! | `view` | one service as it stands: classify first |
//! | `aim` | the release and slot it is to reach, or to fall back on |
//! | `verdict`, `hold` | whether the declared release has failed, and what is kept of it |
//! | `routing` | which release answers the route |
//! | `blue_green`, `rolling`, `recreate` | how one release replaces another |
//! | `addresses` | which address a new replica gets |
//! | `names` | who answers to a service's name inside the stack |
//! | `gates`, `group` | what a promotion waits for, and what undoes it |
//! | `idle` | what stands in the idle slot, and who may look at it |
//! | `upstreams` | slots that are elsewhere |
//! | `signed` | what a new release's image must carry |
//! | `orphans`, `retain`, `prune` | what nothing declares or needs any more |
//! | `secrets` | which secret files have to be in place |
//! | `drain` | whether a request can still be in flight to a replica |
//! | `watch` | what is remembered of each container |
//! | `remember` | what the next pass has to know and cannot observe |
//! | `deployment` | what became of each deployment, for people |
//! | `tell` | who is to be told what |
//! | `check` | the safety rules once more, against the finished plan |

mod addresses;
mod aim;
mod blue_green;
pub mod check;
mod deployment;
mod draft;
mod drain;
pub mod gates;
mod group;
mod hold;
mod idle;
pub mod names;
mod operator;
mod orphans;
mod pace;
mod prune;
mod recreate;
mod remember;
mod retain;
mod rolling;
mod routing;
mod scrub;
mod secrets;
mod signed;
mod standing;
mod step;
pub mod tell;
pub mod upstreams;
mod verdict;
pub mod view;
mod waiting;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

pub use check::{Violation, check};
pub use drain::Count;
pub use operator::{Refusal, promote, retry, rollback};
pub use remember::{intend, remember};
pub use secrets::{SecretFiles, secret_files};
pub use signed::subject as signature_subject;
pub use step::{Flip, NewContainer, NewHold, Step};
pub use waiting::WaitingOn;

use crate::domain::{
    DependsOn, GateKey, GateTarget, Memory, ReleaseId, Route, RouteState, RouteTable, ServiceName,
    Snapshot, Stack, Strategy, Timestamp,
    snapshot::{HoldOf, ObserveFailure, Observed, ProxyState, Subject},
    time::Now,
};
use aim::{Course, Target, course};
use draft::Draft;
use view::{Standing, View, World, placement_of};

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Steps on different subjects; they may all be done concurrently.
    pub steps: Vec<Step>,
    pub services: BTreeMap<ServiceName, ServicePlan>,
    /// The plan needs [`crate::domain::snapshot::Host`] to go on; observe it and plan again.
    pub wants_host: bool,
    /// The plan waits for requests in flight; count them and plan again.
    pub wants_in_flight: bool,
    /// The gates to measure from now on.
    pub measure: BTreeMap<GateKey, GateTarget>,
    /// When to look again without being woken.
    pub revisit: Option<Timestamp>,
}

impl Plan {
    /// Returns the routes that the plan writes, if it writes them.
    pub fn table(&self) -> Option<&RouteTable> {
        self.steps.iter().find_map(|step| match step {
            Step::WriteRoutes { table, .. } => Some(table),
            Step::CreateNetwork { .. }
            | Step::CreateVolume { .. }
            | Step::Pull { .. }
            | Step::Verify { .. }
            | Step::Create(_)
            | Step::Start { .. }
            | Step::SetRestartPolicy { .. }
            | Step::Stop { .. }
            | Step::Remove { .. }
            | Step::Hold(_)
            | Step::RemoveImage { .. } => None,
        })
    }
}

/// How one service stands, and what it waits on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePlan {
    pub state: ServiceState,
    /// One sentence for people.
    pub reason: String,
    pub waiting_on: Vec<WaitingOn>,
    /// The release that the plan steers to, if its image is resolved.
    pub target: Option<ReleaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// It runs what the file declares.
    Settled,
    /// It is on its way there.
    Progressing,
    /// It serves, but less or something else than the file declares.
    Degraded,
    /// The declared release failed and is not tried again.
    Held,
    /// Too little can be seen to tell.
    Unknown,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ServiceState::Settled => "settled",
            ServiceState::Progressing => "progressing",
            ServiceState::Degraded => "degraded",
            ServiceState::Held => "held",
            ServiceState::Unknown => "unknown",
        })
    }
}

/// Returns what to do next.
pub fn plan(stack: &Stack, seen: &Snapshot, memory: &Memory, now: Now) -> Plan {
    let world = World { stack, seen, memory, now };
    if let Observed::Unknown(_) = seen.containers {
        return without_engine(world);
    }
    let views = world.views();
    let courses: BTreeMap<&ServiceName, Course> =
        views.iter().map(|(name, view)| (*name, course(view))).collect();
    let dependencies =
        |name: &ServiceName, condition: DependsOn| match (views.get(name), courses.get(name)) {
            (Some(view), Some(course)) => draft::dependency_is_met(view, &course.target, condition),
            (None, _) | (_, None) => false,
        };
    let drafts: BTreeMap<&ServiceName, Draft> = views
        .iter()
        .map(|(name, view)| (*name, draft_service(view, &courses[*name], &dependencies)))
        .collect();

    let mut plan = Plan::default();
    plan.steps.extend(write_routes(world, &views, &drafts));
    for (name, view) in &views {
        let draft = &drafts[*name];
        plan.services.insert((*name).clone(), standing::of(view, &courses[*name], draft));
        plan.wants_host |= draft.wants_host;
        plan.measure.extend(draft.measure.clone());
        plan.steps.extend(draft.steps.iter().cloned());
    }
    let orphans = orphans::plan(world);
    plan.steps.extend(orphans.steps);
    for (name, waiting_on) in orphans.waiting_on {
        plan.services.insert(name, standing::of_orphan(waiting_on));
    }
    if may_prune(world, &plan) {
        plan.wants_host |= prune::is_due(world);
        plan.steps.extend(prune::plan(world));
    }
    finish(world, plan)
}

/// Images are only pruned while nothing is on its way, or while a pull waits for
/// the space; never beside a pull, whose image nothing names yet.
fn may_prune(world: World, plan: &Plan) -> bool {
    let resting = |service: &ServicePlan| match service.state {
        ServiceState::Settled | ServiceState::Held | ServiceState::Degraded => true,
        ServiceState::Progressing => {
            service.waiting_on.iter().any(|wait| matches!(wait, WaitingOn::DiskSpace { .. }))
        }
        ServiceState::Unknown => false,
    };
    plan.steps.is_empty() && world.seen.pulls.is_empty() && plan.services.values().all(resting)
}

fn finish(world: World, mut plan: Plan) -> Plan {
    let mut taken: BTreeSet<Subject> = world.seen.busy.keys().cloned().collect();
    plan.steps.retain(|step| taken.insert(step.subject()));
    pace::slow_down(world, &mut plan);
    plan.wants_host &= world.seen.host.known().is_none();
    addresses::assign(world, &mut plan);
    names::tell(world, &mut plan);
    let waits = || plan.services.values().flat_map(|service| &service.waiting_on);
    let drains = waits().any(|wait| matches!(wait, WaitingOn::Drain { .. }));
    let has_asked = world.seen.in_flight != Observed::Unknown(ObserveFailure::NotAsked);
    plan.wants_in_flight = drains && !has_asked && world.stack.proxy.is_some();
    plan.revisit =
        waits().filter_map(|wait| wait.revisit(world.at())).filter(|at| *at > world.at()).min();
    plan
}

fn draft_service(view: &View, course: &Course, dependencies: &draft::Dependencies) -> Draft {
    let failed = match course.blocked_by {
        Some(_) => course.failed_release(),
        None => course.hold.as_ref().and_then(|hold| hold.release.as_ref()),
    };
    let mut draft = Draft { failed: failed.cloned(), ..Draft::default() };
    if let Some(failing) = &course.failing {
        let release = course.declared.as_ref().map(|aim| aim.placement.release.clone());
        let (of, image) = (HoldOf::Declared, &view.service.image);
        draft.steps.push(hold::step(view, of, release, image, failing.clone()));
    }
    if let Target::NeedsImage = course.target {
        draft.pull(view, view.service.image.clone());
    }
    match view.service.rollout.strategy {
        Strategy::BlueGreen => blue_green::plan(view, course, dependencies, &mut draft),
        Strategy::Rolling => rolling::plan(view, course, dependencies, &mut draft),
        Strategy::Recreate => recreate::plan(view, course, dependencies, &mut draft),
    }
    gates::advance(view, course, &mut draft);
    draft
}

/// All changes of the proxy in one write, flips first of all.
fn write_routes(
    world: World,
    views: &BTreeMap<&ServiceName, View>,
    drafts: &BTreeMap<&ServiceName, Draft>,
) -> Option<Step> {
    world.stack.proxy.as_ref()?;
    let proxy = world.proxy()?;
    let mut table = RouteTable::new();
    for (name, draft) in drafts {
        let service = &world.stack.services[*name];
        let Some(route) = &service.route else { continue };
        let stands = proxy.table.get(*name);
        let observed = stands.map(|state| &state.backend);
        let observed =
            observed.filter(|backend| !routing::has_passed_to_others(&views[*name], backend));
        table.extend(draft.preview.clone());
        let Some(backend) = draft.backend.as_ref().or(observed) else { continue };
        let state = RouteState {
            route: Route { preview: None, ..route.clone() },
            backend: backend.clone(),
            standby: draft.standby.clone(),
            stream_close_delay: service.rollout.drain_timeout,
            inside: names::inside(
                world,
                service,
                backend,
                stands.and_then(|state| state.inside.as_ref()),
            ),
        };
        table.insert((*name).clone(), state);
    }
    let stands = proxy.table == table && proxy.intact;
    (!stands && !hangs_on_probes(proxy, views, &table)).then(|| write(proxy, table))
}

/// Returns whether a write would take a route away only because its replicas are
/// not probed yet. With the state folder lost, the proxy goes on sending requests
/// to somebody, and better so than to nobody.
fn hangs_on_probes(
    proxy: &ProxyState,
    views: &BTreeMap<&ServiceName, View>,
    table: &RouteTable,
) -> bool {
    let wanting = proxy.unclear.iter().filter(|name| !table.contains_key(*name));
    wanting
        .filter_map(|name| views.get(name))
        .filter(|view| view.service.route.is_some())
        .any(|view| view.replicas.iter().any(|r| matches!(r.standing, Standing::Pending { .. })))
}

fn write(proxy: &ProxyState, table: RouteTable) -> Step {
    let names: BTreeSet<&ServiceName> = proxy.table.keys().chain(table.keys()).collect();
    let flips = names
        .into_iter()
        .map(|name| Flip {
            service: name.clone(),
            from: proxy.table.get(name).map(|state| placement_of(&state.backend)),
            to: table.get(name).map(|state| placement_of(&state.backend)),
        })
        .filter(|flip| flip.from != flip.to)
        .collect();
    Step::WriteRoutes { table, flips }
}

/// While the engine cannot be seen nothing moves. A proxy that lost its routes
/// gets back exactly what stood there.
fn without_engine(world: World) -> Plan {
    let mut plan = Plan::default();
    for (name, service) in &world.stack.services {
        plan.services.insert(name.clone(), standing::unseen(world, service));
    }
    if let Some(proxy) = world.proxy()
        && world.stack.proxy.is_some()
        && proxy.table.is_empty()
    {
        let table = world.memory.routes.clone();
        if !table.is_empty() {
            plan.steps.push(write(proxy, table));
        }
    }
    finish(world, plan)
}
