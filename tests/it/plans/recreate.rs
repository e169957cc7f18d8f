//! Recreate: what must not run twice.

use insta::assert_snapshot;
use quaymaster::domain::{Service, ServiceKind, Strategy, release::RestartPolicy};

use super::scene::*;

fn database(tag: &str) -> Service {
    let mut database = tagged(worker("db"), tag);
    database.rollout.strategy = Strategy::Recreate;
    database
}

fn job(tag: &str) -> Service {
    let mut job = database(tag);
    job.kind = ServiceKind::OneShot;
    job.spec.restart = RestartPolicy::No;
    job
}

#[test]
fn the_old_one_stops_first_once_everything_is_at_hand() {
    let scene = Scene::of([database("v2")]).ready("db", Blue, "v1", 1).active("db", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        stop demo-db-blue-v1-1
        db is progressing: rolling out; serving db:v1
    ");
}

#[test]
fn nothing_stops_before_the_image_is_here() {
    let scene = Scene::of([database("v2")])
        .ready("db", Blue, "v1", 1)
        .active("db", Blue, "v1")
        .edit(|scene| {
            let quaymaster::domain::Observed::Known(host) = &mut scene.seen.host else { return };
            host.images.retain(|image| !image.tags.contains("db:v2"));
        });
    assert_snapshot!(scene.plan(), @r"
        pull db:v2
        db is progressing: pulling the image
          waits: pulling db:v2
    ");
}

#[test]
fn the_new_one_starts_when_the_old_one_is_down() {
    let scene = Scene::of([database("v2")])
        .replica("db", Blue, "v1", 1, Exited { code: 0 })
        .active("db", Blue, "v1");
    assert_snapshot!(scene.plan(), @r"
        create demo-db-blue-v2-1 (db:v2 in blue)
        db is progressing: one stops, the other starts
    ");
}

#[test]
fn the_old_container_stays_until_the_bake_is_over() {
    let scene = Scene::of([database("v2")])
        .replica("db", Blue, "v1", 1, Exited { code: 0 })
        .active("db", Blue, "v1")
        .ready("db", Blue, "v2", 1);
    assert_snapshot!(scene.plan(), @r"
        set restart policy of demo-db-blue-v2-1
        db is progressing: settling
          waits: baking, 11s left
    ");
    let baked = scene.active("db", Blue, "v2");
    assert_snapshot!(baked.plan(), @r"
        remove demo-db-blue-v1-1
        db is progressing: settling
    ");
}

#[test]
fn the_last_good_one_comes_back_if_the_new_one_fails() {
    let scene = Scene::of([database("v2")])
        .replica("db", Blue, "v1", 1, Exited { code: 0 })
        .active("db", Blue, "v1")
        .replica("db", Blue, "v2", 1, Exited { code: 1 });
    let (mut memory, plan) = scene.pass();
    assert_snapshot!(scene.plan(), @r"
        hold db:v2: demo-db-blue-v2-1 exited with code 1
        db is held: demo-db-blue-v2-1 exited with code 1; going back to db:v1
    ");
    let quaymaster::plan::Step::Hold(new) = &plan.steps[0] else { panic!("a hold") };
    memory.services.get_mut(&new.service).expect("seen").hold = Some(new.hold.clone());
    let held = scene.edit(|scene| scene.memory = memory);
    assert_snapshot!(held.plan(), @r"
        start demo-db-blue-v1-1
        remove demo-db-blue-v2-1
        db is held: demo-db-blue-v2-1 exited with code 1; going back to db:v1
          waits: 0 of 1 ready in blue
    ");
}

#[test]
fn a_job_runs_once_and_is_settled_by_its_exit_code() {
    assert_snapshot!(Scene::of([job("v1")]).plan(), @r"
        create demo-db-blue-v1-1 (db:v1 in blue)
        db is progressing: first deployment
    ");
    let running = Scene::of([job("v1")]).replica("db", Blue, "v1", 1, RUNNING);
    assert_snapshot!(running.plan(), @r"
        db is progressing: first deployment
          waits: 0 of 1 ready in blue, 1m1s left
    ");
    let done = Scene::of([job("v1")]).replica("db", Blue, "v1", 1, Exited { code: 0 });
    assert_snapshot!(done.plan(), @"db is settled: runs as declared");
    let failed = Scene::of([job("v1")]).replica("db", Blue, "v1", 1, Exited { code: 2 });
    assert_snapshot!(failed.plan(), @r"
        hold db:v1: demo-db-blue-v1-1 exited with code 2
        db is held: demo-db-blue-v1-1 exited with code 2; nothing else to serve
    ");
}

#[test]
fn a_job_that_was_done_is_not_done_again_for_want_of_its_container() {
    let pruned = |scene: Scene| {
        scene.edit(|scene| {
            scene.containers_mut().clear();
        })
    };
    let done = Scene::of([job("v1")]).replica("db", Blue, "v1", 1, Exited { code: 0 });
    assert_snapshot!(pruned(done.later(1_000)).plan(), @"db is settled: runs as declared");
    // What was not done is.
    let running = Scene::of([job("v1")]).replica("db", Blue, "v1", 1, RUNNING);
    assert_snapshot!(pruned(running.later(1_000)).plan(), @r"
        create demo-db-blue-v1-1 (db:v1 in blue)
        db is progressing: first deployment
    ");
}
