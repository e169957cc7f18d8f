//! What is remembered of each container, from one pass to the next.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    Container, Memory, RouteState, ServiceName, Snapshot, Stack, Timestamp,
    memory::{Listing, ReplicaMemory, Traffic},
    snapshot::{ContainerState, Subject, Work},
};

use super::{
    drain,
    view::{Probed, probed},
};

/// How long a replica has to stay ready before its earlier deaths are forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Follows every container that was seen; forgets those that are gone.
pub fn replicas(
    stack: &Stack,
    memory: &mut Memory,
    seen: &Snapshot,
    containers: &[Container],
    now: Timestamp,
) {
    let mut replicas: BTreeMap<&ServiceName, BTreeMap<_, ReplicaMemory>> = BTreeMap::new();
    for container in containers {
        let service = memory.services.get(&container.service);
        let before = service.and_then(|service| service.replicas.get(&container.id)).cloned();
        let intended = memory.routes.get(&container.service);
        let after = watch(stack, seen, container, before, intended, now);
        replicas.entry(&container.service).or_default().insert(container.id.clone(), after);
    }
    for service in memory.services.values_mut() {
        service.replicas.clear();
    }
    for (name, replicas) in replicas {
        memory.services.entry(name.clone()).or_default().replicas = replicas;
    }
}

fn watch(
    stack: &Stack,
    seen: &Snapshot,
    container: &Container,
    before: Option<ReplicaMemory>,
    intended: Option<&RouteState>,
    now: Timestamp,
) -> ReplicaMemory {
    let is_new = before.is_none();
    let mut replica = before.unwrap_or_default();
    let service = stack.services.get(&container.service);
    let passes =
        service.is_some_and(|service| matches!(probed(seen, service, container), Probed::Passes));
    replica.probed_ready_since = match (passes, replica.probed_ready_since) {
        (true, Some(since)) => Some(since),
        (true, None) => Some(now),
        (false, _) => None,
    };
    if replica.probed_ready_since.is_some_and(|since| since + FORGIVEN_AFTER <= now) {
        replica.deaths = 0;
    }
    match container.state {
        ContainerState::Running { .. } | ContainerState::Paused | ContainerState::Created => {
            replica.died_at = None;
            replica.found_ended = false;
        }
        ContainerState::Exited { .. } | ContainerState::Removing
            if is_new || replica.found_ended =>
        {
            replica.found_ended = true;
        }
        ContainerState::Restarting | ContainerState::Exited { .. } | ContainerState::Removing => {
            if replica.died_at.is_none() {
                replica.died_at = Some(now);
                if replica.stopped_at.is_none() {
                    replica.deaths = replica.deaths.saturating_add(1);
                }
            }
        }
    }
    // Told apart here as well, in case the end of the step is never heard of.
    let subject =
        Subject::Replica { service: container.service.clone(), container: container.name.clone() };
    if seen.busy.get(&subject) == Some(&Work::TakesAway) {
        replica.stopped_at = Some(now);
        replica.restart_policy_set = false;
    }
    replica.traffic = match traffic(seen, container, is_new, replica.traffic, now) {
        // Our last write named it. That was never seen to stand, and may have stood until
        // just now: somebody else changed it since, or its answer was lost. What has never
        // had traffic is not trusted with any on the strength of that.
        Traffic::UnroutedSince(_)
            if container.is_running() && intended.is_some_and(|route| names(route, container)) =>
        {
            Traffic::UnroutedSince(now)
        }
        followed => followed,
    };
    if is_new && replica.traffic != Traffic::NeverRouted {
        // Whatever happened before this, the proxy may have lost count in it.
        replica.ebb.listing = Listing::BackSince(now);
    }
    replica.ebb = drain::follow(stack, seen, container, replica.traffic, replica.ebb, now);
    replica
}

fn names(route: &RouteState, container: &Container) -> bool {
    route.dials().any(|dial| container.dials().any(|own| own == *dial))
}

fn traffic(
    seen: &Snapshot,
    container: &Container,
    is_new: bool,
    before: Traffic,
    now: Timestamp,
) -> Traffic {
    if container.route_port.is_none() {
        return Traffic::NeverRouted;
    }
    let Some(proxy) = seen.proxy.known() else {
        // What the proxy does now is not known: the worst is assumed, and that
        // it goes on until it can be seen again.
        return match before {
            _ if is_new => Traffic::Routed,
            Traffic::UnroutedSince(_) => Traffic::UnroutedSince(now),
            Traffic::Routed | Traffic::NeverRouted => before,
        };
    };
    let route = proxy.table.get(&container.service);
    let is_routed = route.is_some_and(|route| names(route, container));
    let is_of_release = route.is_some_and(|route| {
        let mut named = std::iter::once(&route.backend).chain(&route.standby);
        named.any(|named| (named.slot, &named.release) == (container.slot, &container.release))
    });
    match (is_routed, before) {
        (true, _) => Traffic::Routed,
        // It may come back at the address that the route still names.
        (false, Traffic::Routed) if !container.is_running() && is_of_release => Traffic::Routed,
        (false, Traffic::Routed) => Traffic::UnroutedSince(now),
        (false, Traffic::UnroutedSince(since)) => Traffic::UnroutedSince(since),
        (false, Traffic::NeverRouted) => {
            let never_ran = container.state == ContainerState::Created;
            match is_new && !never_ran {
                true => Traffic::UnroutedSince(now),
                false => Traffic::NeverRouted,
            }
        }
    }
}
