//! Events wake, and are always drained.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use quaymaster::docker::{Docker, Options, Wake};

use super::{Berth, docker, eventually, fake, only};

fn counted() -> (Wake, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    (
        Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }),
        count,
    )
}

async fn more_than(count: &AtomicUsize, before: usize) {
    eventually(|| async { (count.load(Ordering::SeqCst) > before).then_some(()) }).await;
}

#[tokio::test]
async fn what_happens_to_a_replica_wakes() {
    let mut berth = Berth::new();
    let (wake, wakes) = counted();
    let engine = berth.docker_with(Options { wake, ..Options::default() }).await;
    let id = berth.running(&engine, &["serve"]).await.id;
    let _watch = engine.watch_events();
    more_than(&wakes, 0).await;
    // What it replays from before it was opened has passed once nothing more comes.
    let quiet = settled(&wakes).await;
    docker(&["kill", &id.0]);
    more_than(&wakes, quiet).await;
    let quiet = settled(&wakes).await;
    docker(&["start", &id.0]);
    more_than(&wakes, quiet).await;
}

/// Returns the count once it has stood still for a while.
async fn settled(count: &AtomicUsize) -> usize {
    eventually(|| async {
        let before = count.load(Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        (count.load(Ordering::SeqCst) == before).then_some(before)
    })
    .await
}

#[tokio::test]
async fn neither_another_stacks_events_nor_an_exec_wake() {
    let mut berth = Berth::new();
    let mut other = Berth::new();
    let (wake, wakes) = counted();
    let engine = berth.docker_with(Options { wake, ..Options::default() }).await;
    let ours = berth.running(&engine, &["serve"]).await.id;
    let theirs = other.running(&other.docker().await, &["serve"]).await.id;
    let _watch = engine.watch_events();
    more_than(&wakes, 0).await;
    let quiet = settled(&wakes).await;
    docker(&["kill", &theirs.0]);
    docker(&["exec", &ours.0, "/tiny", "exit"]);
    // The engine sends in order: once ours has come, theirs would have.
    docker(&["pause", &ours.0]);
    more_than(&wakes, quiet).await;
    docker(&["unpause", &ours.0]);
    assert_eq!(settled(&wakes).await, quiet + 2);
}

#[tokio::test]
async fn a_flood_is_drained_and_an_ended_stream_opened_again() {
    const FLOOD: usize = 5000;
    let (engine, opened) = fake::engine("1.41", FLOOD).await;
    let (wake, wakes) = counted();
    let host = Some(format!("tcp://{}", engine.host()));
    let options = Options { host, wake, ..Options::default() };
    let stack = Berth::new();
    let docker = Docker::connect(&stack.stack, options).await.expect("it answers");
    let watch = docker.watch_events();
    eventually(|| async { (opened.load(Ordering::SeqCst) >= 3).then_some(()) }).await;
    drop(watch);
    assert!(wakes.load(Ordering::SeqCst) >= 2 * (FLOOD + 1), "{wakes:?}");
}

#[tokio::test]
async fn a_watch_that_is_dropped_ends() {
    let mut berth = Berth::new();
    let (wake, wakes) = counted();
    let engine = berth.docker_with(Options { wake: wake.clone(), ..Options::default() }).await;
    berth.running(&engine, &["serve"]).await;
    let watch = engine.watch_events();
    more_than(&wakes, 0).await;
    drop(watch);
    drop(engine);
    // Nobody but this test holds the callback any more.
    eventually(|| async { (Arc::strong_count(&wake) == 1).then_some(()) }).await;
    only(&berth.docker().await).await;
}
