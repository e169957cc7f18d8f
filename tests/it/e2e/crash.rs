//! `kill -9` at every phase of a rollout: the next start continues.

use super::shop;
use crate::rig::host::Host;

/// What is seen when the controller is killed.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The edit was saved just now.
    Saved,
    /// The new release's container is there, perhaps not started.
    Created,
    /// It runs and is not ready.
    Starting,
    /// It has the traffic.
    Flipped,
}

fn survives(phase: Phase) {
    let mut host = Host::new();
    host.image("v1");
    host.image_with("v2", &[("START_DELAY", "0.4")]);
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();

    let traffic = host.traffic("shop");
    host.save(&shop("v2", "green"));
    host.until_seen(&format!("{phase:?}"), || {
        let all = host.replicas();
        let green = all.iter().find(|replica| replica.slot == "green");
        let reached = match phase {
            Phase::Saved => true,
            Phase::Created => green.is_some(),
            Phase::Starting => green.is_some_and(|replica| replica.running),
            Phase::Flipped => host.site("shop").banner().as_deref() == Some("v2 green"),
        };
        reached.then_some(())
    });
    host.kill();
    host.start();

    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    // One replica a slot: the killed controller left nothing behind.
    let slots: Vec<String> = host.replicas().into_iter().map(|replica| replica.slot).collect();
    assert_eq!(slots, ["blue", "green"]);
}

#[test]
fn a_controller_killed_when_a_file_is_saved_continues() {
    survives(Phase::Saved);
}

#[test]
fn a_controller_killed_when_a_container_is_created_continues() {
    survives(Phase::Created);
}

#[test]
fn a_controller_killed_while_a_release_starts_continues() {
    survives(Phase::Starting);
}

#[test]
fn a_controller_killed_after_a_flip_continues() {
    survives(Phase::Flipped);
}

#[test]
fn a_controller_killed_again_and_again_still_arrives() {
    let mut host = Host::new();
    host.image("v1");
    host.image_with("v2", &[("START_DELAY", "0.4")]);
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let traffic = host.traffic("shop");
    host.save(&shop("v2", "green"));
    for _ in 0..20 {
        host.kill();
        host.start();
        // As soon as it is up enough to listen, and thus somewhere in its pass.
        host.until_seen("a controller that listens", || host.is_listening().then_some(()));
    }
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
}

#[test]
fn a_controller_that_lost_its_store_disturbs_nothing() {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop("v1", "auto"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.save(&shop("v2", "auto"));
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    let traffic = host.traffic("shop");
    host.kill();
    host.lose_store();
    host.start();
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    assert_eq!(host.site("shop").banner().as_deref(), Some("v2 green"));
}
