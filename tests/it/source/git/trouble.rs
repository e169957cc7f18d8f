//! Remotes that are gone, copies that are damaged, and repositories that mean no good.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use quaymaster::{
    ports::Source,
    source::git::{FetchError, GitSource},
};

use super::{
    PATH, commit_of, fetched, file, image_of, load, open, open_with, options_of, refusal, standing,
    state_dir,
};
use crate::rig::{PATIENCE, forge::Forge, free_port, repo::Repo};

#[tokio::test]
async fn a_remote_that_is_gone_changes_nothing_and_heals_by_itself() {
    let (repo, source) = fetched("web:1").await;
    repo.hide();
    let error = source.fetch().await.expect_err("nobody is there");
    assert!(matches!(error, FetchError::Remote { .. }), "{error}");
    let trouble = standing(&source).trouble.expect("it is said");
    assert!(trouble.contains(&repo.url()) && trouble.contains("stays in force"), "{trouble}");
    assert_eq!(image_of(&source).await, "web:1");
    repo.show();
    repo.publish(PATH, &file("web:2"));
    source.fetch().await.expect("it is back");
    assert_eq!((image_of(&source).await, standing(&source).trouble), ("web:2".to_owned(), None));
}

#[tokio::test]
async fn a_branch_that_is_gone_is_named() {
    let (repo, source) = fetched("web:1").await;
    repo.git(&["push", "--quiet", "origin", "HEAD:refs/heads/not/main"]);
    crate::rig::run(crate::rig::repo::git().arg("--git-dir").arg(repo.bare()).args([
        "update-ref",
        "-d",
        "refs/heads/main",
    ]));
    let error = source.fetch().await.expect_err("no branch");
    assert!(matches!(error, FetchError::NoBranch { .. }), "{error}");
    assert_eq!(image_of(&source).await, "web:1");
    assert!(standing(&source).trouble.expect("said").contains("has no branch main"));
}

#[tokio::test]
async fn a_restart_without_a_network_reads_what_was_followed() {
    let (repo, source) = fetched("web:1").await;
    let commit = commit_of(&source);
    drop(source);
    repo.hide();
    let source = open(&repo).await;
    assert_eq!((commit_of(&source), image_of(&source).await), (commit, "web:1".to_owned()));
    source.fetch().await.expect_err("nobody is there");
    assert_eq!(image_of(&source).await, "web:1");
}

#[tokio::test]
async fn the_last_valid_commit_is_kept_beside_a_bad_one() {
    let (repo, source) = fetched("web:1").await;
    load(&source).await;
    let good = repo.head();
    for n in 0..3 {
        repo.publish(PATH, &format!("services: [{n}\n"));
        source.fetch().await.expect("it moved on");
        refusal(&source).await;
    }
    drop(source);
    repo.hide();
    let source = open(&repo).await;
    refusal(&source).await;
    let stack = source.load_last_valid().await.expect("the last good one is kept");
    assert_eq!(stack.commit.expect("of a commit").as_str(), good);
}

#[tokio::test]
async fn a_damaged_copy_is_made_anew() {
    let (repo, source) = fetched("web:1").await;
    let folder = source.file();
    drop(source);
    let folder = folder.ancestors().find(|it| it.ends_with("tree")).expect("the tree");
    let repository = folder.parent().expect("a folder").join("repository");
    fs::remove_dir_all(repository.join("objects")).expect("there");
    fs::create_dir(repository.join("objects")).expect("writable");
    let source = open(&repo).await;
    assert!(!source.has_commit(), "a commit is followed of which nothing is there");
    source.fetch().await.expect("the remote is there");
    assert_eq!(image_of(&source).await, "web:1");
    drop(source);
    fs::write(repository.join("HEAD"), "nonsense").expect("writable");
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    assert_eq!(image_of(&source).await, "web:1");
}

#[tokio::test]
async fn locks_of_a_killed_git_hold_nothing_up() {
    let (repo, source) = fetched("web:1").await;
    let folder = source.file();
    drop(source);
    let folder = folder.ancestors().find(|it| it.ends_with("tree")).expect("the tree");
    let repository = folder.parent().expect("a folder").join("repository");
    for lock in ["shallow.lock", "refs/quaymaster/followed.lock", "refs/quaymaster/tip.lock"] {
        fs::write(repository.join(lock), "").expect("writable");
    }
    repo.publish(PATH, &file("web:2"));
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    assert_eq!(image_of(&source).await, "web:2");
}

/// Writes a program that leaves a file where it was run.
fn canary(at: &Path, mark: &Path) {
    fs::create_dir_all(at.parent().expect("a folder")).expect("a folder can be made");
    fs::write(at, format!("#!/bin/sh\ntouch '{}'\n", mark.display())).expect("writable");
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("ours");
}

#[tokio::test]
async fn no_hook_is_ever_run() {
    let (repo, source) = fetched("web:1").await;
    let mark = repo.beside("a hook was run");
    let folder = source.file();
    let folder = folder.ancestors().find(|it| it.ends_with("tree")).expect("the tree");
    let repository = folder.parent().expect("a folder").join("repository");
    assert!(!repository.join("hooks").exists(), "a template's hooks were copied");
    let hooks = ["reference-transaction", "post-checkout", "post-index-change", "post-merge"];
    for hook in hooks {
        canary(&repository.join("hooks").join(hook), &mark);
    }
    // Committed ones and a submodule's are only files.
    canary(&repo.work().join(".githooks/post-checkout"), &mark);
    repo.write("stacks/conf/a", "one");
    repo.publish(
        PATH,
        "name: shop\nservices:\n  web: { image: web:1, volumes: [\"./conf:/c:ro\"] }\n",
    );
    source.fetch().await.expect("it moved on");
    load(&source).await;
    assert!(source.file().exists(), "nothing was checked out");
    assert!(!mark.exists());
}

/// A server that answers every request in the same way.
fn answering(answer: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("127.0.0.1:{port}")
}

const LOGIN: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_server_that_wants_a_login_is_no_prompt_but_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("http://{}/state.git", answering(LOGIN));
    let source = GitSource::open(folder.path(), options_of(&url)).await.expect("a folder of ours");
    let error = tokio::time::timeout(PATIENCE, source.fetch()).await.expect("it does not wait");
    let error = error.expect_err("nobody knows a login");
    assert!(error.hint().expect("a mend").contains("credential helper"), "{error}");
}

/// Returns the command lines of all processes in which `text` stands.
fn processes_with(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("a Linux");
    let lines = entries.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

#[tokio::test]
async fn a_fetch_that_is_given_up_leaves_no_process_behind() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let host = silent.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("http://{host}/state.git");
    let source = GitSource::open(folder.path(), options_of(&url)).await.expect("a folder of ours");
    let fetching = tokio::spawn(async move { source.fetch().await.map_err(drop) });
    let deadline = std::time::Instant::now() + PATIENCE;
    // git itself, and the helper that it starts for HTTP.
    while processes_with(&host).len() < 2 {
        assert!(std::time::Instant::now() < deadline, "git never asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fetching.abort();
    while !processes_with(&host).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", processes_with(&host));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_credential_of_the_url_is_shown_nowhere() {
    let secret = "canary-of-a-token";
    let folder = tempfile::tempdir().expect("a folder");
    for user_info in [format!("ci:{secret}"), secret.to_owned()] {
        for host in [answering(LOGIN), format!("127.0.0.1:{}", free_port())] {
            let url = format!("http://{user_info}@{host}/state.git");
            let options = options_of(&url);
            assert!(!format!("{options:?}").contains(secret));
            let source = GitSource::open(folder.path(), options).await.expect("a folder of ours");
            let error = source.fetch().await.expect_err("it is refused");
            let shown = format!("{error} {error:?} {:?}", error.hint());
            let problem = source.load().await.expect_err("nothing is fetched");
            assert!(!shown.contains(secret) && !problem.contains(secret), "{shown}\n{problem}");
        }
    }
    let mut kept = 0;
    each_file(folder.path(), &mut |path| {
        kept += 1;
        let text = String::from_utf8_lossy(&fs::read(path).expect("readable")).into_owned();
        assert!(!text.contains(secret), "{} holds the credential", path.display());
    });
    assert!(kept > 0, "nothing was looked at");
}

fn each_file(folder: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => each_file(&path, look),
            false => look(&path),
        }
    }
}

#[tokio::test]
async fn following_wakes_when_something_changed_and_looks_when_it_is_told_to() {
    let (repo, source) = fetched("web:1").await;
    let (tell, mut wakes) = tokio::sync::mpsc::unbounded_channel();
    let hour = Duration::from_secs(3_600);
    let following = source.follow(
        hour,
        Arc::new(move || {
            let _ = tell.send(());
        }),
    );
    repo.publish(PATH, &file("web:2"));
    following.fetch_soon().tell();
    tokio::time::timeout(PATIENCE, wakes.recv()).await.expect("told").expect("it follows");
    assert_eq!(image_of(&source).await, "web:2");
    repo.hide();
    following.fetch_soon().tell();
    tokio::time::timeout(PATIENCE, wakes.recv()).await.expect("told").expect("it follows");
    assert!(standing(&source).trouble.is_some());
    drop(following);
    assert!(wakes.recv().await.is_none(), "nobody follows any more");
    assert!(state_dir(&repo).exists());
}

#[tokio::test]
async fn a_server_behind_a_login_is_followed_with_the_credential_of_the_url() {
    let repo = Repo::new();
    repo.publish(PATH, &file("web:1"));
    let folder = repo.bare();
    let folder = folder.parent().expect("a folder");
    // base64 of `ci:p@ss`.
    let forge = Forge::serve(folder, "Basic Y2k6cEBzcw==");
    let of = |user_info: &str| {
        options_of(&format!("http://{user_info}@{}/state.git", forge.authority()))
    };
    let source = open_with(&repo, of("ci:p%40ss")).await;
    source.fetch().await.expect("the login is right");
    for n in 2..5 {
        repo.publish(PATH, &file(&format!("web:{n}")));
        source.fetch().await.expect("the login is right");
        assert_eq!(image_of(&source).await, format!("web:{n}"));
    }
    assert_eq!(standing(&source).url, format!("http://{}/state.git", forge.authority()));
    drop(source);
    // A credential that was renewed leads to the same copy.
    let source = open_with(&repo, of("ci:wrong-canary")).await;
    assert_eq!(image_of(&source).await, "web:4");
    let error = source.fetch().await.expect_err("the login is wrong");
    assert!(error.hint().expect("a mend").contains("refuses the credential"), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(forge.refused() > 0);
}
