//! Gates after a promotion: what is looked at through the bake, and what undoes it.

use insta::assert_snapshot;
use quaymaster::domain::{Gate, Phase, Service, Timestamp};

use super::{
    gates::{Gated, Request, measured, passed, refused},
    scene::*,
};

const POST: Phase = Phase::PostPromotion;

fn after(gates: impl IntoIterator<Item = Gate>) -> Service {
    let mut service = tagged(service("shop"), "v2");
    service.rollout.post_promotion = gates.into_iter().collect();
    service
}

/// v2 has had the route for five of its ten seconds on trial; v1 is warm.
fn on_trial_in_green(service: Service) -> Scene {
    let scene = Scene::of([service])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .active("shop", Blue, "v1")
        .routed("shop", Green, "v2");
    scene.catching("shop", Blue, "v1").edit(|scene| {
        let v1 = placement(&scene.service("shop"), Blue, "v1");
        let shop = scene.memory.services.get_mut(&"shop".parse().expect("a name")).expect("known");
        shop.good = vec![v1.release.clone()];
        shop.previous = Some(v1);
        shop.promoted_at = Some(Timestamp(NOW.0 - 5_000));
    })
}

#[test]
fn gates_are_all_looked_at_through_the_bake() {
    let (one, other) = (measured("one"), measured("other"));
    let scene = on_trial_in_green(after([one.clone(), other.clone()]));
    assert_eq!(scene.pass().1.measure.len(), 2);
    let scene = scene.measures(&one, POST, 0, passed()).later(0);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: settling
          waits: baking, 6s left
          waits: blue warm for rollback, 1m46s left
          waits: post-promotion gate `exec other`, 1m11s left
    ");
    // The bake goes on until each of them has passed.
    let scene = scene.later(6_000);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: settling
          waits: blue warm for rollback, 1m40s left
          waits: post-promotion gate `exec other`, 1m11s left
    ");
    let scene = scene.measures(&other, POST, 0, passed()).later(0);
    assert_snapshot!(scene.plan(), @r"
        shop is settled: runs as declared
          waits: blue warm for rollback, 1m40s left
    ");
}

#[test]
fn a_failure_in_the_bake_flips_back_in_one_pass() {
    let check = measured("./check");
    let scene = on_trial_in_green(after([check.clone()]));
    let scene = scene.measures(&check, POST, 0, passed()).later(0);
    let scene = scene.measures(&check, POST, 1, refused()).later(0);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: green v2 → blue v1
        hold shop:v2: post-promotion gate `exec ./check` failed: exited with code 3
        shop is held: post-promotion gate `exec ./check` failed: exited with code 3; going back to shop:v1
    ");
}

#[test]
fn without_anything_to_go_back_to_a_failed_gate_only_says_so() {
    let check = measured("./check");
    let scene = Scene::of([after([check.clone()])])
        .ready("shop", Green, "v2", 1)
        .routed("shop", Green, "v2")
        .edit(|scene| {
            let shop = scene.memory.services.values_mut().next().expect("known");
            (shop.good, shop.promoted_at) = (Vec::new(), Some(NOW));
        });
    let scene = scene.measures(&check, POST, 1, refused()).later(0);
    assert_snapshot!(scene.plan(), @r"
        shop is degraded: post-promotion gate `exec ./check` failed: exited with code 3; there is nothing ready to go back to
          waits: baking, 11s left
    ");
}

#[test]
fn a_rollback_by_an_operator_says_what_the_file_wants() {
    let scene = on_trial_in_green(after([])).asked(Request::Rollback);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: green v2 → blue v1
        shop is degraded: rolled back by an operator: going back to shop:v1, the file wants shop:v2
    ");
}
