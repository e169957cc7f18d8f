//! Releases that fail: each ends held, and the one before it serves.

use super::{shop, shop_with};
use crate::rig::{host::Host, status::ServiceStatus};

fn serving_v1() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

/// Saves a bad release and waits until it is held; v1 must not have missed a
/// request, and nothing of the bad release is left.
fn assert_held(host: &Host, services: &str) -> ServiceStatus {
    let traffic = host.traffic("shop");
    host.save(services);
    let status = host.until("the bad release is held", |s| s.service("shop").state == "held");
    host.until_seen("its containers are gone", || (host.replicas().len() == 1).then_some(()));
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
    traffic.end().assert_none_failed();
    status.service("shop").clone()
}

#[test]
fn a_release_that_never_becomes_ready_is_held() {
    let host = serving_v1();
    host.image_with("bad", &[("UNHEALTHY", "1")]);
    let short = "    rollout: { progress_deadline: 3s }\n";
    let held = assert_held(&host, &shop_with("bad", "green", short));
    assert!(held.reason.unwrap_or_default().contains("503"), "the probe's words are not told");
}

#[test]
fn a_release_that_exits_at_once_is_held_with_its_log() {
    let host = serving_v1();
    let complaint = "fatal: relation orders does not exist";
    host.image_with("bad", &[("SAY", complaint), ("EXIT_AFTER", "0"), ("EXIT_CODE", "3")]);
    assert_held(&host, &shop("bad", "green"));
    let logs = host.quaymaster(&["logs", "shop"]);
    let status = host.quaymaster(&["status"]);
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&logs.stdout),
        String::from_utf8_lossy(&status.stdout)
    );
    assert!(told.contains(complaint), "its last words are lost: {told}");
}

#[test]
fn a_swap_to_a_release_that_exits_at_once_is_held() {
    let host = serving_v1();
    host.image_with("bad", &[("EXIT_AFTER", "0"), ("EXIT_CODE", "3")]);
    assert_held(&host, &shop("bad", "blue"));
}

#[test]
fn an_image_whose_command_does_not_exist_is_held() {
    let host = serving_v1();
    let broken = "    entrypoint: [\"/no/such/program\"]\n";
    let held = assert_held(&host, &shop_with("v1", "green", broken));
    assert!(held.reason.is_some());
}

#[test]
fn a_flapping_release_gets_no_traffic() {
    let host = serving_v1();
    host.image_with("bad", &[("FLAP", "1")]);
    let short = "    rollout: { progress_deadline: 3s }\n";
    assert_held(&host, &shop_with("bad", "green", short));
}

#[test]
fn a_held_release_is_not_tried_again_until_someone_says_so() {
    let host = serving_v1();
    host.image_with("bad", &[("EXIT_AFTER", "0"), ("EXIT_CODE", "3")]);
    assert_held(&host, &shop("bad", "green"));
    // Saved anew with the same content, it is the same declaration.
    host.save(&shop("bad", "green"));
    let output = host.quaymaster(&["retry", "shop"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host.until("it is held anew", |s| s.service("shop").state == "held");
    host.until_seen("its containers are gone", || (host.replicas().len() == 1).then_some(()));
    let history = host.quaymaster(&["history", "shop", "--json"]);
    assert!(history.status.success(), "{}", String::from_utf8_lossy(&history.stderr));
}

#[test]
fn a_newer_edit_supersedes_a_stuck_rollout_at_once() {
    let host = serving_v1();
    host.image_with("stuck", &[("START_DELAY", "600")]);
    host.image("v3");
    let patient = "    rollout: { progress_deadline: 10m }\n";
    let traffic = host.traffic("shop");
    host.save(&shop_with("stuck", "green", patient));
    host.until_seen("the stuck release starts", || (host.running("shop").len() == 2).then_some(()));
    host.save(&shop_with("v3", "green", patient));
    host.until_answers("shop", "v3 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
}

#[test]
fn a_failure_in_the_bake_flips_back() {
    let host = serving_v1();
    host.image_with("v2", &[("EXIT_AFTER", "2"), ("EXIT_CODE", "3")]);
    host.save(&shop_with("v2", "green", "    rollout: { bake: 1m }\n"));
    host.until_answers("shop", "v2 green");
    host.until_answers("shop", "v1 blue");
    host.until("v2 is held", |s| s.service("shop").state == "held");
}

#[test]
fn one_stuck_service_does_not_hold_up_another() {
    let mut host = Host::new();
    host.image("v1");
    host.image_with("stuck", &[("START_DELAY", "600")]);
    let stuck = "  stuck:\n    image: APP:stuck\n    \
                 probe: { http: { path: /health, port: 8080 } }\n    \
                 rollout: { progress_deadline: 10m }\n";
    host.save(&format!("{}{stuck}", shop("v1", "blue")));
    host.start();
    host.until("the shop is settled", |s| s.service("shop").is_settled_in("blue"));
    let status = host.status().expect("the controller answers");
    assert_eq!(status.service("stuck").state, "progressing");
}
