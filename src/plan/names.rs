//! Who answers when a container calls a service by its name.
//!
//! Docker's aliases reach every replica, ready or not, and cannot move while a
//! container runs. So where the proxy can, it answers at the host's own address on
//! each bridge, at the route's port, and a container that is created finds that
//! address in its hosts file. The file is the container's for as long as it lives:
//! while one has a name there, the proxy goes on answering, even if the stack's file
//! leaves names to the engine by now.
//!
//! A hosts file leads all ports of a name to one address. A name is therefore left
//! to Docker where the service declares other ports, or where somebody else has
//! the port on this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::domain::{
    Backend, Container, Inside, Service, ServiceName, Stack, Subnet,
    release::PublishedPort,
    snapshot::{Gateway, Host, NameMechanism},
    stack::NameChoice,
};

use super::{NewContainer, Plan, Step, view::World};

/// Returns who answers to the name of a service in containers that are created
/// now; None for a service without a route, and while the proxy cannot be seen.
pub fn answers(world: World, service: &Service) -> Option<NameMechanism> {
    let route = service.route.as_ref()?;
    let proxy = world.proxy()?;
    let config = world.stack.proxy.as_ref()?;
    if let by_docker @ NameMechanism::Docker { .. } = &proxy.names {
        return Some(by_docker.clone());
    }
    let docker = |why: String| Some(NameMechanism::Docker { why });
    if bridges(world.stack, service).next().is_none() {
        return docker("it is on no bridge of this stack".to_owned());
    }
    let others = other_ports(service, route.port);
    if config.names == NameChoice::Auto && !others.is_empty() {
        let others: Vec<String> = others.iter().map(u16::to_string).collect();
        let others = others.join(", ");
        return docker(format!("it has other ports ({others}), and a name leads to one place"));
    }
    if let Some(publisher) = publisher(world.stack, route.port) {
        let (port, publisher) = (route.port, &publisher.name);
        return docker(format!("port {port} of this host is published for {publisher}"));
    }
    let listens = listens(world, service, route.port);
    match listens.iter().find_map(|at| Some((at, proxy.refused.get(at)?))) {
        Some((at, why)) => docker(format!("Caddy cannot listen on {at}: {why}")),
        None => Some(NameMechanism::Caddy),
    }
}

/// Returns where the proxy is to answer to the name of a service that these
/// addresses serve: at their port, so that a release with another one moves it with
/// the route. While none of its networks can be seen, as it was `observed`.
pub fn inside(
    world: World,
    service: &Service,
    backend: &Backend,
    observed: Option<&Inside>,
) -> Option<Inside> {
    let port = backend.dials.first()?.port();
    let is_promised =
        containers(world).iter().any(|container| container.calls_by_proxy.contains(&service.name));
    if answers(world, service) != Some(NameMechanism::Caddy) && !is_promised {
        return None;
    }
    let seen: BTreeMap<&str, Gateway> = bridges(world.stack, service)
        .filter_map(|network| Some((network, gateway(world, network)?)))
        .collect();
    if seen.len() < bridges(world.stack, service).count()
        && let Some(observed) = observed
    {
        return Some(observed.clone());
    }
    let refused = &world.proxy()?.refused;
    let mut listen: BTreeSet<SocketAddr> =
        seen.values().map(|gateway| (gateway.address, port).into()).collect();
    listen.retain(|at| !refused.contains_key(at));
    let from: BTreeSet<Subnet> = seen.values().map(|gateway| gateway.subnet).collect();
    (!listen.is_empty()).then_some(Inside { listen, from })
}

/// Tells each new replica of a plan the names that the proxy answers to.
pub fn tell(world: World, plan: &mut Plan) {
    let Some(host) = world.seen.host.known() else { return };
    for step in &mut plan.steps {
        if let Step::Create(new) = step {
            let hosts = world.stack.services.values().filter_map(|service| {
                Some((service.name.clone(), address(world, host, service, new)?))
            });
            new.hosts = hosts.collect();
        }
    }
}

/// Returns the services of which a container runs that asks the engine for a name
/// to which the proxy answers: it is older than that, until its next deploy.
pub fn untold(world: World) -> BTreeSet<ServiceName> {
    let stack = world.stack;
    let by_proxy: Vec<&Service> = stack
        .services
        .values()
        .filter(|service| answers(world, service) == Some(NameMechanism::Caddy))
        .collect();
    let running = containers(world).iter().filter(|container| container.is_running());
    let lacks_one = |container: &&Container| {
        let Some(own) = stack.services.get(&container.service) else { return false };
        by_proxy.iter().any(|service| {
            !container.calls_by_proxy.contains(&service.name)
                && !own.spec.extra_hosts.contains_key(service.name.as_str())
                && bridges(stack, service).any(|network| container.gateways.contains_key(network))
        })
    };
    running.filter(lacks_one).map(|container| container.service.clone()).collect()
}

/// Returns the services of which a container was told that the proxy answers to a
/// name, where by now the engine is to: the promise is kept until its next deploy.
pub fn promised(world: World) -> BTreeSet<ServiceName> {
    let by_engine = |name: &ServiceName| {
        let service = world.stack.services.get(name);
        let answers = service.and_then(|service| answers(world, service));
        matches!(answers, Some(NameMechanism::Docker { .. }))
    };
    let told = containers(world).iter().filter(|container| container.is_running());
    let told = told.filter(|container| container.calls_by_proxy.iter().any(by_engine));
    told.map(|container| container.service.clone()).collect()
}

/// Returns where the proxy answers for `service` to a replica; None where it
/// does not, or where somebody else listens.
fn address(world: World, host: &Host, service: &Service, new: &NewContainer) -> Option<IpAddr> {
    let spec = &new.release.spec;
    let has_it_already = spec.extra_hosts.contains_key(service.name.as_str());
    if has_it_already || answers(world, service)? != NameMechanism::Caddy {
        return None;
    }
    let joined = |network: &&str| spec.networks.iter().any(|joined| joined.network == *network);
    let network = bridges(world.stack, service).find(joined)?;
    let gateway = IpAddr::from(host.networks.get(network)?.gateway?.address);
    let at = SocketAddr::new(gateway, service.route.as_ref()?.port);
    let state = world.proxy()?.table.get(&service.name);
    let inside = state.and_then(|state| state.inside.as_ref());
    let answers = inside.is_some_and(|inside| inside.listen.contains(&at));
    let is_free = || {
        let listening = host.listening.as_ref()?;
        let has_it = |other: &SocketAddr| {
            other.ip() == at.ip() || other.ip().to_canonical().is_unspecified()
        };
        let mut others = listening.iter().filter(|other| other.port() == at.port());
        Some(!others.any(has_it))
    };
    (answers || is_free() == Some(true)).then_some(gateway)
}

/// The networks of a service on which the gateway is this host.
fn bridges<'a>(stack: &'a Stack, service: &'a Service) -> impl Iterator<Item = &'a str> {
    let networks = service.spec.networks.iter().map(|joined| joined.network.as_str());
    networks.filter(|network| stack.has_bridge(network))
}

fn listens(world: World, service: &Service, port: u16) -> BTreeSet<SocketAddr> {
    let gateways = bridges(world.stack, service).filter_map(|network| gateway(world, network));
    gateways.map(|gateway| (gateway.address, port).into()).collect()
}

fn gateway(world: World, network: &str) -> Option<Gateway> {
    containers(world).iter().find_map(|container| container.gateways.get(network)).copied()
}

fn containers(world: World<'_>) -> &[Container] {
    world.seen.containers.known().map_or(&[], Vec::as_slice)
}

/// The TCP ports that a service declares beside its route's.
fn other_ports(service: &Service, port: u16) -> BTreeSet<u16> {
    let exposed = service.spec.expose.iter().filter_map(|text| match text.split_once('/') {
        Some((port, "tcp")) => port.parse().ok(),
        Some(_) => None,
        None => text.parse().ok(),
    });
    let published = service.spec.ports.iter().map(|published| published.container_port);
    exposed.chain(published).filter(|other| *other != port).collect()
}

/// The service of the stack for which a port of this host is published.
fn publisher(stack: &Stack, port: u16) -> Option<&Service> {
    let is_it = |published: &PublishedPort| {
        published.host_port == Some(port) && published.host_ip.is_none_or(|ip| !ip.is_loopback())
    };
    stack.services.values().find(|service| service.spec.ports.iter().any(is_it))
}
