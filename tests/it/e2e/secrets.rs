//! Secrets of services, from the file to the container and back.

use std::{fs, path::PathBuf};

use super::shop_with;
use crate::rig::{
    docker::{Replica, docker},
    host::Host,
    repo::Repo,
};

/// A shop that gets `db` as a file.
fn shop(version: &str, origin: &str) -> String {
    shop_more(version, origin, "")
}

fn shop_more(version: &str, origin: &str, more: &str) -> String {
    let service = shop_with(version, "auto", &format!("    secrets: [db]\n{more}"));
    format!("secrets: {{ db: {{ {origin} }} }}\n{service}")
}

/// A host on which v1 serves from blue, with a secret out of the file `db`.
fn serving_v1() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.save_beside("db", "first");
    host.save(&shop("v1", "file: ./db"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

/// Returns what a running replica reads.
fn read_by(replica: &Replica) -> String {
    docker(&["exec", &replica.id, "/demo", "cat", "/run/secrets/db"]).trim().to_owned()
}

fn in_slot(host: &Host, slot: &str) -> Replica {
    let mut running = host.running("shop");
    running.retain(|replica| replica.slot == slot);
    assert_eq!(running.len(), 1, "{running:?}");
    running.remove(0)
}

fn folder(host: &Host, replica: &Replica) -> PathBuf {
    host.secrets_dir().join(&host.stack).join(&replica.release)
}

#[test]
fn a_rotated_secret_rolls_out_and_its_revert_is_a_flip() {
    let host = serving_v1();
    assert_eq!(read_by(&in_slot(&host, "blue")), "first");
    let traffic = host.traffic("shop");
    host.save_beside("db", "second");
    host.until_answers("shop", "v1 green");
    host.until("it is settled in green", |s| s.service("shop").is_settled_in("green"));
    // The old release goes on seeing what it was started with.
    assert_eq!(read_by(&in_slot(&host, "green")), "second");
    assert_eq!(read_by(&in_slot(&host, "blue")), "first");
    let before = host.replicas();
    host.save_beside("db", "first");
    host.until_answers("shop", "v1 blue");
    host.until("it is settled in blue", |s| s.service("shop").is_settled_in("blue"));
    traffic.end().assert_none_failed();
    assert_eq!(host.replicas(), before, "the rollback started something");
}

#[test]
fn a_controller_that_comes_back_changes_nothing() {
    let mut host = serving_v1();
    let before = host.replicas();
    assert!(host.terminate().success());
    assert!(folder(&host, &before[0]).join("0-db").exists(), "they went with the controller");
    host.start();
    host.until_settled();
    host.kill();
    host.lose_store();
    host.start();
    host.until_settled();
    assert_eq!(host.replicas(), before);
    assert_eq!(read_by(&before[0]), "first");
}

/// The memory is empty, and Docker has tried in vain to start what it should.
#[test]
fn after_a_reboot_secrets_are_put_back_and_their_containers_started() {
    let mut host = serving_v1();
    let replica = in_slot(&host, "blue");
    assert_eq!(replica.restart_policy, "always");
    host.kill();
    fs::remove_dir_all(host.secrets_dir()).expect("ours");
    // Not `docker stop`: what a human stops, Docker would not start again.
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &replica.id]);
    docker(&["exec", &replica.id, "/demo", "cat", "/run/secrets/db"]);
    let killed = std::process::Command::new("kill").args(["-9", pid.trim()]).status();
    if !killed.expect("kill runs").success() {
        docker(&["kill", &replica.id]);
    }
    host.until_seen("Docker gives up", || {
        let state =
            docker(&["inspect", "--format", "{{.State.Status}} {{.State.Error}}", &replica.id]);
        (state.starts_with("exited") && !host.replicas()[0].running).then_some(())
    });
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    let again = in_slot(&host, "blue");
    assert_eq!((&again.id, read_by(&again).as_str()), (&replica.id, "first"));
}

#[test]
fn secrets_that_vanish_under_a_running_container_are_put_back() {
    let host = serving_v1();
    let replica = in_slot(&host, "blue");
    fs::remove_dir_all(host.secrets_dir()).expect("ours");
    assert_eq!(read_by(&replica), "first", "it lost what it had");
    host.signal("HUP");
    let file = folder(&host, &replica).join("0-db");
    host.until_seen("they are back", || file.exists().then_some(()));
    assert_eq!(host.replicas()[0].started_at, replica.started_at);
}

#[test]
fn secrets_go_with_the_last_container_that_has_them() {
    let host = serving_v1();
    let first = in_slot(&host, "blue");
    let quick = "    rollout: { scale_down_delay: 0s }\n";
    host.save_beside("db", "second");
    host.save(&shop_more("v1", "file: ./db", quick));
    host.until_answers("shop", "v1 green");
    host.until_seen("blue is gone", || (host.replicas().len() == 1).then_some(()));
    host.until_seen("its secrets are gone", || (!folder(&host, &first).exists()).then_some(()));
    assert!(folder(&host, &in_slot(&host, "green")).exists());
    host.save(&shop_with("v1", "auto", quick));
    host.until_answers("shop", "v1 blue");
    let stack = host.secrets_dir().join(&host.stack);
    host.until_seen("all are gone", || (!stack.exists()).then_some(()));
}

#[test]
fn a_secret_that_cannot_be_had_changes_nothing() {
    let host = serving_v1();
    let before = host.replicas();
    fs::remove_file(host.file_path().with_file_name("db")).expect("ours");
    host.until_seen("it is missed", || {
        let status = host.quaymaster(&["status"]).stdout;
        String::from_utf8_lossy(&status).contains("`./db`: there is no such file").then_some(())
    });
    assert_eq!(host.replicas(), before);
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
    host.save_beside("db", "first");
    host.until_settled();
    assert_eq!(host.replicas(), before);
}

#[test]
fn a_gate_s_job_has_the_secrets_of_its_release() {
    let host = serving_v1();
    let gate = "    rollout: { pre_promotion: [{ job: { command: [cat, /run/secrets/db] } }] }\n";
    host.save_beside("db", "second");
    host.save(&shop_more("v1", "file: ./db", gate));
    host.until_answers("shop", "v1 green");
    let stack = format!("label=quaymaster.stack={}", host.stack);
    let filters = ["--filter", &stack, "--filter", "label=quaymaster.gate"];
    let job = docker(&[&["ps", "-aq"][..], &filters].concat());
    assert_eq!(docker(&["logs", job.trim()]).trim(), "second");
}

#[test]
fn encrypted_in_the_repository_a_secret_is_rotated_by_a_commit() {
    use age::secrecy::ExposeSecret as _;
    const PATH: &str = "stacks/prod.yaml";
    let mut host = Host::new();
    host.image("v1");
    let identity = age::x25519::Identity::generate();
    let key = host.save_beside("age.key", identity.to_string().expose_secret());
    let repo = Repo::new();
    let text = host.file(&shop("v1", "age_file: ./db.age"));
    let publish = |value: &str| {
        let encrypted = age::encrypt(&identity.to_public(), value.as_bytes()).expect("encrypted");
        let folder = repo.work().join("stacks");
        fs::create_dir_all(&folder).expect("writable");
        fs::write(folder.join("db.age"), encrypted).expect("writable");
        repo.publish(PATH, &text)
    };
    publish("first");
    let (url, key) = (repo.url(), key.display().to_string());
    host.start_with(&["--git", &url, "--path", PATH, "--interval", "1s", "--age-identity", &key]);
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    assert_eq!(read_by(&in_slot(&host, "blue")), "first");
    let traffic = host.traffic("shop");
    publish("second");
    host.until_answers("shop", "v1 green");
    host.until("it is settled in green", |s| s.service("shop").is_settled_in("green"));
    assert_eq!(read_by(&in_slot(&host, "green")), "second");
    let before = host.replicas();
    repo.git(&["revert", "--no-edit", "HEAD"]);
    repo.push();
    host.until_answers("shop", "v1 blue");
    traffic.end().assert_none_failed();
    assert_eq!(host.replicas(), before, "the rollback started something");
}
