//! The safety rules once more, against a finished plan.
//!
//! Written apart from the planner and simpler than it: it knows no strategy's
//! intentions, only what was seen and what is about to be done. A violation is
//! a bug of the planner; the steps of that service are then not done.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use crate::domain::{
    Backend, ContainerId, Digest, Gate, ImageRef, Memory, Phase, Release, ReleaseId, RouteState,
    ServiceName, SignedImage, Snapshot, Stack, Strategy,
    memory::{GateRecord, Placement, Traffic},
    snapshot::{ContainerState, JobContainer, Observed, ProxyState},
    time::Now,
};

use super::{
    Plan, Step, aim, draft, drain,
    orphans::ORPHAN_DRAIN,
    view::{Replica, Standing, View, World, placement_of},
};

/// A step that would break a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub service: ServiceName,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    /// Nothing that must be signed is created unverified.
    S11,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}: {}", self.rule, self.service, self.text)
    }
}

/// Returns every step of the plan that would break a rule.
pub fn check(
    stack: &Stack,
    seen: &Snapshot,
    memory: &Memory,
    now: Now,
    plan: &Plan,
) -> Vec<Violation> {
    let world = World { stack, seen, memory, now };
    let mut violations = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Stop { service, container, .. } | Step::Remove { service, container, .. } => {
                violations.extend(taken_away(world, plan, service, container));
            }
            Step::Create(new) => {
                violations.extend(created(world, new));
                violations.extend(made_unverified(world, new));
                violations.extend(exposed(world, plan, new));
            }
            Step::Start { service, container, .. } => {
                violations.extend(started_unverified(world, service, container));
            }
            Step::WriteRoutes { table, .. } => {
                for (service, state) in table {
                    violations.extend(routed(world, service, &state.backend));
                    violations.extend(caught(world, service, state));
                }
            }
            Step::CreateNetwork { .. }
            | Step::CreateVolume { .. }
            | Step::Pull { .. }
            | Step::Verify { .. }
            | Step::SetRestartPolicy { .. }
            | Step::Hold(_)
            | Step::RemoveImage { .. } => {}
        }
    }
    violations.extend(last_ready(world, plan));
    violations
}

fn violation(rule: Rule, service: &ServiceName, text: String) -> Option<Violation> {
    Some(Violation { rule, service: service.clone(), text })
}

fn taken_away(
    world: World,
    plan: &Plan,
    service: &ServiceName,
    id: &ContainerId,
) -> Option<Violation> {
    let Observed::Known(containers) = &world.seen.containers else {
        return violation(Rule::S5, service, format!("{id} would go though Docker is unknown"));
    };
    if let Some(job) = world.seen.jobs.iter().find(|job| job.id == *id) {
        return job_taken_away(world, service, job);
    }
    let Some(container) = containers.iter().find(|container| container.id == *id) else {
        return violation(Rule::S4, service, format!("{id} would go though it was not seen"));
    };
    let declared = world.stack.services.get(service);
    if declared.is_some_and(|service| service.rollout.strategy == Strategy::Recreate) {
        return None;
    }
    let takes_requests = container.route_port.is_some();
    if takes_requests && world.stack.proxy.is_some() && world.proxy().is_none() {
        let text = format!("{} would go though the proxy is unknown", container.name);
        return violation(Rule::S5, service, text);
    }
    let named = named_dials(world, plan, |name| name == service);
    if container.dials().any(|dial| named.contains(&dial)) {
        return violation(Rule::S2, service, format!("{} would go while routed", container.name));
    }
    let timeout = declared.map_or(ORPHAN_DRAIN, |service| service.rollout.drain_timeout);
    let memory = world.memory.service(service).replicas.remove(id).unwrap_or_default();
    let replica = Replica { container, memory, standing: Standing::Pending { why: None } };
    if takes_requests && drain::drained_at(&replica, timeout, world.at()).is_some() {
        return violation(Rule::S2, service, format!("{} would go undrained", container.name));
    }
    let has_had_its_time = match replica.memory.traffic {
        Traffic::NeverRouted => true,
        Traffic::Routed => false,
        Traffic::UnroutedSince(since) => since + timeout <= world.at(),
    };
    let counted = world.seen.in_flight.known();
    let counted = counted.and_then(|in_flight| drain::requests_to(container, in_flight));
    if !has_had_its_time && counted.is_some_and(|requests| requests > 0) {
        let text = format!("{} would go with requests in flight", container.name);
        return violation(Rule::S2, service, text);
    }
    None
}

/// A job that succeeded stays while its release is the declared one, unless the
/// memory tells what it did.
fn job_taken_away(world: World, service: &ServiceName, job: &JobContainer) -> Option<Violation> {
    let memory = world.memory.services.get(service);
    let is_told = memory.is_some_and(|it| it.gate(&job.key.release, &job.key.gate).is_some());
    let has_succeeded = job.state == ContainerState::Exited { code: 0 };
    let declared = View::of(world, service).and_then(|view| aim::declared_release(&view));
    let is_declared = declared.is_some_and(|release| release.id == job.key.release);
    if has_succeeded && is_declared && !is_told {
        let text = format!("{} would go, and nobody would know that it succeeded", job.name);
        return violation(Rule::S8, service, text);
    }
    None
}

/// Every address that these services' routes name now or after this plan.
fn named_dials(
    world: World,
    plan: &Plan,
    is_meant: impl Fn(&ServiceName) -> bool,
) -> BTreeSet<SocketAddr> {
    let planned = plan.table();
    let observed = world.proxy().map(|proxy| &proxy.table);
    [planned, observed]
        .into_iter()
        .flatten()
        .flat_map(|table| table.iter().filter(|(name, _)| is_meant(name)))
        .flat_map(|(_, state)| state.dials().copied())
        .collect()
}

fn created(world: World, new: &super::NewContainer) -> Option<Violation> {
    let service = world.stack.services.get(&new.service)?;
    let memory = world.memory.services.get(&new.service)?;
    if let Some(gate) = &new.job
        && memory.gate(&new.release.id, gate).is_some_and(GateRecord::has_passed)
    {
        return violation(Rule::S8, &new.service, format!("{} has succeeded before", new.name));
    }
    let hold = memory.hold.as_ref()?;
    let is_active = memory.active.as_ref().is_some_and(|active| active.release == new.release.id);
    let is_held =
        hold.declaration == service.declaration() && hold.release.as_ref() == Some(&new.release.id);
    if !is_held || is_active {
        return None;
    }
    violation(Rule::S7, &new.service, format!("{} is held and would be created", new.release.id))
}

/// S11: what must be signed was seen to be, unless its release served before.
fn made_unverified(world: World, new: &super::NewContainer) -> Option<Violation> {
    let release = &new.release;
    let memory = world.memory.services.get(&new.service);
    let has_image_of = |known: &Release| known.id == release.id && known.digest == release.digest;
    let is_its_own =
        new.job.is_none() || memory.is_some_and(|memory| memory.releases.iter().any(has_image_of));
    let wanted = unverified(world, &release.image, &release.digest)?;
    if is_its_own && has_served(world, &new.service, &release.id) {
        return None;
    }
    let text = format!("{} would be created, and {wanted} is not verified", new.name);
    violation(Rule::S11, &new.service, text)
}

/// S11 of a container that was made before the rule was.
fn started_unverified(world: World, service: &ServiceName, id: &ContainerId) -> Option<Violation> {
    let containers = world.seen.containers.known()?;
    if let Some(replica) = containers.iter().find(|container| container.id == *id) {
        let wanted = unverified(world, &replica.image, &replica.digest)?;
        if has_served(world, service, &replica.release) {
            return None;
        }
        let text = format!("{} would be started, and {wanted} is not verified", replica.name);
        return violation(Rule::S11, service, text);
    }
    let job = world.seen.jobs.iter().find(|job| job.id == *id)?;
    let declared = world.stack.services.get(service)?;
    let has_served = has_served(world, service, &job.key.release);
    let jobs = declared.images().filter(|image| **image != declared.image || !has_served);
    let wanted = jobs.filter_map(|image| unverified(world, image, &job.digest)).next()?;
    let text = format!("{} would be started, and {wanted} is not verified", job.name);
    violation(Rule::S11, service, text)
}

fn unverified(world: World, image: &ImageRef, digest: &Digest) -> Option<SignedImage> {
    let wanted = world.stack.signature_of(image, digest)?;
    (!world.memory.verified.contains(&wanted.image)).then_some(wanted.image)
}

fn has_served(world: World, service: &ServiceName, release: &ReleaseId) -> bool {
    let Some(view) = View::of(world, service) else { return false };
    let memory = &view.memory;
    let placements = [memory.active.clone(), memory.previous.clone(), view.active()];
    memory.good.contains(release)
        || placements.iter().flatten().any(|placement| placement.release == *release)
}

/// S1: a route names no address before what stands there is ready.
fn exposed(world: World, plan: &Plan, new: &super::NewContainer) -> Option<Violation> {
    let named = named_dials(world, plan, |_| true);
    let at = new.addresses.values().find(|at| named.iter().any(|dial| dial.ip() == **at))?;
    let text = format!("{} would be created at {at}, which a route names", new.name);
    violation(Rule::S1, &new.service, text)
}

fn routed(world: World, name: &ServiceName, backend: &Backend) -> Option<Violation> {
    let observed = world.proxy()?.table.get(name).map(|state| &state.backend);
    if observed == Some(backend) || world.seen.containers.known().is_none() {
        return None;
    }
    let view = View::of(world, name)?;
    let target = placement_of(backend);
    // Giving a route back what it had, or keeping it, is no move.
    let before = observed.map(placement_of).or_else(|| view.lost_placement());
    let mixed = backend.dials.iter().find(|dial| {
        view.replicas.iter().any(|replica| {
            !replica.is_at(&target) && replica.runs() && view.dial(replica) == Some(**dial)
        })
    });
    if let Some(dial) = mixed {
        return violation(Rule::S6, name, format!("{dial} belongs to another release"));
    }
    if before.as_ref() == Some(&target) {
        return None;
    }
    let ready: BTreeSet<SocketAddr> = view.ready_dials(&target).collect();
    if let Some(unready) = backend.dials.iter().find(|dial| !ready.contains(dial)) {
        let text = format!("the route would move to {unready}, which is not ready");
        return violation(Rule::S1, name, text);
    }
    let gate = ungated(&view, &target)?;
    violation(Rule::S1, name, format!("the route would move before `{gate}` has passed"))
}

/// Returns a gate that a new release has not passed.
fn ungated<'a>(view: &View<'a>, target: &Placement) -> Option<&'a Gate> {
    let memory = &view.memory;
    let is_declared = aim::declared_release(view).is_some_and(|it| it.id == target.release);
    let served_before = [&memory.active, &memory.previous].into_iter().flatten();
    let is_back = served_before.clone().any(|before| before.release == target.release);
    if !is_declared || is_back || memory.good.contains(&target.release) {
        return None;
    }
    let phase = Phase::PrePromotion;
    view.service.rollout.gates(phase).iter().find(|gate| {
        let record = memory.gate(&target.release, &gate.id(phase));
        !record.is_some_and(GateRecord::has_passed)
    })
}

/// S1 and S6: what catches is ready, and is one release other than the one that
/// answers.
fn caught(world: World, name: &ServiceName, state: &RouteState) -> Option<Violation> {
    let standby = state.standby.as_ref()?;
    let stands = world.proxy()?.table.get(name).is_some_and(|before| before == state);
    if stands || world.seen.containers.known().is_none() {
        return None;
    }
    let view = View::of(world, name)?;
    let placement = placement_of(standby);
    if placement == placement_of(&state.backend) {
        return violation(Rule::S6, name, "a release would catch for itself".to_owned());
    }
    let ready: BTreeSet<SocketAddr> = view.ready_dials(&placement).collect();
    let unready = standby.dials.iter().find(|dial| !ready.contains(dial))?;
    violation(Rule::S1, name, format!("{unready} would catch and is not ready"))
}

/// S3: some replica that is ready now is left, of every declared service.
fn last_ready(world: World, plan: &Plan) -> Vec<Violation> {
    let leaving: BTreeSet<&ContainerId> = plan.steps.iter().filter_map(Step::takes_away).collect();
    let views = world.views();
    let bereft = views.iter().filter(|(_, view)| {
        let course = aim::course(view);
        let is_refused = |replica: &Replica| {
            course.failed_release() == Some(&replica.container.release)
                && !draft::has_served(view, replica)
        };
        let ready = view.replicas.iter().filter(|it| it.is_ready() && !is_refused(it));
        let mut ready = ready.peekable();
        let has_ready = ready.peek().is_some();
        has_ready
            && view.service.rollout.strategy != Strategy::Recreate
            && ready.all(|replica| leaving.contains(&replica.container.id))
    });
    bereft
        .filter_map(|(name, _)| {
            violation(Rule::S3, name, "its last ready replica would go".to_owned())
        })
        .collect()
}

/// Takes the steps of services with a violation out of a plan: what is not
/// understood is not done.
pub fn without_violations(seen: &Snapshot, mut plan: Plan, violations: &[Violation]) -> Plan {
    let blamed: BTreeSet<&ServiceName> = violations.iter().map(|v| &v.service).collect();
    plan.steps.retain_mut(|step| match step {
        // Theirs stay as they stand; the others' go on.
        Step::WriteRoutes { table, flips } => {
            for name in &blamed {
                match seen.proxy.known().and_then(|proxy| proxy.table.get(*name)) {
                    Some(stands) => table.insert((*name).clone(), stands.clone()),
                    None => table.remove(*name),
                };
            }
            flips.retain(|flip| !blamed.contains(&flip.service));
            // With theirs left out there may be nothing to write.
            let stands = |proxy: &ProxyState| proxy.intact && proxy.table == *table;
            !seen.proxy.known().is_some_and(stands)
        }
        Step::CreateNetwork { .. } | Step::CreateVolume { .. } | Step::RemoveImage { .. } => true,
        Step::Pull { service, .. }
        | Step::Verify { service, .. }
        | Step::Start { service, .. }
        | Step::SetRestartPolicy { service, .. }
        | Step::Stop { service, .. }
        | Step::Remove { service, .. } => !blamed.contains(service),
        Step::Create(new) => !blamed.contains(&new.service),
        Step::Hold(new) => !blamed.contains(&new.service),
    });
    for violation in violations {
        if let Some(service) = plan.services.get_mut(&violation.service) {
            service.state = super::ServiceState::Degraded;
            service.reason = format!("stopped before it broke a rule: {violation}");
        }
    }
    plan
}
