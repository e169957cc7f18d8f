//! The verifier against a real registry, and against awkward ones.

mod awkward;
mod fake;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use quaymaster::{
    domain::{
        SignatureWanted,
        signature::{SignatureRule, SigningKey},
        snapshot::{Failure, FailureKind},
    },
    ports::Verifier,
    signature::{Options, Signatures},
};
use serde_json::json;

use crate::rig::{
    cosign::{Signer, list_referrers, push_bundle, push_simply},
    registry::{Access, Registry, docker_config},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Pushes something that has a digest; what is in it is all the same.
fn image(registry: &Registry, repository: &str) -> String {
    let config = registry.put_blob(repository, b"{}");
    let kind = "application/vnd.oci.image.config.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": kind, "digest": config, "size": 2 },
        "layers": [],
        "annotations": { "of": repository },
    });
    registry.put_by_digest(repository, MANIFEST, &manifest).0
}

fn wanted(registry: &Registry, repository: &str, digest: &str, by: &[&Signer]) -> SignatureWanted {
    wanted_of(registry.host(), repository, digest, by)
}

fn wanted_of(host: &str, repository: &str, digest: &str, by: &[&Signer]) -> SignatureWanted {
    let keys = by.iter().map(|signer| SigningKey::from_pem("ci.pub", &signer.pem()));
    let keys = keys.collect::<Result<_, _>>().expect("keys");
    let rule = SignatureRule { images: "*".parse().expect("a prefix"), keys };
    let image = format!("{host}/{repository}@{digest}").parse().expect("an image");
    SignatureWanted::by(&[rule], &image, &digest.parse().expect("a digest")).expect("wanted")
}

async fn look(registry: &Registry, wanted: &SignatureWanted) -> Result<(), Failure> {
    let docker_config = Some(registry.docker_config().to_owned());
    let daemon_config = registry.docker_config().join("daemon.json");
    Signatures::new(Options { docker_config, daemon_config }).verify(wanted).await
}

#[tokio::test]
async fn a_signature_in_either_format_is_found() {
    let access = Access::Only { user: "ci", password: "~~~???>>>" };
    for access in [Access::Anybody, access] {
        let registry = Registry::start(access);
        let (ci, old) = (Signer::default(), Signer::default());
        let simple = image(&registry, "shop/simple");
        ci.sign_simply(&registry, "shop/simple", &simple);
        let bundled = image(&registry, "shop/bundled");
        ci.sign_in_a_bundle(&registry, "shop/bundled", &bundled);
        for (repository, digest) in [("shop/simple", simple), ("shop/bundled", bundled)] {
            let by_ci = wanted(&registry, repository, &digest, &[&old, &ci]);
            assert_eq!(look(&registry, &by_ci).await, Ok(()), "{repository} {access:?}");
            let by_old = wanted(&registry, repository, &digest, &[&old]);
            let failure = look(&registry, &by_old).await.expect_err("not by this key");
            assert_eq!(failure.kind, FailureKind::Refused);
            assert!(failure.message.contains("signed by another key"), "{failure}");
        }
    }
}

#[tokio::test]
async fn an_image_that_nobody_signed_is_refused_with_the_mend() {
    let registry = Registry::start(Access::Anybody);
    let digest = image(&registry, "shop/web");
    let wanted = wanted(&registry, "shop/web", &digest, &[&Signer::default()]);
    let failure = look(&registry, &wanted).await.expect_err("nobody signed it");
    assert_eq!(failure.kind, FailureKind::Refused);
    let name = format!("{}/shop/web@{digest}", registry.host());
    assert_eq!(
        failure.message,
        format!(
            "{name} is not signed by ci.pub: the registry has no signature of it \
             (`cosign sign --key … {name}`, then `quaymaster retry`)"
        )
    );
}

/// What somebody who may push, and has no key, could put there.
#[tokio::test]
async fn nothing_but_a_signature_by_the_key_counts() {
    let registry = Registry::start(Access::Anybody);
    let ci = Signer::default();
    let digest = image(&registry, "shop/web");
    let other = format!("sha256:{}", "b".repeat(64));
    let wanted = wanted(&registry, "shop/web", &digest, &[&ci]);
    let refused = async |why: &str| {
        let failure = look(&registry, &wanted).await.expect_err(why);
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
        assert!(failure.message.contains(why), "{failure}");
    };
    // Another image's signature, copied to this one's tag.
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": "x" },
            "image": { "docker-manifest-digest": other },
            "type": "cosign container image signature",
        },
    });
    ci.sign_simply(&registry, "shop/other", &other);
    push_simply(&registry, "shop/web", &digest, payload.to_string().as_bytes(), "AAAA");
    refused("signed by another key, or was changed since").await;
    push_simply(&registry, "shop/web", &digest, b"", "not Base64!");
    refused("cannot be read").await;
    // A bundle that signs another image, and an attestation of this one.
    let statement = |kind: &str, digest: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": &digest["sha256:".len()..] } }],
            "predicateType": kind,
            "predicate": {},
        })
    };
    let sign = "https://sigstore.dev/cosign/sign/v1";
    let attests = ci.bundle(&statement("https://slsa.dev/provenance/v1", &digest));
    let attests = push_bundle(&registry, "shop/web", &digest, &attests);
    let elsewhere = ci.bundle(&statement(sign, &other));
    let elsewhere = push_bundle(&registry, "shop/web", &digest, &elsewhere);
    list_referrers(&registry, "shop/web", &digest, &[attests, elsewhere.clone()]);
    refused("another image's").await;
    // What is listed, and holds nothing of the kind.
    let gone = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
    list_referrers(&registry, "shop/web", &digest, &[gone.clone(), elsewhere.clone()]);
    refused("another image's").await;
    // Among all of that, the right one is found.
    let right = push_bundle(&registry, "shop/web", &digest, &ci.bundle(&statement(sign, &digest)));
    list_referrers(&registry, "shop/web", &digest, &[gone, elsewhere, right]);
    assert_eq!(look(&registry, &wanted).await, Ok(()));
}

#[tokio::test]
async fn a_registry_that_is_down_may_be_up_later() {
    let mut registry = Registry::start(Access::Anybody);
    let ci = Signer::default();
    let digest = image(&registry, "shop/web");
    ci.sign_simply(&registry, "shop/web", &digest);
    let wanted = wanted(&registry, "shop/web", &digest, &[&ci]);
    registry.stop();
    let failure = look(&registry, &wanted).await.expect_err("nobody is there");
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains("connection refused"), "{failure}");
    registry.start_again();
    assert_eq!(look(&registry, &wanted).await, Ok(()));
}

#[tokio::test]
async fn a_registry_that_knows_us_not_is_no_missing_signature() {
    let registry = Registry::start(Access::Only { user: "ci", password: "right" });
    let ci = Signer::default();
    let digest = image(&registry, "shop/web");
    ci.sign_simply(&registry, "shop/web", &digest);
    let wanted = wanted(&registry, "shop/web", &digest, &[&ci]);
    let folder = tempfile::tempdir().expect("a folder");
    for config in ["{}".to_owned(), docker_config(registry.host(), "ci", "wr0ng")] {
        fs::write(folder.path().join("config.json"), config).expect("written");
        let docker_config = Some(folder.path().to_owned());
        let options = Options { docker_config, ..Options::default() };
        let failure = Signatures::new(options).verify(&wanted).await.expect_err("refused");
        assert_eq!(failure.kind, FailureKind::Refused);
        let mend = format!("docker login {}", registry.host());
        assert!(failure.message.contains(&mend), "{failure}");
        assert!(!failure.message.contains("wr0ng"), "{failure}");
    }
}

/// Runs `policy check` on a file with this image.
fn policy_check(folder: &Path, image: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let file = format!("name: shop\nservices: {{ web: {{ image: {image} }} }}\n");
    fs::write(folder.join("quaymaster.yaml"), file).expect("written");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .args(["policy", "check", "--policy", "policy.yaml"])
        .args(arguments)
        .current_dir(folder)
        .env("DOCKER_CONFIG", folder)
        .env("PATH", format!("{}:{path}", folder.display()))
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn ci_checks_a_file_with_a_credential_helper() {
    let registry = Registry::start(Access::Only { user: "ci", password: "~~~???>>>" });
    let (host, folder) = (registry.host(), tempfile::tempdir().expect("a folder"));
    let folder = folder.path();
    let ci = Signer::default();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
    write("ci.pub", &ci.pem());
    write(
        "policy.yaml",
        &format!(
            "images:\n  allowed: [{host}]\n  signed: [{{ images: {host}, keys: [ci.pub] }}]\n"
        ),
    );
    let helper = folder.join("docker-credential-qms");
    let answer = json!({ "Username": "ci", "Secret": "~~~???>>>" });
    write("docker-credential-qms", &format!("#!/bin/sh\ncat >/dev/null; echo '{answer}'\n"));
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("executable");
    write("config.json", &json!({ "credHelpers": { host: "qms" } }).to_string());

    let digest = image(&registry, "shop/web");
    let pinned = format!("{host}/shop/web@{digest}");
    let (code, text) = policy_check(folder, &pinned, &["--signatures"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("obeys policy.yaml") && text.contains("missing"), "{text}");
    ci.sign_in_a_bundle(&registry, "shop/web", &digest);
    let (code, text) = policy_check(folder, &pinned, &["--signatures"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("signed    {pinned}, by ci.pub")), "{text}");
    let (code, text) = policy_check(folder, &pinned, &["--json"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"valid\": true") || text.contains("\"valid\":true"), "{text}");

    let (code, text) = policy_check(folder, "docker.io/library/redis:7", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("quaymaster.yaml:2:27") && text.contains("images.allowed"), "{text}");
    write("policy.yaml", "imags: {}\n");
    let (code, text) = policy_check(folder, &pinned, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("did you mean `images`"), "{text}");
    fs::remove_file(folder.join("policy.yaml")).expect("removed");
    let (code, text) = policy_check(folder, &pinned, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("cannot read the policy policy.yaml"), "{text}");
}
