//! What others break is made whole.

use std::process::Command;

use super::shop_with;
use crate::rig::{docker::docker, host::Host, run};

fn two_replicas_of_v1() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop_with("v1", "blue", "    deploy: { replicas: 2 }\n"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

#[test]
fn a_removed_replica_is_created_again() {
    let host = two_replicas_of_v1();
    let gone = host.running("shop").remove(0);
    docker(&["rm", "--force", &gone.id]);
    host.until_seen("two replicas run", || {
        let running = host.running("shop");
        (running.len() == 2 && running.iter().all(|r| r.id != gone.id)).then_some(())
    });
    host.until_settled();
    host.until_answers("shop", "v1 blue");
}

#[test]
fn a_killed_replica_comes_back() {
    let host = two_replicas_of_v1();
    let killed = host.running("shop").remove(0);
    docker(&["kill", &killed.id]);
    host.until_seen("two replicas run, one of them started anew", || {
        let running = host.running("shop");
        (running.len() == 2 && !running.contains(&killed)).then_some(())
    });
    host.until_settled();
    host.until_answers("shop", "v1 blue");
}

#[test]
fn a_caddy_that_restarted_empty_gets_its_routes_back() {
    let mut host = two_replicas_of_v1();
    host.save(&shop_with("v2", "green", "    deploy: { replicas: 2 }\n"));
    host.until_answers("shop", "v2 green");
    host.until_settled();
    host.edge.restart_empty();
    // The slot that was active, though nothing in Caddy remembers it.
    host.until_answers("shop", "v2 green");
    host.until_settled();
}

#[test]
fn a_caddy_that_comes_and_goes_wakes_the_loop() {
    let mut host = two_replicas_of_v1();
    host.edge.restart_empty();
    host.until_answers("shop", "v1 blue");
    host.until("the shop is settled", |s| s.service("shop").is_settled_in("blue"));
    // All is quiet: wakes that come together are one, and tell of one cause.
    let logged = host.log().len();
    host.until_seen("two ticks", || {
        (host.log()[logged..].matches("woken_by=due").count() >= 2).then_some(())
    });
    let logged = host.log().len();
    host.edge.kill();
    host.until_seen("its end is noticed", || {
        host.log()[logged..].contains("woken_by=caddy").then_some(())
    });
    host.until("the proxy is missed", |s| s.service("shop").state == "unknown");
    host.edge.run();
    host.until_answers("shop", "v1 blue");
}

#[test]
fn a_reload_in_mid_rollout_loses_no_rollout() {
    let host = two_replicas_of_v1();
    host.image_with("slow", &[("START_DELAY", "1")]);
    host.save(&shop_with("slow", "green", "    deploy: { replicas: 2 }\n"));
    host.until_seen("the new release starts", || (host.running("shop").len() > 2).then_some(()));
    host.edge.reload_with("edited by an operator");
    host.until_answers("shop", "slow green");
    host.until_settled();
    // And the operator's edit stands.
    let elsewhere =
        crate::rig::client::Site { host: "elsewhere.test".into(), port: host.edge.port };
    let (status, body) = elsewhere.get("/").expect("Caddy answers");
    assert_eq!((status, body.as_str()), (404, "edited by an operator"));
}

#[test]
fn with_caddy_down_nothing_flips_and_nothing_stops() {
    let mut host = two_replicas_of_v1();
    let before = host.running("shop");
    host.edge.kill();
    host.save(&shop_with("v2", "green", "    deploy: { replicas: 2 }\n"));
    host.until("the proxy is missed", |s| s.service("shop").state != "settled");
    let still: Vec<_> = host.running("shop");
    assert!(before.iter().all(|replica| still.contains(replica)), "{still:#?}");
    host.edge.run();
    host.until_answers("shop", "v2 green");
    host.until_settled();
}

#[test]
fn a_sighup_only_wakes() {
    let mut host = two_replicas_of_v1();
    let before = host.replicas();
    host.signal("HUP");
    host.until_settled();
    assert_eq!(host.replicas(), before);
    assert!(host.terminate().success());
    assert_eq!(host.replicas(), before, "SIGTERM did not leave everything running");
    // The traffic does not need the controller.
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
}

#[test]
fn a_stopped_replica_is_not_left_stopped() {
    let host = two_replicas_of_v1();
    let stopped = host.running("shop").remove(0);
    run(Command::new("docker").args(["stop", &stopped.id]));
    host.until_seen("two replicas run", || (host.running("shop").len() == 2).then_some(()));
    host.until_settled();
}

#[test]
fn a_route_edited_by_hand_is_put_right() {
    let host = two_replicas_of_v1();
    let removed = host.edge.admin_request("DELETE", &format!("/id/quaymaster-{}", host.stack));
    assert!(removed.starts_with("HTTP/1.1 200"), "{removed}");
    host.until_answers("shop", "v1 blue");
    host.until("the shop is settled", |s| s.service("shop").is_settled_in("blue"));
}

#[test]
fn a_proxy_that_the_file_names_no_more_is_rid_of_our_routes() {
    let host = two_replicas_of_v1();
    let ours = format!("/id/quaymaster-{}", host.stack);
    assert!(host.edge.admin_request("GET", &ours).starts_with("HTTP/1.1 200"));
    let file = host.file("services:\n  shop:\n    image: APP:v1\n    slot: blue\n");
    let is_proxy = |line: &&str| line.starts_with("proxy:");
    let without: Vec<&str> = file.lines().filter(|line| !is_proxy(line)).collect();
    host.save_raw(&without.join("\n"));
    host.until_seen("our routes are gone", || {
        host.edge.admin_request("GET", &ours).starts_with("HTTP/1.1 404").then_some(())
    });
    host.until_settled();
}
