//! Slots of a service that runs elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use insta::assert_snapshot;
use quaymaster::{
    domain::{
        ContainerSpec, Observed, Release, Service, Slot, SlotChoice, memory::Placement,
        snapshot::ProbeStanding,
    },
    plan::upstreams,
};

use super::scene::*;

fn elsewhere(slot: Slot) -> Service {
    let at = |text: &str| BTreeSet::from([text.parse::<SocketAddr>().expect("an address")]);
    let mut shop = service("shop");
    shop.slot = SlotChoice::Declared(slot);
    shop.upstreams = Some(BTreeMap::from([(Blue, at("10.1.0.4:80")), (Green, at("10.1.0.5:81"))]));
    shop.image = "10.1.0.4:80".parse().expect("it reads as an image");
    // As the file is read: the port of the declared slot.
    let route_port = Some(if slot == Blue { 80 } else { 81 });
    shop.spec = ContainerSpec { route_port, ..ContainerSpec::default() };
    shop
}

/// The addresses stand in the snapshot; those named answer their probes.
fn scene(slot: Slot, answering: &[Slot]) -> Scene {
    Scene::of([elsewhere(slot)]).edit(|scene| {
        *scene.containers_mut() = upstreams::containers(&scene.stack);
        for container in scene.containers().clone() {
            let ready = answering.contains(&container.slot);
            let last_failure = (!ready).then(|| "connection refused".to_owned());
            let standing = ProbeStanding { ready, probes: 9, last_failure };
            scene.seen.probes.insert(container.id, standing);
        }
    })
}

trait Served {
    fn served_from(self, slot: Slot) -> Self;
}

impl Served for Scene {
    /// A flip to this slot was written and seen.
    fn served_from(self, slot: Slot) -> Scene {
        let table = scene(slot, &[slot]).pass().1.table().cloned().expect("it flips");
        self.edit(|scene| {
            let Observed::Known(proxy) = &mut scene.seen.proxy else { panic!("it is known") };
            proxy.table = table;
        })
        .later(20_000)
    }
}

fn short(scene: &Scene) -> String {
    let mut text = scene.plan();
    for slot in [Blue, Green] {
        let found = upstreams::resolution(&elsewhere(slot), slot).expect("it has addresses");
        let shop = elsewhere(slot);
        let Release { id, .. } = shop.release(found.digest, found.image_id);
        text = text.replace(id.as_str(), slot.as_str());
    }
    text
}

#[test]
fn traffic_goes_where_the_addresses_answer() {
    assert_snapshot!(short(&scene(Blue, &[Blue])), @r"
        write routes: shop: nothing → blue blue
        shop is progressing: first deployment
    ");
    assert_snapshot!(short(&scene(Blue, &[])), @r"
        shop is progressing: first deployment
          waits: 0 of 1 ready in blue (connection refused)
    ");
}

#[test]
fn a_flip_goes_to_the_other_slot_once_it_answers() {
    let waiting = scene(Green, &[Blue]).served_from(Blue);
    assert_snapshot!(short(&waiting), @r"
        shop is progressing: rolling out; serving 10.1.0.4:80
          waits: 0 of 1 ready in green (connection refused)
    ");
    let ready = scene(Green, &[Blue, Green]).served_from(Blue);
    assert_snapshot!(short(&ready), @r"
        write routes: shop: blue blue → green green
        shop is progressing: rolling out; serving 10.1.0.4:80
    ");
}

#[test]
fn a_slot_that_stops_answering_on_trial_is_flipped_back() {
    let failing = scene(Green, &[Blue, Green]).served_from(Green).edit(|scene| {
        let v = |slot| upstreams::resolution(&elsewhere(slot), slot).expect("it has addresses");
        let blue = elsewhere(Blue).release(v(Blue).digest, v(Blue).image_id);
        let shop = scene.memory.services.values_mut().next().expect("known");
        shop.previous = Some(Placement { slot: Blue, release: blue.id.clone() });
        (shop.good, shop.promoted_at) = (vec![blue.id], Some(NOW));
        scene.now = NOW;
        for (id, standing) in &mut scene.seen.probes {
            if id.0.contains("green") {
                standing.ready = false;
                standing.last_failure = Some("connection refused".to_owned());
            }
        }
    });
    assert_snapshot!(short(&failing), @r"
        write routes: shop: green green → blue blue
        hold 10.1.0.4:80: failed after its promotion: 10.1.0.5:81: connection refused
        shop is held: failed after its promotion: 10.1.0.5:81: connection refused; going back to 10.1.0.4:80
    ");
}

#[test]
fn an_address_more_does_not_move_the_traffic_meanwhile() {
    let more = scene(Blue, &[Blue, Green]).served_from(Blue).edit(|scene| {
        let name = "shop".parse().expect("a name");
        let shop = scene.stack.services.get_mut(&name).expect("declared");
        let blue = shop.upstreams.as_mut().and_then(|slots| slots.get_mut(&Blue));
        blue.expect("two slots").insert("10.1.0.6:80".parse().expect("an address"));
        *scene.containers_mut() = upstreams::containers(&scene.stack);
    });
    assert_snapshot!(short(&more), @r"
        write routes
        shop is degraded: nothing is ready to serve
          waits: green warm for rollback, 1m31s left
    ");
}

#[test]
fn what_runs_elsewhere_is_never_touched() {
    let settled = scene(Green, &[Green]).served_from(Green);
    assert_snapshot!(short(&settled), @r"
        shop is settled: runs as declared
          waits: blue warm for rollback, 1m31s left
    ");
    assert!(settled.pass().1.steps.is_empty());
}
