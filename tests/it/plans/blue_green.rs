//! Blue-green and the swap inside a slot.

use insta::assert_snapshot;
use quaymaster::domain::{
    Failover, Observed, ReleaseId, Slot, SlotChoice,
    memory::EventKind,
    snapshot::{Outcome, Work},
};

use quaymaster::plan::Step;

use super::scene::*;

#[test]
fn a_first_deployment_creates_its_replicas_in_blue() {
    assert_snapshot!(Scene::of([service("shop")]).plan(), @r"
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        shop is progressing: first deployment
    ");
}

#[test]
fn a_created_replica_is_started() {
    let scene = Scene::of([service("shop")]).replica("shop", Blue, "v1", 1, Created);
    assert_snapshot!(scene.plan(), @r"
        start demo-shop-blue-v1-1
        shop is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left
    ");
}

#[test]
fn nothing_is_routed_to_a_replica_that_is_not_ready() {
    let scene = Scene::of([service("shop")]).replica("shop", Blue, "v1", 1, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left
    ");
}

#[test]
fn a_ready_first_release_gets_the_route() {
    let scene = Scene::of([service("shop")]).ready("shop", Blue, "v1", 1);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: nothing → blue v1
        shop is progressing: first deployment
    ");
}

#[test]
fn what_runs_as_declared_is_left_alone() {
    let scene =
        Scene::of([service("shop")]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @"shop is settled: runs as declared");
}

#[test]
fn a_new_tag_starts_in_the_idle_slot() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        create demo-shop-green-v2-1 (shop:v2 in green)
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn the_flip_waits_for_every_replica() {
    let mut declared = tagged(service("shop"), "v2");
    declared.replicas = 2;
    let scene = Scene::of([declared])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Blue, "v1", 2)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1)
        .replica("shop", Green, "v2", 2, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: 1 of 2 ready in green, 1m1s left
    ");
}

fn v2_is_ready_in_green() -> Scene {
    Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1)
}

#[test]
fn a_ready_release_is_flipped_to_and_nothing_is_stopped() {
    assert_snapshot!(v2_is_ready_in_green().plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn an_unknown_proxy_blocks_flip_and_removal() {
    assert_snapshot!(v2_is_ready_in_green().proxy_is_unknown().plan(), @r"
        shop is unknown: the proxy cannot be seen: nothing moves
          waits: the proxy cannot be seen: connection refused
    ");
}

fn v2_is_active_and_v1_warm() -> Scene {
    Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .active("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1)
        .routed("shop", Green, "v2")
        .edit(|scene| {
            let shop = scene.service("shop");
            let memory = scene.memory.services.get_mut(&shop.name).expect("seen");
            memory.previous = Some(placement(&shop, Blue, "v1"));
        })
}

#[test]
fn the_old_slot_stays_warm_until_the_delay_is_over() {
    let warm = v2_is_active_and_v1_warm().catching("shop", Blue, "v1").edit(|scene| {
        scene.now = quaymaster::domain::Timestamp(60_000);
    });
    assert_snapshot!(warm.plan(), @r"
        shop is settled: runs as declared
          waits: blue warm for rollback, 51s left
    ");
    let over = v2_is_active_and_v1_warm().catching("shop", Blue, "v1");
    assert_snapshot!(over.plan(), @r"
        write routes
        shop is settled: runs as declared
    ");
    let cold = v2_is_active_and_v1_warm().unrouted_for("shop", Blue, "v1", 200);
    assert_snapshot!(cold.plan(), @r"
        stop demo-shop-blue-v1-1
        shop is progressing: settling
    ");
}

#[test]
fn a_stopped_standby_is_removed() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .replica("shop", Blue, "v1", 1, Exited { code: 0 })
        .ready("shop", Green, "v2", 1)
        .routed("shop", Green, "v2");
    assert_snapshot!(scene.plan(), @r"
        remove demo-shop-blue-v1-1
        shop is progressing: settling
    ");
}

#[test]
fn a_revert_while_the_standby_is_warm_is_one_flip() {
    let scene = v2_is_active_and_v1_warm().edit(|scene| {
        let shop = scene.service("shop");
        scene.stack.services.insert(shop.name.clone(), tagged(shop, "v1"));
    });
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: green v2 → blue v1
        shop is progressing: rolling out; serving shop:v2
    ");
}

#[test]
fn a_new_image_in_the_same_slot_is_a_swap() {
    let mut declared = tagged(service("shop"), "v2");
    declared.slot = SlotChoice::Declared(Blue);
    let scene = Scene::of([declared]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        create demo-shop-blue-v2-1 (shop:v2 in blue)
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn the_old_release_of_a_swap_drains_before_it_stops() {
    let mut declared = tagged(service("shop"), "v2");
    declared.slot = SlotChoice::Declared(Blue);
    let scene = Scene::of([declared])
        .ready("shop", Blue, "v1", 1)
        .active("shop", Blue, "v1")
        .ready("shop", Blue, "v2", 1)
        .routed("shop", Blue, "v2");
    let draining = scene.unrouted_for("shop", Blue, "v1", 10);
    assert_snapshot!(draining.plan(), @r"
        shop is progressing: settling
          waits: blue draining, 21s left
    ");
    assert_snapshot!(draining.unrouted_for("shop", Blue, "v1", 31).plan(), @r"
        stop demo-shop-blue-v1-1
        shop is progressing: settling
    ");
}

#[test]
fn a_declared_slot_alone_moves_the_same_image() {
    let mut declared = service("shop");
    declared.slot = SlotChoice::Declared(Green);
    let scene = Scene::of([declared]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        create demo-shop-green-v1-1 (shop:v1 in green)
        shop is progressing: rolling out; serving shop:v1
    ");
}

fn v2_exited_in_green() -> Scene {
    Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .replica("shop", Green, "v2", 1, Exited { code: 3 })
}

#[test]
fn a_release_that_exits_is_held_before_anything_of_it_goes() {
    assert_snapshot!(v2_exited_in_green().plan(), @r"
        hold shop:v2: demo-shop-green-v2-1 exited with code 3
        shop is held: demo-shop-green-v2-1 exited with code 3; still serving shop:v1
    ");
}

#[test]
fn a_held_release_is_removed_and_not_created_again() {
    let scene = hold(v2_exited_in_green());
    assert_snapshot!(scene.plan(), @r"
        remove demo-shop-green-v2-1
        shop is held: demo-shop-green-v2-1 exited with code 3; still serving shop:v1
    ");
    let gone = scene.edit(|scene| scene.containers_mut().truncate(1));
    assert_snapshot!(gone.plan(), @"shop is held: demo-shop-green-v2-1 exited with code 3; still serving shop:v1");
}

/// Does the hold that the plan asks for, as the controller would.
fn hold(mut scene: Scene) -> Scene {
    let (memory, plan) = scene.pass();
    scene.memory = memory;
    let held = plan.steps.iter().find_map(|step| match step {
        quaymaster::plan::Step::Hold(new) => Some((new.service.clone(), new.hold.clone())),
        _ => None,
    });
    let (service, hold) = held.expect("the plan holds");
    scene.memory.services.get_mut(&service).expect("seen").hold = Some(hold);
    scene
}

#[test]
fn a_hold_ends_when_the_file_says_something_else() {
    let scene = hold(v2_exited_in_green()).edit(|scene| {
        let shop = scene.service("shop");
        scene.stack.services.insert(shop.name.clone(), tagged(shop, "v1"));
        scene.containers_mut().truncate(1);
    });
    let (memory, _) = scene.pass();
    assert_eq!(memory.services.values().next().and_then(|shop| shop.hold.clone()), None);
    assert_snapshot!(scene.plan(), @"shop is settled: runs as declared");
}

#[test]
fn a_release_that_is_never_ready_is_held_at_its_deadline() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .failing("shop", Green, "v2", 1);
    let (memory, _) = scene.pass();
    let late = scene.edit(|scene| {
        scene.memory = memory;
        scene.now = scene.now + std::time::Duration::from_secs(61);
    });
    assert_snapshot!(late.plan(), @r"
        hold shop:v2: not ready within 1m: HTTP 503
        shop is held: not ready within 1m: HTTP 503; still serving shop:v1
    ");
}

#[test]
fn a_failure_in_the_bake_flips_back_in_one_pass() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .failing("shop", Green, "v2", 1)
        .routed("shop", Green, "v2")
        .unrouted_for("shop", Blue, "v1", 5)
        .edit(|scene| {
            let shop = scene.service("shop");
            let memory = scene.memory.services.get_mut(&shop.name).expect("seen");
            memory.previous = Some(placement(&shop, Blue, "v1"));
            memory.good.pop();
            memory.promoted_at = Some(scene.now - std::time::Duration::from_secs(5));
        });
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: green v2 → blue v1
        hold shop:v2: failed after its promotion: demo-shop-green-v2-1: HTTP 503
        shop is held: failed after its promotion: demo-shop-green-v2-1: HTTP 503; going back to shop:v1
    ");
}

#[test]
fn a_wiped_proxy_gets_the_active_slot_back_before_its_probes_are_in() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .replica("shop", Blue, "v1", 1, RUNNING)
        .active("shop", Blue, "v1")
        .unrouted_for("shop", Blue, "v1", 1)
        .replica("shop", Green, "v2", 1, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: nothing → blue v1
        shop is progressing: probing shop:v1
          waits: 0 of 1 ready in green, 1m1s left
    ");
}

#[test]
fn with_proxy_and_memory_gone_the_declared_release_serves_once_ready() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .edit(|scene| scene.memory = quaymaster::domain::Memory::default());
    // The probes of this pass count from now, and need not last.
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: nothing → green v2
        shop is progressing: first deployment
          waits: blue draining, 31s left
    ");
}

#[test]
fn an_active_replica_that_was_removed_is_created_again_and_the_standby_serves() {
    let scene = v2_is_active_and_v1_warm()
        .unrouted_for("shop", Blue, "v1", 60)
        .edit(|scene| scene.containers_mut().truncate(1));
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: green v2 → blue v1
        create demo-shop-green-v2-1 (shop:v2 in green)
        shop is degraded: 0 of 1 replicas ready
    ");
}

#[test]
fn a_replica_that_runs_another_image_than_it_says_is_replaced() {
    let scene = Scene::of([service("shop")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .edit(|scene| scene.containers_mut()[0].image_id = digest("something else"));
    assert_snapshot!(scene.plan(), @r"
        shop is degraded: a replica runs another image than its labels say
          waits: 0 of 1 ready in blue
    ");
}

#[test]
fn while_docker_is_unknown_nothing_moves() {
    let scene = v2_is_ready_in_green().edit(|scene| {
        let failure = quaymaster::domain::snapshot::ObserveFailure::Failed("no socket".to_owned());
        scene.seen.containers = quaymaster::domain::Observed::Unknown(failure);
    });
    assert_snapshot!(scene.plan(), @r"
        shop is unknown: Docker cannot be seen: nothing moves
          waits: Docker cannot be seen: no socket
    ");
}

#[test]
fn a_promotion_is_noted_with_what_it_replaced() {
    let scene = v2_is_ready_in_green().edit(|scene| {
        let (memory, _) = scene.pass();
        scene.memory = memory;
    });
    let flipped = scene.routed("shop", Green, "v2").edit(|scene| {
        let shop = scene.service("shop");
        let memory = scene.memory.services.get_mut(&shop.name).expect("seen");
        memory.active = Some(placement(&shop, Blue, "v1"));
    });
    let (memory, _) = flipped.pass();
    let kinds: Vec<EventKind> = memory.history.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Promoted]);
}

#[test]
fn a_proxy_wiped_while_docker_is_unknown_gets_back_exactly_what_stood() {
    let scene = v2_is_active_and_v1_warm();
    let (memory, _) = scene.pass();
    let both = scene.edit(|scene| {
        scene.memory = memory;
        let failure = quaymaster::domain::snapshot::ObserveFailure::Failed("no socket".to_owned());
        scene.seen.containers = quaymaster::domain::Observed::Unknown(failure);
        let Observed::Known(proxy) = &mut scene.seen.proxy else { return };
        proxy.table.clear();
    });
    let (_, plan) = both.pass();
    let [quaymaster::plan::Step::WriteRoutes { table, .. }] = plan.steps.as_slice() else {
        panic!("one write")
    };
    assert_eq!(*table, both.memory.routes);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_release_that_never_served_is_no_standby() {
    let scene = v2_is_ready_in_green().edit(|scene| {
        let shop = scene.service("shop");
        scene.stack.services.insert(shop.name.clone(), tagged(shop, "v1"));
    });
    assert_snapshot!(scene.plan(), @r"
        stop demo-shop-green-v2-1
        shop is progressing: settling
    ");
}

#[test]
fn a_replica_that_gets_its_restart_policy_keeps_its_traffic() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .routed("shop", Green, "v2")
        .in_hand(Work::Tends);
    let plan = scene.plan();
    assert!(!plan.contains("write routes"), "{plan}");
    assert!(!plan.contains("not ready") && !plan.contains("0 of 1"), "{plan}");
}

#[test]
fn a_replica_that_is_being_stopped_is_not_counted_on() {
    let scene = Scene::of([service("shop")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .in_hand(Work::TakesAway);
    assert!(scene.plan().contains("0 of 1 replicas ready"), "{}", scene.plan());
}

#[test]
fn a_replica_that_we_stopped_ourselves_is_started_again_and_not_held() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1)
        .in_hand(Work::TakesAway);
    let (memory, _) = scene.pass();
    let stopped = scene.edit(|scene| {
        scene.memory = memory;
        scene.seen.busy.clear();
        scene.containers_mut()[1].state = Exited { code: 0 };
    });
    let plan = stopped.plan();
    assert!(plan.starts_with("start demo-shop-green-v2-1"), "{plan}");
}

#[test]
fn a_replica_that_the_list_still_calls_running_after_its_stop_gets_no_traffic() {
    let scene = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1)
        .edit(|scene| {
            let shop = scene.service("shop").name;
            let id = scene.containers()[1].id.clone();
            let container = id.clone();
            scene.seen.outcomes.push(Outcome::Stopped { service: shop, container });
        });
    assert!(!scene.plan().contains("write routes"), "{}", scene.plan());
}

#[test]
fn the_release_before_catches_from_the_flip_on() {
    let flip = Scene::of([tagged(service("shop"), "v2")])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1);
    assert_eq!(standby_of(&flip), Some((Blue, release(&flip.service("shop"), "v1").id)));
    let after = v2_is_active_and_v1_warm().edit(|scene| {
        scene.now = quaymaster::domain::Timestamp(60_000);
    });
    assert_eq!(standby_of(&after), Some((Blue, release(&after.service("shop"), "v1").id)));
}

#[test]
fn nothing_catches_where_the_file_says_so_or_it_is_not_ready() {
    let mut shop = tagged(service("shop"), "v2");
    shop.rollout.failover = Failover::None;
    let unwanted = Scene::of([shop])
        .ready("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1);
    assert_eq!(standby_of(&unwanted), None);
    let failing = Scene::of([tagged(service("shop"), "v2")])
        .failing("shop", Blue, "v1", 1)
        .routed("shop", Blue, "v1")
        .ready("shop", Green, "v2", 1);
    assert_eq!(standby_of(&failing), None);
}

/// What is to catch for the shop after the plan's write of the routes.
fn standby_of(scene: &Scene) -> Option<(Slot, ReleaseId)> {
    let (_, plan) = scene.pass();
    let tables = plan.steps.iter().filter_map(|step| match step {
        Step::WriteRoutes { table, .. } => Some(table),
        _ => None,
    });
    let state = tables.flat_map(|table| table.values()).next().expect("routes are written");
    state.standby.as_ref().map(|standby| (standby.slot, standby.release.clone()))
}
