//! Secret files in real containers: never on a disk, never in what Docker tells.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quaymaster::{
    docker::{Docker, Options},
    domain::{
        ContainerId, ContainerSpec, SecretBytes, SecretFile,
        release::RestartPolicy,
        snapshot::{ContainerState, FailureKind},
    },
    plan::{NewContainer, SecretFiles},
    ports::Engine,
};
use tempfile::TempDir;

use super::{Berth, docker, eventually, inspect, only};

const CANARY: &str = "canary-of-a-secret-file";

/// A folder in memory, as /run is on a server.
fn in_memory() -> TempDir {
    tempfile::Builder::new().prefix("qm-").tempdir_in("/dev/shm").expect("a folder in memory")
}

async fn engine_with(berth: &Berth, top: &Path) -> Docker {
    let secrets_dir = top.join("secrets");
    berth.docker_with(Options { secrets_dir, ..Options::default() }).await
}

fn file(mode: u32) -> SecretFile {
    let content = SecretBytes::new(CANARY);
    SecretFile { name: "db".to_owned(), content, uid: None, gid: None, mode }
}

fn spec(file: SecretFile) -> ContainerSpec {
    let secrets = [("/run/secrets/db".to_owned(), file)].into();
    ContainerSpec { secrets, ..ContainerSpec::default() }
}

fn folder_of(berth: &Berth, top: &Path, new: &NewContainer) -> PathBuf {
    top.join("secrets").join(berth.stack.as_str()).join(new.release.id.as_str())
}

fn files_of(new: &NewContainer) -> SecretFiles<'_> {
    let id = &new.release.id;
    SecretFiles { of: [(id, &new.release.spec.secrets)].into(), needed: Some([id].into()) }
}

async fn exited(engine: &Docker) -> ContainerId {
    eventually(|| async {
        let container = only(engine).await;
        matches!(container.state, ContainerState::Exited { .. }).then_some(container.id)
    })
    .await
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test]
async fn a_container_has_its_secrets_in_memory_with_mode_and_owner() {
    let mut berth = Berth::new();
    let top = in_memory();
    let engine = engine_with(&berth, top.path()).await;
    let image = berth.image();
    let owner = is_root().then_some(1234);
    let file = SecretFile { uid: owner, gid: owner, ..file(0o440) };
    let new = berth.replica(&image, &["show", "/run/secrets/db"], spec(file));
    engine.create(&new).await.expect("created");
    engine.start(&only(&engine).await.id).await.expect("started");
    let id = exited(&engine).await;
    let said = docker(&["logs", &id.0]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!([words[0], words[2], words[3], words[4]], ["440", "ro", "tmpfs", CANARY], "{said}");
    if is_root() {
        assert_eq!(words[1], "1234:1234", "{said}");
    }

    let told = inspect(&id).to_string();
    assert!(told.contains("0-db") && !told.contains(CANARY), "{told}");
    assert!(!told.contains(&String::from(SecretBytes::new(CANARY))), "{told}");
}

#[tokio::test]
async fn secrets_are_put_back_before_a_container_starts_again() {
    let mut berth = Berth::new();
    let top = in_memory();
    let engine = engine_with(&berth, top.path()).await;
    let image = berth.image();
    let new = berth.replica(&image, &["serve"], spec(file(0o444)));
    engine.create(&new).await.expect("created");
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    engine.set_restart_policy(&id, RestartPolicy::Always).await.expect("set");

    // As after a reboot: the memory is empty, and Docker starts what it should by itself.
    fs::remove_dir_all(top.path().join("secrets")).expect("ours");
    let restarted = std::process::Command::new("docker")
        .args(["restart", "--time", "0", &id.0])
        .output()
        .expect("docker runs");
    assert!(!restarted.status.success(), "Docker starts it without its secrets");
    let state = only(&engine).await.state;
    assert!(matches!(state, ContainerState::Exited { .. }), "{state:?}");

    // Another controller, which has heard of the release only.
    let engine = engine_with(&berth, top.path()).await;
    let forgotten = engine.start(&id).await.expect_err("nobody told it what is in them");
    assert!(forgotten.message.contains("not remembered"), "{forgotten}");
    engine.keep_secrets(&files_of(&new));
    engine.start(&id).await.expect("started");
    let running = only(&engine).await;
    assert_eq!((&running.id, running.state), (&id, ContainerState::Running { health: None }));
    assert!(folder_of(&berth, top.path(), &new).join("0-db").exists());

    engine.stop(&id, None).await.expect("stopped");
    engine.remove(&id).await.expect("removed");
    engine.keep_secrets(&SecretFiles { needed: Some(Default::default()), ..Default::default() });
    assert_eq!(fs::read_dir(top.path().join("secrets")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn no_container_is_created_with_secrets_on_a_disk() {
    let mut berth = Berth::new();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let engine = engine_with(&berth, disk.path()).await;
    let image = berth.image();
    let new = berth.replica(&image, &["serve"], spec(file(0o444)));
    let failure = engine.create(&new).await.expect_err("it is a disk");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("is on a disk"), "{failure}");
    assert!(engine.containers().await.expect("listed").replicas.is_empty());
    // Who has no secrets does not care.
    let new = berth.replica(&image, &["serve"], ContainerSpec::default());
    engine.create(&new).await.expect("created");
}
