//! The binary itself: exit codes, and which stream gets what.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

use quaymaster::{
    domain::{
        Fingerprint, Memory, ServiceName, StackName,
        memory::{HeldBy, Hold, ServiceMemory},
    },
    ports::Ledger,
    store::Store,
};
use tempfile::TempDir;

fn quaymaster(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    quaymaster_in(folder.path(), arguments)
}

/// Runs in a folder of its own, without a controller and without Docker.
fn quaymaster_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .current_dir(folder)
        .env_clear()
        .env("QUAYMASTER_STATE_DIR", folder.join("state"))
        .env("QUAYMASTER_SOCKET", folder.join("none.sock"))
        .env("DOCKER_HOST", format!("unix://{}", folder.join("no-docker.sock").display()))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// A folder with a `quaymaster.yaml`.
fn folder_with(yaml: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("quaymaster.yaml"), yaml).expect("writable");
    folder
}

const GOOD: &str = "\
# what runs
name: shop
services:
  web:
    image: web:1   # pinned by CI
    slot: blue     # serves
  worker: { image: worker:1 }
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn wrong_arguments_end_with_2_and_leave_stdout_empty() {
    for arguments in [&["sail"][..], &["retry"], &["status", "--colour"], &["run", "a", "b"], &[]] {
        let output = quaymaster(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(text(&output.stderr).contains("Usage"), "{arguments:?}");
    }
}

#[test]
fn validate_says_what_is_for_this_host() {
    let folder = folder_with(
        "name: shop\nservices:\n  web: { image: a, hosts: edge-1 }\n  db: { image: b, hosts: role=db }\n  log: { image: c }\n",
    );
    let said = |arguments: &[&str]| {
        let output = quaymaster_in(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let edge = said(&["validate", "--host-name", "edge-1"]);
    assert_eq!(
        edge,
        "quaymaster.yaml is valid: stack shop, 3 services, 2 for this host (edge-1)\n"
    );
    let db = said(&[
        "--host-name",
        "x",
        "--host-label",
        "role=db",
        "--host-label",
        "a=b",
        "validate",
        "--json",
    ]);
    let db: serde_json::Value = serde_json::from_str(&db).expect("JSON");
    assert_eq!(
        (&db["services"], &db["on_other_hosts"]),
        (&serde_json::json!(["db", "log"]), &serde_json::json!(["web"]))
    );
    // CI is no host of the file, and checks it all the same.
    let only = folder_with("name: shop\nservices: { web: { image: a, hosts: edge-1 } }\n");
    let ci = quaymaster_in(only.path(), &["validate", "--host-name", "ci"]);
    let told = "quaymaster.yaml is valid: stack shop, 1 service, 0 for this host (ci)\n";
    assert_eq!((ci.status.code(), text(&ci.stdout)), (Some(0), told.to_owned()));
    let plan = quaymaster_in(only.path(), &["plan", "--host-name", "ci"]);
    assert_eq!(plan.status.code(), Some(2));
    assert!(text(&plan.stderr).contains("no service of the file is for this host (ci)"));
}

#[test]
fn help_and_version_are_results() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = quaymaster(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_ne!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn a_request_without_a_controller_fails_and_says_how_to_start_one() {
    let output = quaymaster(&["rollback", "shop"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("quaymaster run FILE"));
}

#[test]
fn a_retry_without_a_controller_is_remembered_for_the_next_one() {
    let folder = folder_with(GOOD);
    let state_dir = folder.path().join("state");
    let stack: StackName = "shop".parse().expect("a name");
    let web: ServiceName = "web".parse().expect("a name");
    let hold = Hold {
        declaration: Fingerprint::of("what the file says"),
        release: None,
        image: "web:1".parse().expect("an image"),
        reason: "it never got ready".to_owned(),
        log: Vec::new(),
        gates: Vec::new(),
        by: HeldBy::Failure,
        at_unix_ms: 0,
    };
    let held = ServiceMemory { hold: Some(hold), ..ServiceMemory::default() };
    let memory = Memory { services: BTreeMap::from([(web.clone(), held)]), ..Memory::default() };
    let store = Store::open(&state_dir, &stack, "quaymaster.yaml").expect("a store");
    store.save(&memory).expect("the disk works");
    drop(store);

    let output = quaymaster_in(folder.path(), &["retry", "web"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("with the next `quaymaster apply`"));
    let kept = Store::read(&state_dir, &stack, "quaymaster.yaml").expect("a store");
    assert_eq!(kept.service(&web).hold, None);
    // Once is enough.
    let output = quaymaster_in(folder.path(), &["retry", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not held"), "{}", text(&output.stderr));
}

#[test]
fn an_error_can_be_json() {
    let output = quaymaster(&["rollback", "shop", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert!(error["error"].as_str().is_some_and(|text| text.contains("no controller answers")));
    assert!(error["hint"].is_string());
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let folder = folder_with(GOOD);
    let output = quaymaster_in(folder.path(), &["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "quaymaster.yaml is valid: stack shop, 2 services\n");
    let output = quaymaster_in(folder.path(), &["validate", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&said["valid"], &said["stack"]), (&true.into(), &"shop".into()));
}

#[test]
fn a_bad_file_ends_every_command_that_needs_it_with_2() {
    let folder = folder_with("name: shop\nservices:\n  web: { image: web:1, prot: 80 }\n");
    for command in ["validate", "plan", "status", "run", "apply"] {
        let output = quaymaster_in(folder.path(), &[command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(text(&output.stdout), "", "{command}");
        assert!(text(&output.stderr).contains("quaymaster.yaml:3:"), "{command}");
    }
    let output = quaymaster_in(folder.path(), &["validate", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &said["valid"]), (Some(2), &false.into()));
}

#[test]
fn a_missing_file_is_named() {
    let output = quaymaster(&["validate", "there/is/none.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there/is/none.yaml"), "{}", text(&output.stderr));
}

#[test]
fn without_docker_the_mend_is_said() {
    let folder = folder_with(GOOD);
    for command in ["status", "plan", "run", "apply"] {
        let output = quaymaster_in(folder.path(), &[command]);
        assert_eq!(output.status.code(), Some(1), "{command}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("systemctl start docker"), "{command}");
    }
    assert!(!folder.path().join("state").exists(), "looking made a state folder");
}

#[test]
fn a_flip_changes_one_word_of_the_file_and_nothing_else_about_it() {
    let folder = folder_with("");
    let file = folder.path().join("real.yaml");
    let link = folder.path().join("quaymaster.yaml");
    fs::remove_file(&link).expect("it was made");
    fs::write(&file, GOOD).expect("writable");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
    symlink(&file, &link).expect("a free name");

    let output = quaymaster_in(folder.path(), &["flip", "web"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("web: slot blue → green in quaymaster.yaml"));
    let edited = fs::read_to_string(&file).expect("readable");
    assert_eq!(edited, GOOD.replace("slot: blue ", "slot: green "));
    let mode = fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    let left: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_flip_of_a_slot_that_nobody_declared_is_refused() {
    let folder = folder_with(GOOD);
    for (service, hint) in [("worker", "write `slot: blue`"), ("wbe", "it has web, worker")] {
        let output = quaymaster_in(folder.path(), &["flip", service]);
        assert_eq!(output.status.code(), Some(2), "{service}");
        assert!(text(&output.stderr).contains(hint), "{}", text(&output.stderr));
    }
    let file = folder.path().join("quaymaster.yaml");
    assert_eq!(fs::read_to_string(file).expect("readable"), GOOD);
}

#[test]
fn a_repository_that_cannot_be_read_is_said_at_once() {
    let cases = [
        (&["--git=file:///there/is/none.git"][..], 1, "cannot be asked for main"),
        (&["--git=--upload-pack=evil"], 2, "git would take for an option"),
        (&["--git=/srv/s.git", "--path=../s.yaml"], 2, "is not a path inside a repository"),
        (&["--git=/srv/s.git", "--branch=a..b"], 2, "is not the name of a branch"),
    ];
    for (arguments, code, said) in cases {
        for command in ["run", "apply"] {
            let output = quaymaster(&[&[command], arguments].concat());
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
            assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
            assert_eq!(text(&output.stdout), "");
        }
    }
}

#[test]
fn a_secret_that_is_none_keeps_the_controller_from_starting() {
    let folder = folder_with(GOOD);
    let token = folder.path().join("token");
    fs::write(&token, "a token\n").expect("writable");
    let run = |mode| {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).expect("ours");
        let output =
            quaymaster_in(folder.path(), &["run", "--listen=0", "--status-token-file=token"]);
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = run(0o644);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("everybody on this host can read token"), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
    // Then it is Docker that is missing.
    assert_eq!(run(0o600).0, Some(1));
}

#[test]
fn ssh_asks_nobody_unless_the_user_says_how_to_run_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let tool = |name: &str| {
        let path = folder.path().join(name);
        let script = format!("#!/bin/sh\necho {name} \"$@\" >> '{}'\nexit 255\n", log.display());
        fs::write(&path, script).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        path
    };
    tool("ssh");
    let own = tool("own-ssh");
    let ask = |command: Option<&Path>| {
        let mut quaymaster = Command::new(env!("CARGO_BIN_EXE_quaymaster"));
        quaymaster
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .envs(command.map(|path| ("GIT_SSH_COMMAND", path)))
            // What would lead git elsewhere is not obeyed.
            .env("GIT_DIR", "/nowhere")
            .env("GIT_WORK_TREE", "/nowhere")
            .args(["run", "--state-dir", "state", "--git", "git@git.example.com:shop/state.git"]);
        let output = quaymaster.output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let said = fs::read_to_string(&log).expect("ssh was called");
        fs::remove_file(&log).expect("there");
        said
    };
    let said = ask(None);
    assert!(said.starts_with("ssh ") && said.contains("-oBatchMode=yes"), "{said}");
    let said = ask(Some(&own));
    assert!(said.starts_with("own-ssh ") && !said.contains("BatchMode"), "{said}");
}
