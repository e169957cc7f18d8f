//! The safety rules once more, against a finished plan.
//!
//! Written apart from the planner and simpler than it: it knows no strategy's
//! intentions, only what was seen and what is about to be done. A violation is
//! a bug of the planner; the steps of that service are then not done.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use crate::domain::{
    Backend, Container, ContainerId, Memory, ServiceName, Snapshot, Stack, Strategy,
    snapshot::Observed, time::Now,
};

use super::{
    Plan, Step,
    orphans::ORPHAN_DRAIN,
    view::{Replica, Standing, View, World, drained_at, placement_of},
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
            Step::Create(new) => violations.extend(created(world, new)),
            Step::WriteRoutes { table, .. } => {
                for (service, state) in table {
                    violations.extend(routed(world, service, &state.backend));
                }
            }
            Step::CreateNetwork { .. }
            | Step::CreateVolume { .. }
            | Step::Pull { .. }
            | Step::Start { .. }
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
    let named = named_dials(world, plan, service);
    if container_dials(container).any(|dial| named.contains(&dial)) {
        return violation(Rule::S2, service, format!("{} would go while routed", container.name));
    }
    let drain = declared.map_or(ORPHAN_DRAIN, |service| service.rollout.drain_timeout);
    let memory = world.memory.service(service).replicas.remove(id).unwrap_or_default();
    let replica = Replica { container, memory, standing: Standing::Pending { why: None } };
    if takes_requests && drained_at(&replica, drain, world.at()).is_some() {
        return violation(Rule::S2, service, format!("{} would go undrained", container.name));
    }
    None
}

/// Every address that the route names now or after this plan.
fn named_dials(world: World, plan: &Plan, service: &ServiceName) -> BTreeSet<SocketAddr> {
    let planned = plan.steps.iter().find_map(|step| match step {
        Step::WriteRoutes { table, .. } => Some(table),
        Step::CreateNetwork { .. }
        | Step::CreateVolume { .. }
        | Step::Pull { .. }
        | Step::Create(_)
        | Step::Start { .. }
        | Step::SetRestartPolicy { .. }
        | Step::Stop { .. }
        | Step::Remove { .. }
        | Step::Hold(_)
        | Step::RemoveImage { .. } => None,
    });
    let observed = world.proxy().map(|proxy| &proxy.table);
    [planned, observed]
        .into_iter()
        .flatten()
        .filter_map(|table| table.get(service))
        .flat_map(|state| state.backend.dials.iter().copied())
        .collect()
}

fn container_dials(container: &Container) -> impl Iterator<Item = SocketAddr> {
    let addresses = container.addresses.values();
    addresses.filter_map(|ip| Some(SocketAddr::new(*ip, container.route_port?)))
}

fn created(world: World, new: &super::NewContainer) -> Option<Violation> {
    let service = world.stack.services.get(&new.service)?;
    let memory = world.memory.services.get(&new.service)?;
    let hold = memory.hold.as_ref()?;
    let is_active = memory.active.as_ref().is_some_and(|active| active.release == new.release.id);
    let is_held =
        hold.declaration == service.declaration() && hold.release.as_ref() == Some(&new.release.id);
    if !is_held || is_active {
        return None;
    }
    violation(Rule::S7, &new.service, format!("{} is held and would be created", new.release.id))
}

fn routed(world: World, name: &ServiceName, backend: &Backend) -> Option<Violation> {
    let observed = world.proxy()?.table.get(name).map(|state| &state.backend);
    let remembered = world.memory.services.get(name).and_then(|memory| memory.active.clone());
    let target = placement_of(backend);
    // Giving a route back what it had, or keeping it, is no move.
    let before = observed.map(placement_of).or(remembered);
    if observed == Some(backend) || world.seen.containers.known().is_none() {
        return None;
    }
    let view = View::of(world, name)?;
    let at_target: Vec<&Replica> = view.at(&target).collect();
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
    let ready: BTreeSet<SocketAddr> = at_target
        .iter()
        .filter(|replica| replica.is_ready())
        .filter_map(|replica| view.dial(replica))
        .collect();
    let unready = backend.dials.iter().find(|dial| !ready.contains(dial))?;
    violation(Rule::S1, name, format!("the route would move to {unready}, which is not ready"))
}

/// S3: some replica that is ready now is left, of every declared service.
fn last_ready(world: World, plan: &Plan) -> Vec<Violation> {
    let leaving: BTreeSet<&ContainerId> = plan.steps.iter().filter_map(Step::takes_away).collect();
    let views = world.views();
    let bereft = views.iter().filter(|(_, view)| {
        let mut ready = view.replicas.iter().filter(|replica| replica.is_ready()).peekable();
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
pub fn without_violations(mut plan: Plan, violations: &[Violation]) -> Plan {
    let blamed: BTreeSet<&ServiceName> = violations.iter().map(|v| &v.service).collect();
    plan.steps.retain(|step| match step {
        Step::WriteRoutes { table, flips } => {
            let touches = |name: &ServiceName| blamed.contains(name);
            !table.keys().any(touches) && !flips.iter().any(|flip| touches(&flip.service))
        }
        Step::CreateNetwork { .. } | Step::CreateVolume { .. } | Step::RemoveImage { .. } => true,
        Step::Pull { service, .. }
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
