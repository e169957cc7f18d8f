//! What is remembered of each container, from one pass to the next.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    Container, Memory, ServiceName, Snapshot, Stack, Timestamp,
    memory::{ReplicaMemory, Traffic},
    snapshot::{ContainerState, Subject, Work},
};

use super::view::{Probed, probed};

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
        let after = watch(stack, seen, container, before, now);
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
        }
        // Seen for the first time, it may have been stopped on purpose long ago.
        ContainerState::Exited { .. } | ContainerState::Removing if is_new => {}
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
    }
    replica.traffic = traffic(seen, container, is_new, replica.traffic, now);
    replica
}

fn traffic(
    seen: &Snapshot,
    container: &Container,
    is_new: bool,
    before: Traffic,
    now: Timestamp,
) -> Traffic {
    let Some(proxy) = seen.proxy.known() else {
        // What the proxy does now is not known: the worst is assumed.
        return if is_new { Traffic::Routed } else { before };
    };
    let backend = proxy.table.get(&container.service).map(|state| &state.backend);
    let is_routed = backend.is_some_and(|backend| {
        let port = container.route_port;
        let mut addresses = container.addresses.values();
        addresses.any(|ip| port.is_some_and(|port| backend.dials.contains(&(*ip, port).into())))
    });
    match (is_routed, before) {
        (true, _) => Traffic::Routed,
        (false, Traffic::Routed) => Traffic::UnroutedSince(now),
        (false, Traffic::UnroutedSince(since)) => Traffic::UnroutedSince(since),
        (false, Traffic::NeverRouted) => {
            let never_ran = container.state == ContainerState::Created;
            let takes_no_requests = container.route_port.is_none();
            match is_new && !never_ran && !takes_no_requests {
                true => Traffic::UnroutedSince(now),
                false => Traffic::NeverRouted,
            }
        }
    }
}
