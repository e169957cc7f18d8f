//! Addresses that are assigned, on networks that are shared with Docker.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use quaymaster::{
    docker::{Docker, Options},
    domain::{
        ContainerSpec,
        snapshot::{AddressRange, HostNetwork},
        stack::NetworkSpec,
    },
    ports::Engine,
};

use super::{Berth, attachment, docker, eventually, only, quiet, relay};

async fn network(engine: &Docker, name: &str) -> HostNetwork {
    engine.host().await.expect("seen").networks.remove(name).expect("it is there")
}

async fn ours(engine: &Docker, name: &str) -> AddressRange {
    network(engine, name).await.ours.expect("it has addresses of ours")
}

fn nth(range: AddressRange, n: usize) -> IpAddr {
    range.addresses().nth(n).expect("there are enough")
}

/// A replica that is to stand at this address of the network.
fn standing(berth: &mut Berth, network: &str, at: IpAddr, says: &str) -> super::NewContainer {
    let image = berth.image();
    let spec =
        ContainerSpec { networks: vec![attachment(network, &["web"])], ..ContainerSpec::default() };
    let mut new = berth.replica(&image, &["serve", says], spec);
    new.addresses.insert(network.to_owned(), at);
    new
}

#[tokio::test]
async fn one_release_after_the_other_stands_at_the_same_address() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let name = berth.name("default");
    engine.create_network(&name, &NetworkSpec::default()).await.expect("a network");
    let at = nth(ours(&engine, &name).await, 3);
    for release in ["first", "second", "third"] {
        let new = standing(&mut berth, &name, at, release);
        engine.create(&new).await.expect("created");
        let id = only(&engine).await.id;
        engine.start(&id).await.expect("started");
        assert_eq!(only(&engine).await.addresses[&name], at, "{release}");
        engine.stop(&id, None).await.expect("stopped");
        engine.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn an_assigned_address_is_taken_whatever_its_container_does() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let name = berth.name("default");
    engine.create_network(&name, &NetworkSpec::default()).await.expect("a network");
    let at = nth(ours(&engine, &name).await, 0);
    assert!(!network(&engine, &name).await.taken.contains_key(&at));
    let new = standing(&mut berth, &name, at, "here");
    engine.create(&new).await.expect("created");
    let taken = async || network(&engine, &name).await.taken.get(&at).cloned();
    assert_eq!(taken().await.as_ref(), Some(&new.name), "created");
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    assert_eq!(taken().await.as_ref(), Some(&new.name), "running");
    engine.stop(&id, None).await.expect("stopped");
    eventually(|| async { (!only(&engine).await.is_running()).then_some(()) }).await;
    assert_eq!(taken().await.as_ref(), Some(&new.name), "stopped");
    engine.remove(&id).await.expect("removed");
    assert_eq!(taken().await, None, "removed");
}

#[tokio::test]
async fn a_container_of_somebody_else_gets_none_of_ours_and_what_it_asks_for_is_seen() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let name = berth.name("default");
    engine.create_network(&name, &NetworkSpec::default()).await.expect("a network");
    let range = ours(&engine, &name).await;
    let foreign = [berth.name("any"), berth.name("fixed")];
    docker(&["run", "-d", "--name", &foreign[0], "--network", &name, &image]);
    let fixed = nth(range, 5);
    let ip = fixed.to_string();
    docker(&["create", "--name", &foreign[1], "--network", &name, "--ip", &ip, &image]);
    let seen = network(&engine, &name).await.taken;
    foreign.iter().for_each(|name| quiet(&["rm", "-f", name]));

    let any = seen.iter().find(|(_, holder)| **holder == foreign[0]).expect("it is seen");
    assert!(!range.contains(any.0), "{any:?} is in {range:?}");
    assert_eq!(seen.get(&fixed), Some(&foreign[1]));
}

#[tokio::test]
async fn a_subnet_that_the_file_declares_is_shared_too() {
    let berth = Berth::new();
    let engine = berth.docker().await;
    let name = berth.name("declared");
    let free = free_subnet(&berth);
    let spec = NetworkSpec { subnets: vec![free.clone()], ..NetworkSpec::default() };
    engine.create_network(&name, &spec).await.expect("a network");
    let seen = docker(&["network", "inspect", "--format", SUBNET, &name]);
    assert_eq!(seen.trim(), free);
    assert!(network(&engine, &name).await.ours.is_some());
}

const SUBNET: &str = "{{(index .IPAM.Config 0).Subnet}}";

/// Returns a subnet that Docker has just had free.
fn free_subnet(berth: &Berth) -> String {
    let name = berth.name("look");
    docker(&["network", "create", &name]);
    let subnet = docker(&["network", "inspect", "--format", SUBNET, &name]);
    docker(&["network", "rm", &name]);
    subnet.trim().to_owned()
}

#[tokio::test]
async fn networks_that_others_made_keep_dockers_addresses() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let label = format!("quaymaster.stack={}", berth.stack);
    // As an earlier version made it, and as somebody else did.
    let names = [berth.name("early"), berth.name("foreign")];
    docker(&["network", "create", "--label", &label, &names[0]]);
    docker(&["network", "create", &names[1]]);
    for name in &names {
        engine.create_network(name, &NetworkSpec::default()).await.expect("it is there");
        let seen = network(&engine, name).await;
        let gateway = seen.gateway.expect("a bridge has one");
        assert!(gateway.subnet.contains(&gateway.address.into()));
        assert_eq!(HostNetwork { gateway: None, ..seen }, HostNetwork::default());
        let networks = vec![attachment(name, &["web"])];
        let spec = ContainerSpec { networks, ..ContainerSpec::default() };
        engine.create(&berth.replica(&image, &["serve"], spec)).await.expect("created");
        let id = only(&engine).await.id;
        engine.start(&id).await.expect("started");
        assert!(only(&engine).await.addresses.contains_key(name));
        engine.stop(&id, None).await.expect("stopped");
        engine.remove(&id).await.expect("removed");
    }
    docker(&["network", "rm", &names[1]]);
}

#[tokio::test]
async fn a_subnet_that_somebody_else_takes_first_is_asked_for_again() {
    let berth = Berth::new();
    let name = berth.name("default");
    let rival = berth.name("rival");
    let taken = Arc::new(AtomicUsize::new(0));
    let rivalry = {
        let (rival, taken) = (rival.clone(), Arc::clone(&taken));
        // Before the network itself is made, its subnet goes to another, twice.
        move |body: &serde_json::Value| {
            let subnet = &body["IPAM"]["Config"][0]["Subnet"];
            if let Some(subnet) = subnet.as_str()
                && taken.fetch_add(1, Ordering::SeqCst) < 2
            {
                let name = format!("{rival}-{}", taken.load(Ordering::SeqCst));
                docker(&["network", "create", "--subnet", subnet, &name]);
            }
        }
    };
    let engine = relay::before_networks_are_made(rivalry).await;
    let options = Options { host: Some(engine.endpoint()), ..Options::default() };
    let engine = berth.docker_with(options).await;
    let made = engine.create_network(&name, &NetworkSpec::default()).await;
    (1..=2).for_each(|n| quiet(&["network", "rm", &format!("{rival}-{n}")]));
    made.expect("the third subnet is free");
    assert_eq!(taken.load(Ordering::SeqCst), 3);
    assert!(network(&engine, &name).await.ours.is_some());
    let scouts = docker(&["network", "ls", "-q", "--filter", &format!("name={name}-scout")]);
    assert_eq!(scouts.trim(), "");
}
