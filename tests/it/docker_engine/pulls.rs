//! Pulls from a real registry.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use quaymaster::{docker::Options, domain::ImageRef, ports::Engine};

use crate::rig::{
    registry::{Access, Registry, docker_config},
    run,
};

use super::{
    Berth, docker, eventually,
    fake::{self, Layer},
    pull,
};

/// A password that Base64 writes with `+` and `/`, in any position.
const AWKWARD: &str = "~~~???>>>~~~???>>>";

fn with_config(folder: &Path) -> Options {
    Options { docker_config: Some(folder.to_owned()), ..Options::default() }
}

fn repo_digest(reference: &str) -> String {
    let format = "{{range .RepoDigests}}{{println .}}{{end}}";
    docker(&["image", "inspect", "--format", format, reference])
}

#[tokio::test]
async fn a_tag_is_resolved_once_and_its_digest_pulled_and_marked() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = wakes.clone();
    let wake = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let engine = berth.docker_with(Options { wake, ..Options::default() }).await;
    let local = berth.image();
    let reference = registry.push(&local, "team/app:1");
    docker(&["rmi", &local]);

    let resolution = pull(&engine, &reference).await.expect("pulled");
    assert!(wakes.load(Ordering::SeqCst) > 0, "the end of a pull wakes");
    assert_eq!(engine.pulls().len(), 0);
    let name = format!("{}/team/app@{}", registry.host(), resolution.digest);
    assert!(repo_digest(&name).contains(&name));
    let host = engine.host().await.expect("seen");
    let image = host.images.iter().find(|image| image.id == resolution.image_id).expect("listed");
    assert_eq!(image.pulled_as.iter().collect::<Vec<_>>(), [&resolution.digest]);
    assert_eq!(image.tags.len(), 0, "the mark is no name that somebody gave it: {image:?}");
    let by_digest: ImageRef = format!("{reference}@{}", resolution.digest).parse().expect("both");
    assert_eq!(host.resolve(&by_digest), Some(resolution.clone()));
    assert_eq!(pull(&engine, by_digest.as_str()).await, Ok(resolution));
}

#[tokio::test]
async fn a_tag_that_moved_is_resolved_anew() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let engine = berth.docker().await;
    let (one, two) = (berth.image(), berth.image());
    let reference = registry.push(&one, "app:latest");
    let first = pull(&engine, &reference).await.expect("pulled");
    assert_eq!(pull(&engine, &reference).await.expect("unmoved"), first);
    registry.push(&two, "app:latest");
    let second = pull(&engine, &reference).await.expect("pulled");
    assert_ne!(first.digest, second.digest);
    assert_ne!(first.image_id, second.image_id);
}

#[tokio::test]
async fn a_registry_that_does_not_tell_the_digest_is_pulled_by_tag() {
    let architecture = docker(&["version", "--format", "{{.Server.Arch}}"]);
    let registry = fake::registry_of(architecture.trim(), Layer::WholeAtSecondAsking).await;
    let berth = Berth::new();
    let engine = berth.docker().await;
    let reference = format!("{}/app:1", registry.host());
    let by_tag = pull(&engine, &reference).await.expect("pulled by tag");
    let resolved = pull(&engine, &reference).await.expect("resolved this time");
    assert_eq!(by_tag, resolved);
    // Only a pull by tag leaves the tag.
    docker(&["rmi", &reference]);
}

#[tokio::test]
async fn a_password_that_encodes_to_plus_and_slash_is_understood() {
    let mut berth = Berth::new();
    let access = Access::Only { user: "dock?>~er", password: AWKWARD };
    let registry = Registry::start(access);
    let engine = berth.docker_with(with_config(registry.docker_config())).await;
    let local = berth.image();
    let reference = registry.push(&local, "private/app:1");
    pull(&engine, &reference).await.expect("pulled with credentials");
}

#[tokio::test]
async fn wrong_and_missing_credentials_are_refused_with_the_mend() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Only { user: "docker", password: AWKWARD });
    let local = berth.image();
    let reference = registry.push(&local, "private/app:1");
    let wrong = tempfile::tempdir().expect("a folder");
    let config = docker_config(registry.host(), "docker", "canary-hunter2");
    fs::write(wrong.path().join("config.json"), config).expect("written");
    let empty = tempfile::tempdir().expect("a folder");
    for folder in [&wrong, &empty] {
        let engine = berth.docker_with(with_config(folder.path())).await;
        let failure = pull(&engine, &reference).await.expect_err("refused");
        assert_eq!(failure.kind, quaymaster::domain::snapshot::FailureKind::Refused, "{failure}");
        assert!(failure.message.ends_with(&format!("(docker login {})", registry.host())));
        assert!(!failure.message.contains("canary"), "{failure}");
    }
    // A login mends it without a restart.
    let engine = berth.docker_with(with_config(empty.path())).await;
    pull(&engine, &reference).await.expect_err("refused");
    let config = docker_config(registry.host(), "docker", AWKWARD);
    fs::write(empty.path().join("config.json"), config).expect("written");
    pull(&engine, &reference).await.expect("pulled");
}

/// Helpers are found in PATH, so this runs in a process that has its own.
#[test]
fn credential_helpers_are_asked_and_their_words_passed_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = std::env::var("PATH").expect("a PATH");
    run(Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "docker_engine::pulls::with_helpers_in_path", "--ignored"])
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("QUAYMASTER_TEST_HELPERS", folder.path()));
}

#[tokio::test]
#[ignore = "the test above runs it, with a PATH of its own"]
async fn with_helpers_in_path() {
    let folder = std::env::var_os("QUAYMASTER_TEST_HELPERS").expect("set by the test above");
    let folder = Path::new(&folder);
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Only { user: "docker", password: AWKWARD });
    let local = berth.image();
    let reference = registry.push(&local, "private/app:1");
    let host = registry.host();
    let helper = |name: &str, script: &str| {
        let path = folder.join(format!("docker-credential-qmd-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    };
    let answer = serde_json::json!({ "Username": "docker", "Secret": AWKWARD });
    helper("works", &format!("[ \"$(cat)\" = {host} ] && echo '{answer}'"));
    helper("fails", "cat >/dev/null; echo 'the vault is sealed' >&2; exit 1");
    helper("empty", "cat >/dev/null; echo 'credentials not found in native keychain'; exit 1");
    let set = |config: serde_json::Value| {
        fs::write(folder.join("config.json"), config.to_string()).expect("written");
    };
    let engine = berth.docker_with(with_config(folder)).await;

    set(serde_json::json!({ "credHelpers": { host: "qmd-fails" } }));
    let failure = pull(&engine, &reference).await.expect_err("the helper fails");
    let words = "docker-credential-qmd-fails: the vault is sealed";
    assert!(failure.message.contains(words), "{failure}");
    set(serde_json::json!({ "credsStore": "qmd-empty" }));
    let failure = pull(&engine, &reference).await.expect_err("anonymous");
    assert!(failure.message.contains("docker login"), "{failure}");
    set(serde_json::json!({ "credHelpers": { host: "qmd-works" }, "credsStore": "qmd-fails" }));
    pull(&engine, &reference).await.expect("pulled through the helper");
}

#[tokio::test]
async fn no_more_pulls_run_at_once_than_allowed_and_all_are_in_flight() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let local = berth.image();
    let references: Vec<ImageRef> = (1..=4)
        .map(|n| registry.push(&local, &format!("app:{n}")).parse().expect("a reference"))
        .collect();
    let engine = berth.docker_with(Options { max_pulls: 1, ..Options::default() }).await;
    for reference in &references {
        engine.begin_pull(reference);
        engine.begin_pull(reference);
    }
    assert_eq!(engine.pulls().len(), 4, "queued ones count");
    let mut ended = 0;
    while ended < 4 {
        // Several may have ended since the last look.
        let pulled =
            eventually(|| async { Some(engine.take_pulled()).filter(|pulled| !pulled.is_empty()) });
        for (image, result) in pulled.await {
            result.unwrap_or_else(|failure| panic!("{image}: {failure}"));
            ended += 1;
        }
    }
    assert!(engine.pulls().is_empty() && engine.take_pulled().is_empty());
}
