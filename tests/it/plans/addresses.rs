//! Where a new replica stands.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use insta::assert_snapshot;
use quaymaster::{
    domain::{Observed, Service, SlotChoice, time::Now},
    plan::{Plan, Step, check},
};

use super::scene::*;

/// v2 serves in green at 10.0.0.2.
fn green_serves(declared: Service) -> Scene {
    Scene::of([declared]).ready("shop", Green, "v2", 1).routed("shop", Green, "v2")
}

fn v3() -> Service {
    tagged(service("shop"), "v3")
}

/// Returns the first line of the plan.
fn first(scene: &Scene) -> String {
    scene.plan().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_new_replica_takes_the_lowest_address_that_nobody_has() {
    let scene = Scene::of([service("shop"), service("api")]).ready("api", Blue, "v1", 1);
    assert_eq!(
        first(&scene.routed("api", Blue, "v1").with_addresses()),
        "create demo-shop-blue-v1-1 (shop:v1 in blue at 10.0.0.3)"
    );
}

#[test]
fn on_a_network_that_others_made_the_engine_chooses() {
    assert_eq!(
        first(&Scene::of([service("shop")])),
        "create demo-shop-blue-v1-1 (shop:v1 in blue)"
    );
}

#[test]
fn what_the_proxy_does_not_reach_gets_no_address_of_its_own() {
    assert_eq!(
        first(&Scene::of([worker("mail")]).with_addresses()),
        "create demo-mail-blue-v1-1 (mail:v1 in blue)"
    );
}

#[test]
fn a_release_for_the_idle_slot_stands_where_the_last_one_stood() {
    let mut declared = v3();
    declared.replicas = 3;
    let scene = green_serves(declared).idle("shop", &[5, 7]).with_addresses();
    assert_snapshot!(scene.plan(), @r"
        create demo-shop-blue-v3-1 (shop:v3 in blue at 10.0.0.5)
        create demo-shop-blue-v3-2 (shop:v3 in blue at 10.0.0.7)
        create demo-shop-blue-v3-3 (shop:v3 in blue at 10.0.0.3)
        shop is progressing: rolling out; serving shop:v2
    ");
}

#[test]
fn a_swap_within_a_slot_takes_others_and_leaves_the_idle_ones() {
    let mut declared = v3();
    declared.slot = SlotChoice::Declared(Green);
    let scene = green_serves(declared).idle("shop", &[3]).with_addresses();
    assert_eq!(first(&scene), "create demo-shop-green-v3-1 (shop:v3 in green at 10.0.0.4)");
}

#[test]
fn an_address_that_a_route_names_is_given_to_nobody() {
    // Its replica is gone, and the route not yet written anew.
    let scene = Scene::of([service("shop"), service("api")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .edit(|scene| scene.containers_mut().clear())
        .with_addresses();
    let plan = scene.plan();
    assert!(plan.contains("create demo-shop-blue-v1-1 (shop:v1 in blue at 10.0.0.4)"), "{plan}");
    assert!(plan.contains("(api:v1 in blue at 10.0.0.3)"), "{plan}");
}

#[test]
fn the_address_of_a_stopped_container_is_its_own_while_it_exists() {
    let stopped = || {
        Scene::of([service("api"), service("shop")])
            .replica("shop", Blue, "v1", 1, Exited { code: 0 })
            .with_addresses()
    };
    assert_eq!(first(&stopped()), "create demo-api-blue-v1-1 (api:v1 in blue at 10.0.0.3)");
    let removed = stopped().edit(|scene| scene.containers_mut().clear()).with_addresses();
    assert_eq!(first(&removed), "create demo-api-blue-v1-1 (api:v1 in blue at 10.0.0.2)");
}

/// v1 stands in blue at 10.0.0.3, where v3 is to come.
fn v1_is_left_over(state: impl FnOnce(Scene) -> Scene, declared: Service) -> Scene {
    state(green_serves(declared)).idle("shop", &[3]).with_addresses()
}

#[test]
fn a_release_waits_for_the_place_that_the_old_one_is_leaving() {
    let runs =
        |scene: Scene| scene.ready("shop", Blue, "v1", 1).unrouted_for("shop", Blue, "v1", 200);
    assert_snapshot!(v1_is_left_over(runs, v3()).plan(), @r"
        stop demo-shop-blue-v1-1
        shop is progressing: rolling out; serving shop:v2
          waits: the step in hand
    ");
    let stopping = |scene| runs(scene).in_hand(Work::TakesAway);
    assert_snapshot!(v1_is_left_over(stopping, v3()).plan(), @r"
        shop is progressing: rolling out; serving shop:v2
          waits: the step in hand
    ");
    let stopped = |scene: Scene| scene.replica("shop", Blue, "v1", 1, Exited { code: 0 });
    assert_snapshot!(v1_is_left_over(stopped, v3()).plan(), @r"
        remove demo-shop-blue-v1-1
        shop is progressing: rolling out; serving shop:v2
          waits: the step in hand
    ");
    assert_snapshot!(v1_is_left_over(|scene| scene, v3()).plan(), @r"
        create demo-shop-blue-v3-1 (shop:v3 in blue at 10.0.0.3)
        shop is progressing: rolling out; serving shop:v2
    ");
}

#[test]
fn a_release_waits_for_one_that_drains_and_not_for_long() {
    let drains =
        |scene: Scene| scene.ready("shop", Blue, "v1", 1).unrouted_for("shop", Blue, "v1", 10);
    assert_snapshot!(v1_is_left_over(drains, v3()).plan(), @r"
        shop is progressing: rolling out; serving shop:v2
          waits: blue draining, 21s left
          waits: the step in hand
    ");
    let mut slow = v3();
    slow.rollout.drain_timeout = Duration::from_secs(120);
    assert_snapshot!(v1_is_left_over(drains, slow).plan(), @r"
        create demo-shop-blue-v3-1 (shop:v3 in blue at 10.0.0.4)
        shop is progressing: rolling out; serving shop:v2
          waits: blue draining, 1m51s left
    ");
}

#[test]
fn a_release_does_not_wait_for_one_that_may_take_long_to_stop() {
    let mut slow = v3();
    slow.spec.stop_grace_period = Some(Duration::from_secs(60));
    let runs =
        |scene: Scene| scene.ready("shop", Blue, "v1", 1).unrouted_for("shop", Blue, "v1", 200);
    assert_snapshot!(v1_is_left_over(runs, slow).plan(), @r"
        create demo-shop-blue-v3-1 (shop:v3 in blue at 10.0.0.4)
        stop demo-shop-blue-v1-1
        shop is progressing: rolling out; serving shop:v2
    ");
}

#[test]
fn an_address_in_the_hand_of_a_creation_is_not_given_again() {
    let scene = Scene::of([service("shop")]).with_addresses();
    let scene = scene.edit(|scene| {
        scene.seen.claimed.insert(IpAddr::from([10, 0, 0, 2]));
    });
    assert_eq!(first(&scene), "create demo-shop-blue-v1-1 (shop:v1 in blue at 10.0.0.3)");
}

#[test]
fn with_all_addresses_taken_the_engine_chooses() {
    let scene = Scene::of([service("shop")]).with_addresses().edit(|scene| {
        scene.seen.claimed = (2..10).map(|octet| IpAddr::from([10, 0, 0, octet])).collect();
    });
    assert_eq!(first(&scene), "create demo-shop-blue-v1-1 (shop:v1 in blue)");
}

#[test]
fn the_check_lets_nothing_be_created_where_a_route_goes() {
    let scene = green_serves(v3()).with_addresses();
    let plan = scene.pass().1;
    let Some(Step::Create(new)) = plan.steps.first() else { panic!("{plan:?}") };
    let mut new = new.clone();
    let Observed::Known(proxy) = &scene.seen.proxy else { panic!("it is known") };
    let routed = proxy.table.values().flat_map(|state| state.dials()).next().expect("a dial");
    new.addresses = BTreeMap::from([("demo_default".to_owned(), routed.ip())]);
    let plan = Plan { steps: vec![Step::Create(new)], ..Plan::default() };
    let now = Now { at: scene.now, unix_ms: 0 };
    let violations = check(&scene.stack, &scene.seen, &scene.memory, now, &plan);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.contains("which a route names")), "{told:?}");
}
