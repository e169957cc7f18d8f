//! Who answers to a service's name, and which containers are told.

use std::collections::BTreeSet;

use quaymaster::{
    domain::{
        Inside, Slot, Stack,
        snapshot::{Gateway, NameMechanism, Observed, ProxyState},
        stack::{NameChoice, NetworkSpec},
        time::Now,
    },
    plan::{NewContainer, Step, names, view::World},
};

use super::scene::*;

const NETWORK: &str = "demo_default";

fn proxy(scene: &mut Scene) -> &mut ProxyState {
    let Observed::Known(proxy) = &mut scene.seen.proxy else { panic!("the proxy is known") };
    proxy
}

fn gateway() -> Gateway {
    Gateway { address: [10, 0, 0, 1].into(), subnet: "10.0.0.0/24".parse().unwrap() }
}

fn inside() -> Inside {
    Inside {
        listen: BTreeSet::from(["10.0.0.1:8080".parse().unwrap()]),
        from: BTreeSet::from([gateway().subnet]),
    }
}

/// The stack's own network is a bridge, on which nobody else listens.
fn bridged(mut scene: Scene) -> Scene {
    scene.stack.networks.insert(NETWORK.to_owned(), NetworkSpec::default());
    scene.containers_mut().iter_mut().filter(|it| it.is_running()).for_each(|container| {
        container.gateways.insert(NETWORK.to_owned(), gateway());
    });
    let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
    host.networks.get_mut(NETWORK).expect("it is there").gateway = Some(gateway());
    host.listening = Some(BTreeSet::new());
    scene
}

fn choose(mut scene: Scene, choice: NameChoice) -> Scene {
    scene.stack.proxy.as_mut().expect("a proxy").names = choice;
    scene
}

/// Where the proxy is to answer to `shop`, if this plan writes it.
fn written(scene: &Scene) -> Option<Option<Inside>> {
    scene.pass().1.steps.into_iter().find_map(|step| match step {
        Step::WriteRoutes { table, .. } => Some(table[&"shop".parse().unwrap()].inside.clone()),
        _ => None,
    })
}

fn created(scene: &Scene) -> Vec<NewContainer> {
    let steps = scene.pass().1.steps.into_iter();
    steps.filter_map(|step| if let Step::Create(new) = step { Some(*new) } else { None }).collect()
}

fn told(scene: &Scene) -> Vec<String> {
    let hosts = created(scene).into_iter().flat_map(|new| new.hosts);
    hosts.map(|(name, at)| format!("{name} {at}")).collect()
}

fn serving() -> Scene {
    let scene = Scene::of([service("shop")]).ready("shop", Slot::Blue, "v1", 1);
    bridged(scene.routed("shop", Slot::Blue, "v1"))
}

#[test]
fn a_routed_service_is_answered_for_on_its_bridges() {
    let mut scene = serving();
    assert_eq!(written(&scene), Some(Some(inside())));
    proxy(&mut scene).table.get_mut(&"shop".parse().unwrap()).unwrap().inside = Some(inside());
    assert_eq!(written(&scene), None);
}

#[test]
fn while_no_container_shows_the_gateway_what_stands_there_stays() {
    let mut scene = serving();
    proxy(&mut scene).table.get_mut(&"shop".parse().unwrap()).unwrap().inside = Some(inside());
    scene.containers_mut()[0].gateways.clear();
    assert_eq!(written(&scene), None);
}

#[test]
fn a_network_that_is_no_bridge_of_ours_is_left_to_docker() {
    for spec in [
        None,
        Some(NetworkSpec { internal: true, ..NetworkSpec::default() }),
        Some(NetworkSpec { driver: Some("macvlan".to_owned()), ..NetworkSpec::default() }),
    ] {
        let mut scene = serving();
        scene.stack.networks.clear();
        scene.stack.networks.extend(spec.map(|spec| (NETWORK.to_owned(), spec)));
        assert_eq!(written(&scene), None);
        assert!(why(&scene).contains("on no bridge"), "{}", why(&scene));
    }
}

/// Why the name of `shop` is Docker's.
fn why(scene: &Scene) -> String {
    let now = Now { at: scene.now, unix_ms: 0 };
    let Scene { stack, seen, memory, .. } = scene;
    let world = World { stack, seen, memory, now };
    match names::answers(world, &scene.stack.services[&"shop".parse().unwrap()]) {
        Some(NameMechanism::Docker { why }) => why,
        Some(NameMechanism::Caddy) | None => String::new(),
    }
}

fn exposing(stack: &mut Stack, port: &str) {
    let shop = stack.services.get_mut(&"shop".parse().unwrap()).expect("it is declared");
    shop.spec.expose.insert(port.to_owned());
}

#[test]
fn a_service_with_other_ports_keeps_dockers_name_unless_the_file_insists() {
    let mut scene = serving();
    exposing(&mut scene.stack, "8080");
    exposing(&mut scene.stack, "53/udp");
    assert_eq!(why(&scene), "");
    exposing(&mut scene.stack, "9090");
    assert_eq!(why(&scene), "it has other ports (9090), and a name leads to one place");
    assert_eq!(why(&choose(scene, NameChoice::Caddy)), "");
}

#[test]
fn an_address_that_caddy_cannot_have_is_not_asked_for_again() {
    let mut scene = serving();
    let at = "10.0.0.1:8080".parse().unwrap();
    proxy(&mut scene).refused.insert(at, "address already in use".to_owned());
    assert_eq!(written(&scene), None);
    assert_eq!(why(&scene), "Caddy cannot listen on 10.0.0.1:8080: address already in use");
}

#[test]
fn a_name_that_a_container_has_in_its_hosts_file_is_answered_for_as_long_as_it_lives() {
    let mut scene = serving();
    let by_docker = NameMechanism::Docker { why: "the file says so".to_owned() };
    proxy(&mut scene).names = by_docker;
    assert_eq!(written(&scene), None);
    scene.containers_mut()[0].calls_by_proxy.insert("shop".parse().unwrap());
    assert_eq!(written(&scene), Some(Some(inside())));
}

fn with_a_caller() -> Scene {
    let scene = Scene::of([service("shop"), worker("clerk")]);
    let scene = scene.ready("shop", Slot::Blue, "v1", 1);
    bridged(scene.routed("shop", Slot::Blue, "v1"))
}

#[test]
fn a_new_container_is_told_where_the_proxy_answers() {
    assert_eq!(told(&with_a_caller()), ["shop 10.0.0.1"]);
    let mut scene = with_a_caller();
    proxy(&mut scene).names = NameMechanism::Docker { why: String::new() };
    assert_eq!(told(&scene), Vec::<String>::new());
}

#[test]
fn a_container_that_is_older_than_a_name_is_said_to_ask_docker() {
    let untold = |scene: &Scene| {
        let now = Now { at: scene.now, unix_ms: 0 };
        let Scene { stack, seen, memory, .. } = scene;
        names::untold(World { stack, seen, memory, now }).into_iter().collect::<Vec<_>>()
    };
    let mut scene = serving();
    assert_eq!(untold(&scene), ["shop".parse().unwrap()]);
    scene.containers_mut()[0].calls_by_proxy.insert("shop".parse().unwrap());
    assert_eq!(untold(&scene), []);
    scene.containers_mut()[0].calls_by_proxy.clear();
    proxy(&mut scene).names = NameMechanism::Docker { why: String::new() };
    assert_eq!(untold(&scene), []);
}

#[test]
fn a_name_of_the_users_own_wins() {
    let mut scene = with_a_caller();
    let clerk = scene.stack.services.get_mut(&"clerk".parse().unwrap()).expect("declared");
    clerk.spec.extra_hosts.insert("shop".to_owned(), "192.0.2.1".to_owned());
    assert_eq!(told(&scene), Vec::<String>::new());
}

#[test]
fn no_container_is_sent_to_a_port_on_which_somebody_else_listens() {
    for other in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080"] {
        let mut scene = with_a_caller();
        let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
        host.listening = Some(BTreeSet::from([other.parse().unwrap()]));
        assert_eq!(told(&scene), Vec::<String>::new(), "{other}");
        // Unless that is the proxy.
        proxy(&mut scene).table.get_mut(&"shop".parse().unwrap()).unwrap().inside = Some(inside());
        assert_eq!(told(&scene), ["shop 10.0.0.1"], "{other}");
    }
    let mut scene = with_a_caller();
    let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
    host.listening = Some(BTreeSet::from(["127.0.0.1:8080".parse().unwrap()]));
    assert_eq!(told(&scene), ["shop 10.0.0.1"]);
}

#[test]
fn a_new_port_moves_the_name_only_with_the_route() {
    let scene = serving().edit(|scene| {
        proxy(scene).table.get_mut(&"shop".parse().unwrap()).unwrap().inside = Some(inside());
        let shop = scene.stack.services.get_mut(&"shop".parse().unwrap()).unwrap();
        // What the file says now; what serves listens where it did.
        shop.image = "shop:v2".parse().unwrap();
        shop.route.as_mut().unwrap().port = 9090;
        shop.spec.route_port = Some(9090);
    });
    assert_eq!(written(&scene), Some(Some(inside())));
}
