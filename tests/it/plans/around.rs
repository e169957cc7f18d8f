//! What is around a rollout: dependencies, pulls, orphans, images, pace.

use std::time::Duration;

use insta::assert_snapshot;
use quaymaster::domain::{
    DependsOn, Observed, Timestamp,
    memory::Attempts,
    release::{Mount, MountSource},
    snapshot::{Disk, Failure, FailureKind, Outcome, Subject},
};

use super::scene::*;

#[test]
fn a_service_waits_for_its_dependencies() {
    let web = depends(service("web"), "db", DependsOn::ServiceHealthy);
    let scene = Scene::of([web, worker("db")]).replica("db", Blue, "v1", 1, RUNNING);
    assert_snapshot!(scene.plan(), @r"
        db is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left
        web is progressing: first deployment
          waits: db to be healthy
    ");
    let web = depends(service("web"), "db", DependsOn::ServiceHealthy);
    let scene = Scene::of([web, worker("db")]).ready("db", Blue, "v1", 1);
    assert_snapshot!(scene.plan(), @r"
        set restart policy of demo-db-blue-v1-1
        create demo-web-blue-v1-1 (web:v1 in blue)
        db is progressing: settling
          waits: baking, 11s left
        web is progressing: first deployment
    ");
}

fn without_images(scene: Scene) -> Scene {
    scene.edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { return };
        host.images.clear();
    })
}

#[test]
fn an_image_that_is_not_here_is_pulled_first() {
    assert_snapshot!(without_images(Scene::of([service("shop")])).plan(), @r"
        pull shop:v1
        shop is progressing: pulling the image
          waits: pulling shop:v1
    ");
}

#[test]
fn no_pull_starts_on_a_full_disk() {
    let scene = without_images(Scene::of([service("shop")])).edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { return };
        host.disk = Some(Disk { total_bytes: 1000, free_bytes: 50 });
    });
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: no room for its image
          waits: disk space: 5 % free, 10 % needed before a pull
    ");
}

fn pull_failed(kind: FailureKind) -> Scene {
    without_images(Scene::of([service("shop")])).edit(|scene| {
        let message = "manifest unknown".to_owned();
        let image = scene.service("shop").image;
        let result = Err(Failure { kind, message });
        scene.seen.outcomes.push(Outcome::Pulled { image, result });
    })
}

#[test]
fn a_refused_pull_is_held_at_once() {
    assert_snapshot!(pull_failed(FailureKind::Refused).plan(), @r"
        hold shop:v1: manifest unknown
        shop is held: manifest unknown; nothing else to serve
    ");
}

#[test]
fn a_pull_that_may_work_later_is_paced() {
    assert_snapshot!(pull_failed(FailureKind::Transient).plan(), @r"
        shop is progressing: pulling the image
          waits: try 2 in 1s: manifest unknown
    ");
    let retry_after = Some(Duration::from_secs(90));
    assert_snapshot!(pull_failed(FailureKind::RateLimited { retry_after }).plan(), @r"
        shop is progressing: pulling the image
          waits: try 2 in 1m31s: manifest unknown
    ");
}

#[test]
fn a_foreign_container_with_our_name_is_said_and_left() {
    let scene = Scene::of([service("shop")]).edit(|scene| {
        let shop = scene.service("shop").name;
        let message = "container 0123 has the name and is not ours".to_owned();
        let failure = Failure { kind: FailureKind::NameTaken, message };
        let subject = Subject::Replica { service: shop, container: "demo-shop".to_owned() };
        scene.seen.outcomes.push(Outcome::Failed { subject, failure });
    });
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: first deployment
          waits: try 2 in 1s: container 0123 has the name and is not ours
    ");
}

#[test]
fn an_orphan_loses_its_route_then_drains_then_goes() {
    let declared = || Scene::of([service("shop"), service("old")]).ready("old", Blue, "v1", 1);
    let undeclare = |scene: &mut Scene| {
        let old = scene.service("old").name;
        scene.stack.services.remove(&old);
    };
    let routed = declared().routed("old", Blue, "v1").edit(undeclare);
    assert_snapshot!(routed.plan(), @r"
        write routes: old: blue 02caef948fbf → nothing
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        old is progressing: not in the file any more: being removed
          waits: the step in hand
        shop is progressing: first deployment
    ");
    let draining = declared().unrouted_for("old", Blue, "v1", 5).edit(undeclare);
    assert_snapshot!(draining.plan(), @r"
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        old is progressing: not in the file any more: being removed
          waits: blue draining, 26s left
        shop is progressing: first deployment
    ");
    let drained = declared().unrouted_for("old", Blue, "v1", 31).edit(undeclare);
    assert_snapshot!(drained.plan(), @r"
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        stop demo-old-blue-02caef948fbf-1
        old is progressing: not in the file any more: being removed
        shop is progressing: first deployment
    ");
    assert_snapshot!(drained.proxy_is_unknown().plan(), @r"
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        shop is unknown: the proxy cannot be seen: nothing moves
          waits: the proxy cannot be seen: connection refused
    ");
}

#[test]
fn missing_networks_and_volumes_are_made_before_the_container() {
    let mut shop = service("shop");
    let source = MountSource::Volume("demo_data".to_owned());
    shop.spec.mounts.push(Mount { source, target: "/data".to_owned(), read_only: true });
    let scene = Scene::of([shop]).edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { return };
        host.networks.clear();
    });
    assert_snapshot!(scene.plan(), @r"
        create network demo_default
        create volume demo_data
        shop is progressing: first deployment
    ");
}

#[test]
fn an_image_that_nothing_needs_is_removed_only_if_this_stack_pulled_it() {
    let settled = || {
        Scene::of([service("shop")])
            .ready("shop", Blue, "v1", 1)
            .routed("shop", Blue, "v1")
            .replica("other", Blue, "v3", 1, Created)
            .edit(|scene| {
                scene.containers_mut().truncate(1);
                scene.memory.services.retain(|name, _| name.as_str() == "shop");
            })
    };
    assert_eq!(settled().plan().matches("remove image").count(), 1);
    let foreign = settled().edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { return };
        host.images.iter_mut().for_each(|image| image.pulled_as.clear());
    });
    assert_eq!(foreign.plan().matches("remove image").count(), 0);
}

#[test]
fn steps_that_failed_are_tried_again_at_their_pace() {
    let failure = Failure { kind: FailureKind::Transient, message: "port is taken".to_owned() };
    let scene = Scene::of([service("shop")]).edit(|scene| {
        let shop = scene.service("shop").name;
        let last_at = Timestamp(scene.now.0 - 1000);
        let attempts = Attempts { count: 3, last_at, failure };
        scene.memory.services.entry(shop).or_default().failed_steps = Some(attempts);
    });
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: first deployment
          waits: try 4 in 2s: port is taken
    ");
}

#[test]
fn a_surplus_replica_leaves_the_route_first() {
    let scene = Scene::of([service("shop")])
        .ready("shop", Blue, "v1", 1)
        .ready("shop", Blue, "v1", 2)
        .routed("shop", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        write routes
        shop is settled: runs as declared
    ");
}

#[test]
fn waiting_for_a_dependency_does_not_count_against_the_deadline() {
    let web = depends(service("web"), "db", DependsOn::ServiceHealthy);
    let mut scene = Scene::of([web, worker("db")]).replica("db", Blue, "v1", 1, RUNNING);
    for _ in 0..3 {
        let (memory, _) = scene.pass();
        scene.memory = memory;
        scene.now = scene.now + Duration::from_secs(40);
    }
    let (memory, _) = scene.pass();
    let web = scene.service("web").name;
    assert_eq!(memory.service(&web).rollout.and_then(|rollout| rollout.started_at), None);
}

#[test]
fn a_refused_write_to_the_proxy_is_paced_and_said() {
    let scene = Scene::of([service("shop")]).ready("shop", Blue, "v1", 1).edit(|scene| {
        let message = "two servers listen on :443".to_owned();
        let failure = Failure { kind: FailureKind::Refused, message };
        scene.seen.outcomes.push(Outcome::Failed { subject: Subject::Proxy, failure });
    });
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: first deployment
          waits: try 2 in 1s: two servers listen on :443
    ");
}

#[test]
fn with_the_state_folder_lost_no_route_goes_before_the_probes_have_told() {
    let lost = |scene: Scene| {
        scene.edit(|scene| {
            scene.memory = quaymaster::domain::Memory::default();
            let Observed::Known(proxy) = &mut scene.seen.proxy else { panic!("it is known") };
            // Caddy goes on by itself, and nothing tells which release answers.
            proxy.table.clear();
            proxy.intact = false;
            proxy.unclear = ["web", "api"].map(|name| name.parse().expect("a name")).into();
        })
    };
    let unprobed = lost(Scene::of([service("web")]).replica("web", Blue, "v1", 1, RUNNING));
    assert_snapshot!(unprobed.plan(), @r"
        web is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left
    ");
    let probed = lost(Scene::of([service("web")]).ready("web", Blue, "v1", 1));
    assert_snapshot!(probed.plan(), @r"
        write routes: web: nothing → blue v1
        web is progressing: first deployment
    ");
    // Whoever is probed first does not cost the others their routes.
    let two = Scene::of([service("web"), service("api")]).ready("web", Blue, "v1", 1);
    let one_is_probed = lost(two.replica("api", Blue, "v1", 1, RUNNING));
    assert_snapshot!(one_is_probed.plan(), @r"
        api is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left
        web is progressing: first deployment
    ");
    let failing = lost(Scene::of([service("web")]).failing("web", Blue, "v1", 1));
    assert_snapshot!(failing.plan(), @r"
        write routes
        web is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left (HTTP 503)
    ");
}

#[test]
fn a_release_keeps_the_commit_that_first_declared_it() {
    let commit = |digit: char| Some(digit.to_string().repeat(40).parse().expect("a commit"));
    let mut scene = Scene::of([service("shop")]);
    scene.stack.commit = commit('a');
    let (memory, _) = scene.pass();
    let name = scene.service("shop").name;
    assert_eq!(memory.services[&name].releases[0].commit, commit('a'));
    // Another commit of the same makes no other release, and does not claim it.
    scene.memory = memory.clone();
    scene.stack.commit = commit('b');
    let (again, _) = scene.pass();
    assert_eq!(again.services[&name].releases, memory.services[&name].releases);
    // What is stored by a controller that knew no commits is read all the same.
    let mut stored = serde_json::to_value(&memory).expect("plain data");
    let release = &mut stored["services"]["shop"]["releases"][0];
    release.as_object_mut().expect("a release").remove("commit");
    let read: quaymaster::domain::Memory = serde_json::from_value(stored).expect("it is read");
    assert_eq!(read.services[&name].releases[0].commit, None);
}
