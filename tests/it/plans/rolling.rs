//! Rolling: one replica above the declared number, one flip at half.

use insta::assert_snapshot;
use quaymaster::domain::{Service, Strategy, memory::Traffic};

use super::scene::*;

fn rolling(replicas: u32) -> Service {
    let mut service = tagged(service("api"), "v2");
    service.rollout.strategy = Strategy::Rolling;
    service.replicas = replicas;
    service
}

fn three_old() -> Scene {
    Scene::of([rolling(3)])
        .ready("api", Blue, "v1", 1)
        .ready("api", Blue, "v1", 2)
        .ready("api", Blue, "v1", 3)
}

#[test]
fn a_first_deployment_starts_all_at_once() {
    assert_snapshot!(Scene::of([rolling(3)]).plan(), @r"
        create demo-api-blue-v2-1 (api:v2 in blue)
        create demo-api-blue-v2-2 (api:v2 in blue)
        create demo-api-blue-v2-3 (api:v2 in blue)
        api is progressing: first deployment
    ");
}

#[test]
fn one_new_replica_is_surged() {
    assert_snapshot!(three_old().routed("api", Blue, "v1").plan(), @r"
        create demo-api-blue-v2-1 (api:v2 in blue)
        api is progressing: rolling out; serving api:v1
    ");
}

#[test]
fn an_old_replica_leaves_the_route_before_it_is_stopped() {
    let scene = three_old().routed("api", Blue, "v1").ready("api", Blue, "v2", 1);
    assert_snapshot!(scene.plan(), @r"
        write routes
        api is progressing: rolling out; serving api:v1
          waits: 1 of 3 ready in blue, 1m1s left
    ");
}

#[test]
fn the_route_flips_once_at_half() {
    let scene = Scene::of([rolling(3)])
        .ready("api", Blue, "v1", 1)
        .ready("api", Blue, "v1", 2)
        .routed("api", Blue, "v1")
        .ready("api", Blue, "v2", 1)
        .ready("api", Blue, "v2", 2);
    assert_snapshot!(scene.plan(), @r"
        write routes: api: blue v1 → blue v2
        api is progressing: rolling out; serving api:v1
          waits: 2 of 3 ready in blue, 1m1s left
    ");
}

/// Nothing has the route, so nothing makes room for more of them.
#[test]
fn one_is_enough_where_nothing_was_ever_promoted() {
    let scene = three_old().ready("api", Blue, "v2", 1).edit(|scene| {
        let ids: Vec<_> = scene.containers().iter().map(|it| it.id.clone()).collect();
        for id in ids {
            scene.remember_replica("api", &id).traffic = Traffic::NeverRouted;
        }
    });
    assert_snapshot!(scene.plan(), @r"
        write routes: api: nothing → blue v2
        api is progressing: first deployment
          waits: 1 of 3 ready in blue, 1m1s left
    ");
}

#[test]
fn after_the_flip_the_old_ones_go_and_the_new_ones_come() {
    let scene = Scene::of([rolling(3)])
        .ready("api", Blue, "v1", 1)
        .active("api", Blue, "v1")
        .ready("api", Blue, "v2", 1)
        .ready("api", Blue, "v2", 2)
        .routed("api", Blue, "v2")
        .unrouted_for("api", Blue, "v1", 40);
    assert_snapshot!(scene.plan(), @r"
        create demo-api-blue-v2-3 (api:v2 in blue)
        stop demo-api-blue-v1-1
        api is degraded: 2 of 3 replicas ready
          waits: 2 of 3 ready in blue
    ");
}

#[test]
fn a_worker_retires_an_old_replica_for_each_new_one() {
    let mut declared = tagged(worker("mail"), "v2");
    declared.replicas = 2;
    let scene = Scene::of([declared])
        .ready("mail", Blue, "v1", 1)
        .ready("mail", Blue, "v1", 2)
        .active("mail", Blue, "v1")
        .ready("mail", Blue, "v2", 1);
    assert_snapshot!(scene.plan(), @r"
        stop demo-mail-blue-v1-2
        mail is progressing: rolling out; serving mail:v1
          waits: 1 of 2 ready in blue, 1m1s left
    ");
}

#[test]
fn a_worker_cuts_over_only_when_the_new_one_is_ready() {
    let scene = Scene::of([tagged(worker("mail"), "v2")])
        .ready("mail", Blue, "v1", 1)
        .active("mail", Blue, "v1")
        .replica("mail", Blue, "v2", 1, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        mail is progressing: rolling out; serving mail:v1
          waits: 0 of 1 ready in blue, 1m1s left
    ");
    let ready = Scene::of([tagged(worker("mail"), "v2")])
        .ready("mail", Blue, "v1", 1)
        .active("mail", Blue, "v1")
        .ready("mail", Blue, "v2", 1);
    assert_snapshot!(ready.plan(), @r"
        set restart policy of demo-mail-blue-v2-1
        stop demo-mail-blue-v1-1
        mail is progressing: settling
          waits: baking, 11s left
    ");
}

#[test]
fn a_failing_new_replica_brings_the_old_number_back() {
    let scene = Scene::of([rolling(3)])
        .ready("api", Blue, "v1", 1)
        .ready("api", Blue, "v1", 2)
        .routed("api", Blue, "v1")
        .ready("api", Blue, "v2", 1)
        .replica("api", Blue, "v2", 2, Exited { code: 1 });
    assert_snapshot!(scene.plan(), @r"
        hold api:v2: demo-api-blue-v2-2 exited with code 1
        create demo-api-blue-v1-3 (api:v1 in blue)
        api is held: demo-api-blue-v2-2 exited with code 1; still serving api:v1
          waits: 2 of 3 ready in blue, 1m1s left
    ");
}

#[test]
fn a_superseded_release_that_alone_is_ready_does_not_stop_the_next() {
    // v1 has the route and is sick; v2 was superseded before it got the route.
    let scene = Scene::of([tagged(rolling(1), "v3")])
        .failing("api", Blue, "v1", 1)
        .routed("api", Blue, "v1")
        .ready("api", Blue, "v2", 1);
    assert_snapshot!(scene.plan(), @r"
        create demo-api-blue-v3-1 (api:v3 in blue)
        api is degraded: nothing is ready to serve
    ");
}
