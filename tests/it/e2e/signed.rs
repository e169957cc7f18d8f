//! A policy on the host: signed images only.

use std::{fs, process::Command};

use crate::rig::{
    cosign::Signer,
    docker::docker_lenient,
    host::Host,
    registry::{Access, Registry},
    run,
    status::Status,
};

use super::shop_with;

fn shop(image: &str, slot: &str) -> String {
    shop_with("", slot, "").replace("APP:", image)
}

/// A host that serves v1, signed in the older format, and lets nothing else in than
/// what `ci` signed.
fn serving_signed_v1(registry: &Registry, ci: &Signer) -> Host {
    let mut host = Host::new();
    for version in ["v1", "v2"] {
        host.image(version);
        registry.push(&host.tag(version), &format!("shop:{version}"));
        docker_lenient(&["image", "rm", &host.tag(version)]);
    }
    ci.sign_simply(registry, "shop", &registry.digest_of("shop", "v1"));
    let folder = host.file_path().parent().expect("a file has a folder").to_owned();
    fs::create_dir_all(host.docker_config()).expect("the folder can be made");
    let login = fs::read(registry.docker_config().join("config.json")).expect("it is there");
    fs::write(host.docker_config().join("config.json"), login).expect("writable");
    fs::write(folder.join("ci.pub"), ci.pem()).expect("writable");
    write_policy(&host, registry, "ci.pub");
    host.save(&shop(&format!("{}/shop:v1", registry.host()), "blue"));
    let policy = folder.join("policy.yaml").display().to_string();
    host.start_with(&["--policy", &policy, &host.file_path().display().to_string()]);
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

fn write_policy(host: &Host, registry: &Registry, key: &str) {
    let name = registry.host();
    let text =
        format!("images:\n  allowed: [{name}]\n  signed: [{{ images: {name}, keys: [{key}] }}]\n");
    fs::write(host.file_path().with_file_name("policy.yaml"), text).expect("writable");
}

#[test]
fn what_is_signed_deploys_and_what_is_not_is_held() {
    let registry = Registry::start(Access::Only { user: "ci", password: "~~~???>>>" });
    let ci = Signer::default();
    let host = serving_signed_v1(&registry, &ci);
    let traffic = host.traffic("shop");
    host.save(&shop(&format!("{}/shop:v2", registry.host()), "green"));
    let status = host.until("the release is held", |s| s.service("shop").state == "held");
    let reason = status.service("shop").reason.clone().unwrap_or_default();
    assert!(reason.contains("is not signed by ci.pub"), "{reason}");
    assert!(reason.contains("still serving"), "{reason}");
    assert_eq!(host.replicas().len(), 1, "nothing of it was created");

    // Somebody else's key does not help.
    let digest = registry.digest_of("shop", "v2");
    Signer::default().sign_simply(&registry, "shop", &digest);
    assert!(host.quaymaster(&["retry", "shop"]).status.success());
    let by_another = |s: &Status| {
        s.service("shop").state == "held" && s.service("shop").tells("signed by another key")
    };
    host.until("the release is held again", by_another);

    // Signed by the right one, in cosign 3's format, it goes on.
    ci.sign_in_a_bundle(&registry, "shop", &digest);
    assert!(host.quaymaster(&["retry", "shop"]).status.success());
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    assert!(!host.log().contains("~~~???>>>"), "the password was logged");
}

#[test]
fn a_registry_that_is_down_keeps_the_new_waiting_and_the_old_serving() {
    let mut registry = Registry::start(Access::Anybody);
    let ci = Signer::default();
    let host = serving_signed_v1(&registry, &ci);
    ci.sign_in_a_bundle(&registry, "shop", &registry.digest_of("shop", "v2"));
    // It is here already, so that only its signature is missing.
    let v2 = format!("{}/shop:v2", registry.host());
    run(Command::new("docker").args(["pull", "--quiet", &v2]));
    registry.stop();
    let traffic = host.traffic("shop");
    host.save(&shop(&v2, "green"));
    let waits = |s: &Status| {
        let text = s.service("shop").waiting_on.join("; ");
        text.contains("the signature of") && text.contains("connection refused")
    };
    host.until("the signature is waited for", waits);
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
    registry.start_again();
    host.until_answers("shop", "v2 green");
    host.until("shop is settled in green", |s| s.service("shop").is_settled_in("green"));
    traffic.end().assert_none_failed();
    docker_lenient(&["image", "rm", &v2]);
}

#[test]
fn what_serves_outlives_its_key_and_its_policy() {
    let mut registry = Registry::start(Access::Anybody);
    let ci = Signer::default();
    let host = serving_signed_v1(&registry, &ci);
    registry.stop();
    // Another key, and then no policy at all: what runs is created again all the same.
    let other = host.file_path().with_file_name("other.pub");
    fs::write(other, Signer::default().pem()).expect("writable");
    write_policy(&host, &registry, "other.pub");
    let replica = host.replicas().remove(0);
    docker_lenient(&["rm", "-f", &replica.id]);
    host.until("a new replica serves", |s| {
        let another = host.replicas().iter().any(|r| r.id != replica.id);
        another && s.service("shop").state == "settled"
    });
    fs::remove_file(host.file_path().with_file_name("policy.yaml")).expect("removed");
    host.until("the file is refused", |s| !s.file.valid);
    let status = host.quaymaster(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(text.contains("cannot read the policy"), "{text}");
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
}
