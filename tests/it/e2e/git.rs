//! From a commit to traffic, and what happens when Git is not there.

use std::{fs, process::Command};

use super::shop;
use crate::rig::{forge::Forge, free_port, host::Host, repo::Repo};

const PATH: &str = "stacks/prod.yaml";

/// A host with images, and a repository that declares v1 in blue for it.
fn with_repo() -> (Host, Repo) {
    let host = Host::new();
    host.image("v1");
    host.image("v2");
    let repo = Repo::new();
    repo.publish(PATH, &host.file(&shop("v1", "blue")));
    (host, repo)
}

fn serving_v1() -> (Host, Repo) {
    let (mut host, repo) = with_repo();
    start(&mut host, &repo, &["--interval", "1s"]);
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    (host, repo)
}

fn start(host: &mut Host, repo: &Repo, more: &[&str]) {
    let url = repo.url();
    host.start_with(&[&["--git", &url, "--path", PATH], more].concat());
}

/// Returns what `quaymaster status` prints.
fn told(host: &Host) -> String {
    String::from_utf8(host.quaymaster(&["status"]).stdout).expect("UTF-8")
}

#[track_caller]
fn wait_for(host: &Host, commit: &str) {
    let waited = host.quaymaster(&["wait", "--commit", commit, "--timeout", "60s"]);
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
}

#[test]
fn a_commit_becomes_traffic_and_its_revert_a_rollback() {
    let (host, repo) = serving_v1();
    let traffic = host.traffic("shop");
    let commit = repo.publish(PATH, &host.file(&shop("v2", "green")));
    wait_for(&host, &commit);
    assert_eq!(host.site("shop").banner().as_deref(), Some("v2 green"));
    let labelled = host.running("shop").into_iter().find(|replica| replica.slot == "green");
    let label = crate::rig::docker::docker(&[
        "inspect",
        "--format",
        "{{ index .Config.Labels \"quaymaster.commit\" }}",
        &labelled.expect("green runs").id,
    ]);
    assert_eq!(label.trim(), commit);
    let status = told(&host);
    let line = format!("git: {} main @ {} \"change {PATH}\"", repo.url(), &commit[..7]);
    assert!(status.contains(&line), "{status}");
    let history = host.quaymaster(&["history"]).stdout;
    assert!(String::from_utf8_lossy(&history).contains(&commit[..7]));
    let before = host.replicas();
    repo.git(&["revert", "--no-edit", "HEAD"]);
    repo.push();
    wait_for(&host, &repo.head());
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
    assert_eq!(host.replicas(), before, "the rollback started something");
    traffic.end().assert_none_failed();
}

/// What the workflow in examples/ci does, but for building the image.
#[test]
fn the_ci_example_declares_an_image_and_waits_for_it() {
    let (host, repo) = serving_v1();
    let file = repo.work().join(PATH);
    repo.git(&["branch", "--quiet", "--set-upstream-to", "origin/main"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ci/declare-image.sh");
    let declare = |image: &str| {
        let mut command = Command::new(script);
        let git = crate::rig::repo::git();
        command.envs(git.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg(&file).arg(image).output().expect("the script runs")
    };
    // Somebody else pushes meanwhile.
    let other = repo.beside("other");
    crate::rig::run(crate::rig::repo::git().args(["clone", "--quiet", &repo.url()]).arg(&other));
    fs::write(other.join("README"), "meanwhile").expect("writable");
    for arguments in [&["add", "README"][..], &["commit", "-qm", "meanwhile"], &["push", "-q"]] {
        crate::rig::run(crate::rig::repo::git().current_dir(&other).args(arguments));
    }
    let declared = declare(&host.tag("v2"));
    let said = String::from_utf8_lossy(&declared.stderr).into_owned();
    assert!(declared.status.success(), "{said}");
    assert!(said.contains("starting again"), "{said}");
    let commit = String::from_utf8(declared.stdout).expect("UTF-8").trim().to_owned();
    wait_for(&host, &commit);
    assert_eq!(host.site("shop").banner().as_deref(), Some("v2 blue"));
    // Again, and it is the same commit.
    assert_eq!(declare(&host.tag("v2")).stdout, format!("{commit}\n").as_bytes());
    for wrong in ["elsewhere/app:v1", "no-tag", "a/b:c d", "../x:1"] {
        assert_eq!(declare(wrong).status.code(), Some(1), "{wrong}");
    }
}

#[test]
fn without_git_it_starts_again_and_rolls_back() {
    let (mut host, repo) = serving_v1();
    let commit = repo.publish(PATH, &host.file(&shop("v2", "green")));
    wait_for(&host, &commit);
    host.kill();
    repo.hide();
    host.lose_store();
    for replica in host.running("shop") {
        crate::rig::docker::docker(&["rm", "--force", &replica.id]);
    }
    start(&mut host, &repo, &["--interval", "1s"]);
    host.until_answers("shop", "v2 green");
    host.until_seen("the remote is missed", || {
        told(&host).contains("The branch is not followed").then_some(())
    });
    assert_eq!(host.quaymaster(&["flip", "shop"]).status.code(), Some(2));
    repo.show();
    repo.publish(PATH, &host.file(&shop("v1", "blue")));
    host.until_answers("shop", "v1 blue");
    host.until_settled();
    repo.hide();
    let back = host.quaymaster(&["rollback", "shop"]);
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    host.until_answers("shop", "v2 green");
}

#[test]
fn a_bad_commit_and_a_rewritten_branch_change_nothing() {
    let (host, repo) = serving_v1();
    let before = host.replicas();
    let bad = repo.publish(PATH, &host.file(&shop("v2", "purple")));
    let waited = host.quaymaster(&["wait", "--commit", &bad[..12], "--timeout", "60s"]);
    assert_eq!(waited.status.code(), Some(1));
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(said.contains("is not valid") && said.contains("purple"), "{said}");
    assert!(told(&host).contains(&format!("{PATH} @ {}", &bad[..7])), "{}", told(&host));

    repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    repo.write(PATH, &host.file(&shop("v2", "green")));
    repo.git(&["commit", "--quiet", "--all", "--amend", "--message", "rewritten"]);
    repo.push_force();
    host.until_seen("the rewritten branch is told of", || {
        told(&host).contains("was rewritten").then_some(())
    });
    assert_eq!(host.replicas(), before);
    assert_eq!(host.site("shop").banner().as_deref(), Some("v1 blue"));
}

#[test]
fn a_forge_that_calls_makes_it_look_and_ci_waits_from_outside() {
    let (mut host, repo) = with_repo();
    let folder = repo.bare();
    // base64 of `ci:canary-of-a-password`.
    let login = "Basic Y2k6Y2FuYXJ5LW9mLWEtcGFzc3dvcmQ=";
    let forge = Forge::serve(folder.parent().expect("a folder"), login);
    let helper = "!f() { echo username=ci; echo password=canary-of-a-password; }; f";
    fs::write(host.git_config(), format!("[credential]\n\thelper = \"{helper}\"\n"))
        .expect("writable");
    let (secret, token) = (repo.beside("secret"), repo.beside("token"));
    for (path, text) in [(&secret, "of the webhook\n"), (&token, "of the status\n")] {
        use std::os::unix::fs::PermissionsExt;
        fs::write(path, text).expect("writable");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
    }
    let port = free_port().to_string();
    let url = format!("http://{}/state.git", forge.authority());
    let arguments = ["--git", &url, "--path", PATH, "--interval", "1h", "--listen", &port];
    let (secret, token) = (secret.display().to_string(), token.display().to_string());
    let files = ["--webhook-secret-file", &secret, "--status-token-file", &token];
    host.start_with(&[&arguments[..], &files].concat());
    host.until_answers("shop", "v1 blue");
    host.until_settled();

    let commit = repo.publish(PATH, &host.file(&shop("v2", "green")));
    let hook = format!("http://127.0.0.1:{port}/hooks/git");
    let call = |token: &str| {
        let header = format!("X-Gitlab-Token: {token}");
        let call = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"];
        let more = ["--request", "POST", "--data", "{}", "--header", &header, &hook];
        crate::rig::run(Command::new("curl").args(call).args(more))
    };
    assert_eq!(call("wrong"), "401");
    assert_eq!(call("of the webhook"), "202");
    let base = format!("http://127.0.0.1:{port}");
    let elsewhere = ["--url", &base, "--token-file", &token, "--timeout", "60s"];
    let waited = host.quaymaster(&[&["wait", "--commit", &commit], &elsewhere[..]].concat());
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    assert_eq!(host.site("shop").banner().as_deref(), Some("v2 green"));
    let everything = host.log() + &told(&host);
    assert!(!everything.contains("canary-of-a-password"));
}
