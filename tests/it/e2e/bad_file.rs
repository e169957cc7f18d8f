//! While the file is bad, nothing that runs is touched.

use std::fs;

use super::shop;
use crate::rig::host::Host;

fn serving_v1() -> Host {
    let mut host = Host::new();
    host.image("v1");
    host.image("v2");
    host.save(&shop("v1", "blue"));
    host.start();
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    host
}

fn assert_refused(host: &Host, text: &str) {
    let before = host.replicas();
    host.save_raw(text);
    host.until("the file is called bad", |s| !s.file.valid);
    assert_eq!(host.replicas(), before);
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
}

#[test]
fn a_bad_file_is_told_and_the_last_good_one_stays_in_force() {
    let host = serving_v1();
    assert_refused(&host, &host.file(&shop("v2", "purple")));
    let status = host.quaymaster(&["status"]);
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains("purple"), "the status does not say why: {told}");
    // Mended, it is acted on.
    host.save(&shop("v2", "green"));
    host.until_answers("shop", "v2 green");
    host.until("the file is good", |s| s.file.valid);
}

#[test]
fn an_empty_file_never_means_delete_everything() {
    assert_refused(&serving_v1(), "");
}

#[test]
fn a_deleted_file_never_means_delete_everything() {
    let host = serving_v1();
    let before = host.replicas();
    fs::remove_file(host.file_path()).expect("the file is there");
    host.until("the file is missed", |s| !s.file.valid);
    assert_eq!(host.replicas(), before);
    host.save(&shop("v2", "green"));
    host.until_answers("shop", "v2 green");
}

#[test]
fn what_repairs_the_last_good_state_goes_on_under_a_bad_file() {
    let host = serving_v1();
    assert_refused(&host, "services: [");
    let gone = host.running("shop").remove(0);
    crate::rig::docker::docker(&["rm", "--force", &gone.id]);
    host.until_seen("it is created again", || {
        host.running("shop").into_iter().find(|replica| replica.id != gone.id)
    });
    host.until_answers("shop", "v1 blue");
}
