//! Groups: services that are promoted together, or not at all.

use insta::assert_snapshot;
use quaymaster::domain::{Service, SlotChoice, Strategy, memory::Traffic};

use super::{gates::Gated, scene::*};

fn grouped(name: &str, tag: &str) -> Service {
    let mut service = tagged(service(name), tag);
    service.rollout_group = Some("all".parse().expect("a name"));
    service
}

/// v1 of both serves in blue; v2 of the shop is ready in green.
fn half_ready() -> Scene {
    Scene::of([grouped("shop", "v2"), grouped("api", "v2")])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .ready("api", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .routed("api", Blue, "v1")
}

#[test]
fn a_group_waits_for_its_last_member() {
    let scene = half_ready().replica("api", Green, "v2", 1, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        api is progressing: rolling out; serving api:v1
          waits: 0 of 1 ready in green, 1m1s left
        shop is progressing: rolling out; serving shop:v1
          waits: api of its group to be ready as well
    ");
}

#[test]
fn a_group_flips_in_one_write() {
    assert_snapshot!(half_ready().ready("api", Green, "v2", 1).plan(), @r"
        write routes: api: blue v1 → green v2, shop: blue v1 → green v2
        api is progressing: rolling out; serving api:v1
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn a_member_that_failed_keeps_the_whole_group_back() {
    let scene = half_ready().replica("api", Green, "v2", 1, RUNNING).later(0).edit(|scene| {
        let api = scene.containers_mut().last_mut().expect("it was added last");
        api.state = Exited { code: 1 };
        api.addresses.clear();
    });
    let scene = scene.later(0);
    assert_snapshot!(scene.plan(), @r"
        hold api:v2: demo-api-green-v2-1 exited with code 1
        stop demo-shop-green-v2-1
        api is held: demo-api-green-v2-1 exited with code 1; still serving api:v1
        shop is held: kept back with its group all, of which api failed; still serving shop:v1
    ");
    let scene = scene.held();
    assert_snapshot!(scene.plan(), @r"
        remove demo-api-green-v2-1
        stop demo-shop-green-v2-1
        api is held: demo-api-green-v2-1 exited with code 1; still serving api:v1
        shop is held: kept back with its group all, of which api failed; still serving shop:v1
    ");
}

#[test]
fn a_member_that_fails_on_trial_takes_the_group_back() {
    let scene = Scene::of([grouped("shop", "v2"), grouped("api", "v2")])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .ready("api", Blue, "v1", 1)
        .failing("api", Green, "v2", 1)
        .routed("shop", Green, "v2")
        .routed("api", Green, "v2")
        .edit(|scene| {
            for name in ["shop", "api"] {
                let service = scene.service(name);
                let v1 = placement(&service, Blue, "v1");
                let memory = scene.memory.services.get_mut(&service.name).expect("known");
                memory.good = vec![v1.release.clone()];
                memory.previous = Some(v1);
                memory.promoted_at = Some(NOW);
            }
        });
    assert_snapshot!(scene.plan(), @r"
        write routes: api: green v2 → blue v1, shop: green v2 → blue v1
        hold api:v2: failed after its promotion: demo-api-green-v2-1: HTTP 503
        api is held: failed after its promotion: demo-api-green-v2-1: HTTP 503; going back to api:v1
        shop is held: kept back with its group all, of which api failed; going back to shop:v1
    ");
}

/// The file refuses it; a plan of it must come to an end all the same.
#[test]
fn members_that_roll_ask_nobody_twice() {
    let rolling = |name: &str| {
        let mut service = grouped(name, "v2");
        service.rollout.strategy = Strategy::Rolling;
        service.replicas = 2;
        service
    };
    let scene = Scene::of([rolling("shop"), rolling("api")])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Blue, "v2", 1)
        .ready("api", Blue, "v1", 1)
        .ready("api", Blue, "v2", 1)
        .routed("shop", Blue, "v1")
        .routed("api", Blue, "v1");
    assert!(scene.plan().contains("shop is progressing"));
}

/// A declared slot that changed before anything was promoted leaves what ran in the other.
#[test]
fn a_member_gets_no_first_route_without_the_others() {
    let mut shop = grouped("shop", "v1");
    shop.slot = SlotChoice::Declared(Green);
    let scene =
        Scene::of([shop, grouped("api", "v1")]).ready("shop", Blue, "v1", 1).edit(|scene| {
            let shop = scene.containers()[0].id.clone();
            scene.remember_replica("shop", &shop).traffic = Traffic::NeverRouted;
        });
    assert_snapshot!(scene.plan(), @r"
        create demo-api-blue-v1-1 (api:v1 in blue)
        create demo-shop-green-v1-1 (shop:v1 in green)
        api is progressing: first deployment
        shop is progressing: first deployment
    ");
}
