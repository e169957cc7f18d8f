//! Images from a registry.

use std::fs;

use super::shop_with;
use crate::rig::{
    docker::docker_lenient,
    host::Host,
    registry::{Access, Registry, docker_config},
};

/// A routed service in a slot, on a whole image reference.
fn shop(image: &str, slot: &str) -> String {
    shop_with("", slot, "").replace("APP:", image)
}

/// Gives the controller of a host a `config.json`.
fn log_in(host: &Host, config: &str) {
    fs::create_dir_all(host.docker_config()).expect("the folder can be made");
    fs::write(host.docker_config().join("config.json"), config).expect("the folder is writable");
}

/// Returns a host that serves v1 out of the registry.
fn serving_v1_from(registry: &Registry, config: &str) -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    let v1 = push(&host, registry, "v1");
    log_in(&host, config);
    host.save(&shop(&v1, "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

/// Pushes an image of the host and forgets it here, so that only a pull gets it.
fn push(host: &Host, registry: &Registry, version: &str) -> String {
    let reference = registry.push(&host.tag(version), &format!("shop:{version}"));
    docker_lenient(&["image", "rm", &host.tag(version)]);
    reference
}

/// Saves a release that cannot be had, and waits until it is held; v1 serves.
fn assert_held(host: &Host, services: &str) -> String {
    let traffic = host.traffic("shop");
    host.save(services);
    let status = host.until("the release is held", |s| s.service("shop").state == "held");
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
    assert_eq!(host.replicas().len(), 1);
    traffic.end().assert_none_failed();
    status.service("shop").reason.clone().unwrap_or_default()
}

#[test]
fn a_release_is_pulled_with_the_credentials_of_docker_login() {
    // Encodes to `+` and `/`, which Docker takes only in the URL-safe alphabet.
    let password = "~~~???>>>";
    let registry = Registry::start(Access::Only { user: "ci", password });
    let host = serving_v1_from(&registry, &docker_config(registry.host(), "ci", password));
    let v2 = push(&host, &registry, "v2");
    let traffic = host.traffic("shop");
    host.save(&shop(&v2, "green"));
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    assert!(!host.log().contains(password), "the password was logged");
}

#[test]
fn a_missing_tag_is_held_in_the_registrys_words() {
    let registry = Registry::start(Access::Anybody);
    let host = serving_v1_from(&registry, "{}");
    let reason = assert_held(&host, &shop(&format!("{}/shop:gone", registry.host()), "green"));
    assert!(reason.contains("gone") || reason.contains("not found"), "{reason}");
}

#[test]
fn wrong_credentials_are_held_and_never_shown() {
    let registry = Registry::start(Access::Only { user: "ci", password: "right" });
    let host = serving_v1_from(&registry, &docker_config(registry.host(), "ci", "right"));
    let v2 = push(&host, &registry, "v2");
    let wrong = "not-the-password";
    log_in(&host, &docker_config(registry.host(), "ci", wrong));
    let reason = assert_held(&host, &shop(&v2, "green"));
    assert!(reason.contains("docker login"), "the mend is not told: {reason}");
    assert!(!reason.contains(wrong) && !host.log().contains(wrong), "the password was shown");

    // Mended, an operator has it tried again.
    log_in(&host, &docker_config(registry.host(), "ci", "right"));
    assert!(host.quaymaster(&["retry", "shop"]).status.success());
    host.until_answers("shop", "v2 green");
}

#[test]
fn a_moved_tag_does_not_move_what_runs() {
    let registry = Registry::start(Access::Anybody);
    let host = serving_v1_from(&registry, "{}");
    let before = host.replicas();
    host.image("other");
    registry.push(&host.tag("other"), "shop:v1");
    host.edge.reload_with("nothing here");
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    assert_eq!(host.replicas(), before);
}

#[test]
fn a_registry_that_is_down_stops_nothing() {
    let mut registry = Registry::start(Access::Anybody);
    let mut host = serving_v1_from(&registry, "{}");
    let v2 = push(&host, &registry, "v2");
    registry.stop();
    // What was resolved once needs no registry, also after a restart.
    host.kill();
    host.start();
    host.until("shop is settled in blue", |s| s.service("shop").is_settled_in("blue"));
    let traffic = host.traffic("shop");
    host.save(&shop(&v2, "green"));
    host.until("the pull is told to fail", |s| s.service("shop").state != "settled");
    assert_eq!(host.running("shop").len(), 1);
    traffic.end().assert_none_failed();
}
