//! What stands in the idle slot: a declared standby, and what people look at.

use insta::assert_snapshot;
use quaymaster::domain::{Observed, Preview, Service, memory::HeldBy, snapshot::Outcome};
use quaymaster::plan::Step;

use super::scene::*;

fn with_standby(tag: &str) -> Service {
    let mut shop = service("shop");
    shop.standby = Some(format!("shop:{tag}").parse().expect("an image"));
    shop
}

fn settled(shop: Service) -> Scene {
    Scene::of([shop]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1").edit(|scene| {
        let v2 = tagged(scene.service("shop"), "v2");
        let image = local_image(&v2.image);
        let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
        host.images.push(image);
    })
}

#[test]
fn a_declared_standby_is_created_in_the_idle_slot() {
    assert_snapshot!(settled(with_standby("v2")).plan(), @r"
        create demo-shop-green-v2-1 (shop:v2 in green)
        shop is progressing: settling
          waits: standby in green, 0 of 1 ready
    ");
}

#[test]
fn a_standby_that_is_ready_gets_no_traffic() {
    let scene = settled(with_standby("v2")).ready("shop", Green, "v2", 1);
    assert_snapshot!(scene.plan(), @r"
        shop is settled: runs as declared
          waits: standby in green, 1 of 1 ready
    ");
}

#[test]
fn a_standby_waits_until_the_release_before_has_had_its_time() {
    let scene = settled(with_standby("v2")).ready("shop", Green, "v3", 1).edit(|scene| {
        let v3 = placement(&scene.service("shop"), Green, "v3");
        let shop = scene.memory.services.values_mut().next().expect("known");
        (shop.previous, shop.promoted_at) = (Some(v3), Some(NOW));
    });
    assert_snapshot!(scene.plan(), @r"
        write routes
        shop is settled: runs as declared
          waits: green warm for rollback, 1m51s left
    ");
}

#[test]
fn a_standby_that_keeps_exiting_is_held_and_nothing_else_moves() {
    let scene =
        settled(with_standby("v2")).replica("shop", Green, "v2", 1, Exited { code: 3 }).later(0);
    // A reboot ends it as well.
    assert_snapshot!(scene.plan(), @r"
        start demo-shop-green-v2-1
        shop is progressing: settling
          waits: standby in green, 0 of 1 ready
    ");
    let scene = scene.edit(|scene| {
        let id = scene.containers().last().expect("the standby").id.clone();
        scene.remember_replica("shop", &id).deaths = 3;
    });
    let (memory, plan) = scene.pass();
    let hold = plan.steps.into_iter().find_map(|step| match step {
        Step::Hold(new) => Some(new),
        _ => None,
    });
    let hold = hold.expect("it is held");
    assert_eq!(hold.hold.by, HeldBy::Failure);
    let scene = scene.edit(|scene| {
        scene.memory = memory;
        let service = hold.service.clone();
        scene.seen.outcomes =
            vec![Outcome::Held { service, of: hold.of, hold: Box::new(hold.hold) }];
    });
    assert_snapshot!(scene.later(0).edit(|scene| scene.seen.outcomes.clear()).plan(), @r"
        remove demo-shop-green-v2-1
        shop is degraded: the standby failed: demo-shop-green-v2-1 exited with code 3
    ");
}

#[test]
fn a_standby_that_the_file_makes_its_own_only_flips() {
    let scene = settled(with_standby("v2")).ready("shop", Green, "v2", 1).later(0).edit(|scene| {
        let name = "shop".parse().expect("a name");
        let shop = scene.stack.services.get_mut(&name).expect("declared");
        shop.image = shop.standby.take().expect("it had one");
    });
    assert_snapshot!(scene.plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn people_look_at_a_release_that_waits() {
    let mut shop = tagged(service("shop"), "v2");
    shop.rollout.auto_promote = false;
    let route = shop.route.as_mut().expect("a route");
    route.preview = Some(Preview::Host("preview.example".to_owned()));
    let scene = Scene::of([shop])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Green, "v2", 1)
        .routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        write routes: shop--preview: nothing → green v2
        shop is progressing: ready in green, to be promoted: quaymaster promote shop; serving shop:v1
          waits: ready in green, to be promoted by hand
    ");
    let plan = scene.pass().1;
    let table = plan.table().expect("it is written");
    let preview = &table[&"shop--preview".parse().expect("a name")];
    assert_eq!(preview.route.hosts, ["preview.example"]);
    assert_eq!(preview.backend.slot, Green);
}
