//! Whose is what.

use super::shop;
use crate::rig::{
    docker::{docker, docker_lenient},
    host::Host,
};

/// A container of somebody else's, by its id; gone when dropped.
struct Foreign(String);

impl Foreign {
    fn create(arguments: &[&str]) -> Foreign {
        let arguments: Vec<&str> = ["create"].iter().chain(arguments).copied().collect();
        Foreign(docker(&arguments).trim().to_owned())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        docker_lenient(&["rm", "--force", &self.0]);
    }
}

fn serving_v1() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

#[test]
fn a_second_controller_names_the_first_and_exits() {
    let host = serving_v1();
    let before = host.replicas();
    let second = host.quaymaster(&["run", "quaymaster.yaml"]);
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    let first = host.controller_pid().to_string();
    assert!(told.contains(&first), "process {first} is not named: {told}");
    assert_eq!(host.replicas(), before);
    assert!(host.until_settled().is_settled());
}

#[test]
fn a_second_controller_with_folders_of_its_own_exits_too() {
    let host = serving_v1();
    let elsewhere = tempfile::tempdir().expect("a folder can be made");
    let path = |name: &str| elsewhere.path().join(name).display().to_string();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .args(["run", &host.file_path().display().to_string()])
        .args(["--state-dir", &path("state"), "--socket", &path("socket")])
        .output()
        .expect("quaymaster runs");
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains(&host.controller_pid().to_string()), "{told}");
}

#[test]
fn a_foreign_container_with_our_name_is_named_and_left_alone() {
    let mut host = serving_v1();
    let ours = host.running("shop").remove(0);
    assert!(host.terminate().success());
    docker(&["rm", "--force", &ours.id]);
    let foreign = Foreign::create(&["--name", &ours.name, &host.tag("v1")]);

    host.start();
    let status = host.until("the name is missed", |s| {
        let shop = s.service("shop");
        shop.state != "settled" && shop.tells(&foreign.0[..12])
    });
    assert_ne!(status.service("shop").state, "settled");
    let state = docker(&["inspect", "--format", "{{.State.Status}} {{.Name}}", &foreign.0]);
    assert_eq!(state.trim(), format!("created /{}", ours.name), "it was touched");

    // Its owner takes it away, and all is well by itself or when told.
    drop(foreign);
    host.quaymaster(&["retry", "shop"]);
    host.until_answers("shop", "v1 blue");
    host.until_settled();
}

#[test]
fn containers_of_nobody_are_nobodys_business() {
    let host = Host::new();
    host.image("v1");
    host.save(&shop("v1", "blue"));
    let bystander = Foreign::create(&["--label", "quaymaster.stack=", &host.tag("v1")]);
    docker(&["start", &bystander.0]);
    let applied = host.quaymaster(&["apply", "quaymaster.yaml"]);
    let state = docker(&["inspect", "--format", "{{.State.Running}}", &bystander.0]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    assert_eq!(state.trim(), "true");
}
