//! How one release replaces another, each under traffic.

use super::{shop, shop_with};
use crate::rig::host::Host;

/// A host that serves v1 from blue and has v2 at hand.
fn serving_v1(services: &str) -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(services);
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

#[test]
fn a_declared_flip_moves_the_route_to_the_other_slot() {
    let host = serving_v1(&shop("v1", "blue"));
    let traffic = host.traffic("shop");
    host.save(&shop("v2", "green"));
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    // The old release is still warm.
    let slots: Vec<String> = host.running("shop").into_iter().map(|r| r.slot).collect();
    assert!(slots.contains(&"blue".to_owned()), "{slots:?}");
}

#[test]
fn an_auto_flip_takes_the_idle_slot() {
    let host = serving_v1(&shop("v1", "auto"));
    let traffic = host.traffic("shop");
    host.save(&shop("v2", "auto"));
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
}

#[test]
fn a_changed_image_in_the_same_slot_is_swapped() {
    let host = serving_v1(&shop("v1", "blue"));
    let traffic = host.traffic("shop");
    host.save(&shop("v2", "blue"));
    host.until_answers("shop", "v2 blue");
    host.until_settled();
    let seen = traffic.end();
    seen.assert_none_failed();
    host.until_seen("the old release is gone", || {
        let releases: Vec<_> = host.replicas().into_iter().map(|r| r.release).collect();
        (releases.len() == 1).then_some(())
    });
}

#[test]
fn a_rolling_service_never_runs_more_than_one_replica_extra_nor_less_than_half() {
    let rolling = |version: &str| {
        shop_with(
            version,
            "blue",
            "    deploy: { replicas: 3 }\n    rollout: { strategy: rolling }\n",
        )
    };
    let host = serving_v1(&rolling("v1"));
    let traffic = host.traffic("shop");
    let old: Vec<String> = host.running("shop").into_iter().map(|r| r.release).collect();
    host.save(&rolling("v2"));
    let (mut fewest, mut most) = (usize::MAX, 0);
    host.until_seen("three replicas of v2 and none of v1", || {
        let running = host.running("shop");
        (fewest, most) = (fewest.min(running.len()), most.max(running.len()));
        (running.len() == 3 && running.iter().all(|r| !old.contains(&r.release))).then_some(())
    });
    assert!(fewest >= 2, "only {fewest} replicas ran at some time");
    assert!(most <= 4, "{most} replicas ran at some time");
    host.until_answers("shop", "v2 blue");
    host.until_settled();
    traffic.end().assert_none_failed();
}

#[test]
fn a_recreated_service_keeps_its_volume_and_never_runs_twice() {
    let store = |version: &str| {
        format!(
            "services:\n  shop:\n    image: APP:{version}\n    volumes: [\"data:/data\"]\n    \
             environment: {{ DATA_DIR: /data }}\n    route: {{ host: shop.HOST, port: 8080 }}\n    \
             probe: {{ http: {{ path: /health, port: 8080 }} }}\n    \
             rollout: {{ strategy: recreate }}\nvolumes: {{ data: {{}} }}\n"
        )
    };
    let host = serving_v1(&store("v1"));
    host.own_volume("data");
    host.save(&store("v2"));
    let mut most = 0;
    host.until_seen("v2 serves", || {
        most = most.max(host.running("shop").len());
        host.site("shop").banner().filter(|banner| banner.starts_with("v2 "))
    });
    assert_eq!(most, 1, "two releases ran on one volume");
    let (_, starts) = host.site("shop").get("/data").expect("the store answers");
    let versions: Vec<&str> = starts.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(versions, ["v1", "v2"], "what v1 wrote did not survive");
}

#[test]
fn a_failed_recreate_brings_the_last_good_release_back_on_its_volume() {
    let store = |version: &str| {
        format!(
            "services:\n  shop:\n    image: APP:{version}\n    volumes: [\"data:/data\"]\n    \
             environment: {{ DATA_DIR: /data }}\n    route: {{ host: shop.HOST, port: 8080 }}\n    \
             probe: {{ http: {{ path: /health, port: 8080 }} }}\n    \
             rollout: {{ strategy: recreate }}\nvolumes: {{ data: {{}} }}\n"
        )
    };
    let host = serving_v1(&store("v1"));
    host.own_volume("data");
    host.image_with("v3", &[("SAY", "no such table"), ("EXIT_AFTER", "0"), ("EXIT_CODE", "3")]);
    host.save(&store("v3"));
    host.until("v3 is held", |s| s.service("shop").state == "held");
    host.until_answers("shop", "v1 blue");
    let (_, starts) = host.site("shop").get("/data").expect("the store answers");
    assert!(starts.lines().all(|line| line.starts_with("v1 ")), "{starts}");
}

#[test]
fn a_worker_cuts_over_when_the_new_one_is_ready() {
    let worker = |version: &str, more: &str| {
        format!(
            "services:\n  worker:\n    image: APP:{version}\n    \
             probe: {{ http: {{ path: /health, port: 8080 }} }}\n{more}"
        )
    };
    let mut host = Host::new();
    host.image("v1");
    host.image_with("v2", &[("START_DELAY", "0.5")]);
    host.save(&worker("v1", ""));
    host.start();
    host.until_settled();
    let old = host.running("worker").remove(0);
    host.save(&worker("v2", ""));
    let mut gap = false;
    host.until_seen("only v2 runs", || {
        let running = host.running("worker");
        gap |= running.is_empty();
        (running.len() == 1 && running[0].release != old.release).then_some(())
    });
    assert!(!gap, "no worker ran for a moment");
    host.until_settled();
}

#[test]
fn more_replicas_are_added_without_touching_those_that_run() {
    let replicas = |n: u32| shop_with("v1", "blue", &format!("    deploy: {{ replicas: {n} }}\n"));
    let host = serving_v1(&replicas(1));
    let first = host.running("shop").remove(0);
    host.save(&replicas(3));
    host.until_seen("three replicas run", || (host.running("shop").len() == 3).then_some(()));
    host.until_settled();
    assert!(host.running("shop").contains(&first), "the first replica was replaced");
}

#[test]
fn a_service_that_left_the_file_is_taken_away() {
    let two = format!("{}  side:\n    image: APP:v1\n", shop("v1", "blue"));
    let host = serving_v1(&two);
    assert_eq!(host.running("side").len(), 1);
    let traffic = host.traffic("shop");
    host.save(&shop("v1", "blue"));
    host.until_seen("side is gone", || {
        host.replicas().iter().all(|replica| replica.service != "side").then_some(())
    });
    host.until_settled();
    traffic.end().assert_none_failed();
}
