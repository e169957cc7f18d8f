//! How long a replica outlives its route: until its requests have ended.

use insta::assert_snapshot;
use quaymaster::{
    domain::{
        ContainerId, Observed, Slot, SlotChoice,
        memory::Listing,
        snapshot::{InFlight, ObserveFailure},
        time::Now,
    },
    plan::{Plan, Step, check},
};

use super::scene::*;

/// v2 has taken the place of v1 in blue ten of thirty seconds ago.
fn swapped() -> Scene {
    let mut declared = tagged(service("shop"), "v2");
    declared.slot = SlotChoice::Declared(Blue);
    Scene::of([declared])
        .ready("shop", Blue, "v1", 1)
        .active("shop", Blue, "v1")
        .ready("shop", Blue, "v2", 1)
        .routed("shop", Blue, "v2")
        .unrouted_for("shop", Blue, "v1", 10)
}

fn v1_has(requests: u64) -> impl Fn(Scene) -> Scene {
    move |scene| scene.counted("shop", Blue, "v1", requests)
}

/// Counts every quarter of a second.
fn counts(scene: Scene, counts: &[u64]) -> Scene {
    counts.iter().fold(scene, |scene, count| v1_has(*count)(scene).later(250))
}

fn stops(scene: &Scene) -> bool {
    scene.plan().contains("stop ")
}

#[test]
fn requests_are_counted_only_while_something_drains() {
    assert!(swapped().pass().1.wants_in_flight);
    assert!(!swapped().counted("shop", Blue, "v1", 2).pass().1.wants_in_flight, "it was asked");
    assert!(!swapped().unrouted_for("shop", Blue, "v1", 31).pass().1.wants_in_flight);
    let settled =
        Scene::of([service("shop")]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    assert!(!settled.pass().1.wants_in_flight);
}

/// The store was lost, our write was never seen to stand, and somebody undid it just now.
#[test]
fn what_our_last_write_named_may_have_had_requests_until_it_is_seen() {
    let two = |scene: Scene| {
        let scene = scene.ready("shop", Blue, "v1", 1).ready("shop", Blue, "v1", 2);
        scene.routed("shop", Blue, "v1").unrouted_for("shop", Blue, "v1", 60).edit(|scene| {
            let Observed::Known(proxy) = &mut scene.seen.proxy else { panic!("it is known") };
            scene.memory.routes = std::mem::take(&mut proxy.table);
            proxy.intact = false;
        })
    };
    let scene = two(Scene::of([service("shop")]));
    let rewritten = scene.later(0).edit(|scene| {
        let Observed::Known(proxy) = &mut scene.seen.proxy else { panic!("it is known") };
        // As it stands once the route names the first replica alone.
        proxy.table = scene.memory.routes.clone();
        let route = proxy.table.values_mut().next().expect("the route");
        route.backend.dials.pop_last();
        proxy.intact = true;
    });
    assert!(!stops(&rewritten), "{}", rewritten.plan());
    assert!(stops(&rewritten.later(30_001)), "it has had its time");
}

#[test]
fn the_status_shows_the_count_going_down_until_the_old_release_goes() {
    let two = v1_has(2)(swapped());
    assert_snapshot!(two.plan(), @r"
        shop is progressing: settling
          waits: blue draining, 2 requests in flight, 21s left at most
    ");
    assert_eq!(two.pass().1.revisit, Some(two.now + std::time::Duration::from_millis(250)));
    let one = v1_has(1)(two.later(250));
    assert_snapshot!(one.plan(), @r"
        shop is progressing: settling
          waits: blue draining, 1 request in flight, 20s left at most
    ");
    let none = counts(one.later(250), &[0, 0]);
    assert_snapshot!(none.plan(), @r"
        stop demo-shop-blue-v1-1
        shop is progressing: settling
    ");
}

#[test]
fn two_zeros_are_not_enough() {
    assert!(!stops(&v1_has(0)(counts(swapped(), &[0]))));
    assert!(stops(&v1_has(0)(counts(swapped(), &[0, 0]))));
}

#[test]
fn a_request_between_zeros_begins_the_count_anew() {
    assert!(!stops(&v1_has(0)(counts(swapped(), &[0, 0, 1, 0]))));
    assert!(stops(&v1_has(0)(counts(swapped(), &[0, 0, 1, 0, 0]))));
}

#[test]
fn zeros_of_the_same_moment_are_one() {
    let zeros = (0..5).fold(swapped(), |scene, _| v1_has(0)(scene).later(20));
    assert!(!stops(&zeros));
}

#[test]
fn a_route_that_comes_back_begins_everything_anew() {
    let again = counts(swapped(), &[0, 0]).routed("shop", Blue, "v1").later(250);
    let gone = again.routed("shop", Blue, "v2");
    assert!(!stops(&v1_has(0)(gone)));
}

#[test]
fn a_proxy_that_cannot_count_leaves_it_the_whole_time_and_that_is_said() {
    let scene = swapped().edit(|scene| {
        scene.seen.in_flight = Observed::Known(InFlight::default());
    });
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: settling
          waits: blue draining, 21s left (this proxy cannot count what is in flight: the whole drain_timeout passes)
    ");
    assert!(!stops(&scene.later(250).later(250).later(250)));
}

#[test]
fn a_count_that_failed_is_no_zero_and_takes_none_back() {
    let silent = |scene: Scene| {
        scene.edit(|scene| {
            let failure = ObserveFailure::Failed("connection refused".to_owned());
            scene.seen.in_flight = Observed::Unknown(failure);
        })
    };
    assert_snapshot!(silent(swapped()).plan(), @r"
        shop is progressing: settling
          waits: blue draining, 21s left
    ");
    let scene = silent(counts(swapped(), &[0, 0])).later(250);
    assert!(!stops(&scene));
    assert!(stops(&v1_has(0)(scene)));
}

#[test]
fn an_address_that_the_proxy_had_forgotten_is_not_believed_to_be_idle() {
    let back = swapped().edit(|scene| {
        let shop = scene.service("shop").name;
        let v1 = scene.containers()[0].clone();
        scene.remember_replica("shop", &v1.id).ebb.listing = Listing::Dropped;
        let Observed::Known(proxy) = &mut scene.seen.proxy else { panic!("it is known") };
        proxy.idle.insert(shop, v1.dials().collect());
    });
    assert!(!stops(&counts(back, &[0, 0, 0, 0])));
}

#[test]
fn all_replicas_of_a_slot_are_one_wait() {
    let mut declared = tagged(service("shop"), "v2");
    declared.replicas = 2;
    declared.rollout.scale_down_delay = std::time::Duration::ZERO;
    let scene = [1, 2].into_iter().fold(Scene::of([declared]), |scene, number| {
        scene.ready("shop", Blue, "v1", number).ready("shop", Green, "v2", number)
    });
    let scene = scene
        .routed("shop", Green, "v2")
        .unrouted_for("shop", Blue, "v1", 10)
        .counted("shop", Blue, "v1", 3);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: settling
          waits: blue draining, 3 requests in flight, 21s left at most
    ");
}

#[test]
fn the_check_stops_a_stop_with_requests_in_flight() {
    // A planner that believed its zeros against the count of this very pass.
    let scene = counts(swapped(), &[0, 0, 0]).counted("shop", Blue, "v1", 1);
    let shop = scene.service("shop").name;
    let v1 = ContainerId(format!("shop-{}-v1-1", Slot::Blue));
    let step = Step::Stop { service: shop, container: v1, name: "v1".to_owned(), grace: None };
    let plan = Plan { steps: vec![step], ..Plan::default() };
    let now = Now { at: scene.now, unix_ms: 0 };
    let violations = check(&scene.stack, &scene.seen, &scene.memory, now, &plan);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.contains("with requests in flight")), "{told:?}");
}
