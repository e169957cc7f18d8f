//! Which address a new replica gets on the network where the proxy reaches it.
//!
//! A release that comes to stand where the last one of its slot stood leaves the
//! proxy's configuration as it is: nothing has to be told, nothing is reloaded.
//! So a replica for the idle slot takes an address that the proxy still has for
//! it, and waits for one that is just being left. Any other takes the lowest
//! that no container has, in whatever state, and that no route of ours names: it
//! must get no request before it is ready.
//!
//! On a network whose addresses Docker alone chooses, they stay Docker's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::domain::{
    Container, RouteTable, ServiceName,
    snapshot::{FlipMechanism, Host, HostNetwork, ProxyState, Subject, Work},
};

use super::{NewContainer, Plan, Step, WaitingOn, view::World};

/// The longest grace period that a new release waits for, to stand where the old
/// one stops: beyond it, a reload of the proxy is the lesser evil.
const LONGEST_GRACE: Duration = Duration::from_secs(10);

/// The longest drain that a new release waits for, likewise.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);

/// Gives each new replica of a plan its address. One that is to wait for it is
/// taken out, and its service waits.
pub fn assign(world: World, plan: &mut Plan) {
    let Some(host) = world.seen.host.known() else { return };
    let mut leaving = leaving(world, &plan.steps);
    leaving.extend(draining(world, plan));
    let mut claimed = world.seen.claimed.clone();
    let mut waiting: BTreeSet<ServiceName> = BTreeSet::new();
    plan.steps.retain_mut(|step| {
        let Step::Create(new) = step else { return true };
        match choose(world, host, &leaving, &claimed, new) {
            Choice::Docker => true,
            Choice::Address(network, address) => {
                claimed.insert(address);
                new.addresses = BTreeMap::from([(network, address)]);
                true
            }
            Choice::BeingLeft => {
                waiting.insert(new.service.clone());
                false
            }
        }
    });
    for name in waiting {
        let service = plan.services.get_mut(&name);
        let waits = service.map(|service| &mut service.waiting_on);
        if let Some(waits) = waits.filter(|waits| !waits.contains(&WaitingOn::StepInHand)) {
            waits.push(WaitingOn::StepInHand);
        }
    }
}

enum Choice {
    /// The engine chooses.
    Docker,
    /// This one, on the network of this name.
    Address(String, IpAddr),
    /// One that a container is about to leave.
    BeingLeft,
}

fn choose(
    world: World,
    host: &Host,
    leaving: &BTreeSet<String>,
    claimed: &BTreeSet<IpAddr>,
    new: &NewContainer,
) -> Choice {
    let spec = &new.release.spec;
    // The proxy dials the first of the networks, and nothing without a port.
    let (Some(port), Some(first)) = (spec.route_port, spec.networks.first()) else {
        return Choice::Docker;
    };
    let network = host.networks.get(&first.network);
    let Some((network, ours)) = network.and_then(|n| Some((n, n.ours?))) else {
        return Choice::Docker;
    };
    let idle: Vec<IpAddr> = idle_dials(world, new)
        .filter(|dial| dial.port() == port)
        .map(|dial| dial.ip())
        .filter(|address| ours.contains(address) && !claimed.contains(address))
        .collect();
    if let Some(free) = idle.iter().find(|address| !network.taken.contains_key(address)) {
        return Choice::Address(first.network.clone(), *free);
    }
    // What cannot be stopped is not waited for.
    let is_stuck = world.memory.service(&new.service).failed_steps.is_some();
    let is_patient = !is_stuck && spec.stop_grace_period.is_none_or(|grace| grace <= LONGEST_GRACE);
    let mut wanted = idle.into_iter().chain(standby_addresses(world, new));
    if is_patient && wanted.any(|address| is_being_left(network, &address, leaving)) {
        return Choice::BeingLeft;
    }
    let named: BTreeSet<IpAddr> = named_dials(world).map(|dial| dial.ip()).collect();
    let is_free = |address: &IpAddr| {
        !network.taken.contains_key(address)
            && !claimed.contains(address)
            && !named.contains(address)
    };
    match ours.addresses().find(is_free) {
        Some(address) => Choice::Address(first.network.clone(), address),
        None => Choice::Docker,
    }
}

fn is_being_left(network: &HostNetwork, address: &IpAddr, leaving: &BTreeSet<String>) -> bool {
    network.taken.get(address).is_some_and(|holder| leaving.contains(holder))
}

/// The addresses that the proxy has for the replica's slot while that is idle.
fn idle_dials<'a>(
    world: World<'a>,
    new: &NewContainer,
) -> impl Iterator<Item = SocketAddr> + use<'a> {
    let service = new.service.clone();
    let is_idle = world.proxy().and_then(|proxy| proxy.table.get(&service)).is_some_and(|state| {
        // A standby in this slot gets requests too.
        let standby = state.standby.as_ref().map(|standby| standby.slot);
        state.backend.slot != new.slot && standby != Some(new.slot)
    });
    let idle = world.proxy().filter(|_| is_idle).and_then(|proxy| proxy.idle.get(&service));
    idle.into_iter().flatten().copied()
}

/// The addresses of a standby in the replica's slot: idle ones as soon as it has
/// made room.
fn standby_addresses<'a>(
    world: World<'a>,
    new: &NewContainer,
) -> impl Iterator<Item = IpAddr> + use<'a> {
    let proxy = world.proxy().filter(|proxy| proxy.flip == FlipMechanism::SwitchFile);
    let standby = proxy.and_then(|proxy| proxy.table.get(&new.service)?.standby.as_ref());
    let slot = new.slot;
    let standby = standby.filter(move |standby| standby.slot == slot);
    standby.into_iter().flat_map(|standby| &standby.dials).map(|dial| dial.ip())
}

/// The names of containers that drain, or begin to with this plan's write: soon
/// they are taken away.
fn draining<'a>(world: World<'a>, plan: &Plan) -> Vec<String> {
    let containers = world.seen.containers.known().map_or(&[][..], Vec::as_slice);
    let names = containers.iter().filter(|container| {
        let Some(planned) = plan.services.get(&container.service) else { return false };
        let drains = planned.waiting_on.iter().any(|wait| match wait {
            WaitingOn::Drain { slot, until, .. } => {
                *slot == container.slot && *until <= world.at() + LONGEST_DRAIN
            }
            _ => false,
        });
        drains || makes_room(world, plan, container)
    });
    names.map(|container| container.name.clone()).collect()
}

/// Returns whether the container is of a standby that this plan takes out of the
/// route.
fn makes_room(world: World, plan: &Plan, container: &Container) -> bool {
    let named = |table: &RouteTable| {
        let standby = table.get(&container.service).and_then(|state| state.standby.as_ref());
        standby.is_some_and(|s| (s.slot, &s.release) == (container.slot, &container.release))
    };
    let drain_timeout =
        world.stack.services.get(&container.service).map(|service| service.rollout.drain_timeout);
    world.proxy().is_some_and(|proxy| named(&proxy.table))
        && plan.table().is_some_and(|table| !named(table))
        && drain_timeout.is_some_and(|timeout| timeout <= LONGEST_DRAIN)
}

/// Every address that a route of ours names, keeps for a slot, or may get back.
fn named_dials(world: World<'_>) -> impl Iterator<Item = SocketAddr> {
    let observed = world.proxy().into_iter().flat_map(ProxyState::dials);
    let remembered = world.memory.routes.values().flat_map(|state| state.dials());
    observed.chain(remembered).copied()
}

/// The names of containers that a step of this plan, or one in flight, takes away.
fn leaving(world: World, steps: &[Step]) -> BTreeSet<String> {
    let planned = steps.iter().filter(|step| step.takes_away().is_some()).map(Step::subject);
    let in_flight = world.seen.busy.iter().filter(|(_, work)| match work {
        Work::TakesAway => true,
        Work::Tends => false,
    });
    planned
        .chain(in_flight.map(|(subject, _)| subject.clone()))
        .filter_map(|subject| match subject {
            Subject::Replica { container, .. } => Some(container),
            Subject::Service(_) | Subject::Proxy | Subject::Host(_) => None,
        })
        .collect()
}
