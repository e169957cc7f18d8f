//! What is read at a commit, and what stands on the disk because of it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use quaymaster::{
    domain::release::MountSource,
    source::{
        PolicyFile,
        git::{GitSource, Options, RepoPath},
    },
};

use super::{
    PATH, fetched, file, image_of, load, open, open_with, options, refusal, standing, state_dir,
};
use crate::rig::repo::Repo;

/// Returns what is said of a repository that is made like this.
async fn refused(make: impl FnOnce(&Repo)) -> String {
    let repo = Repo::new();
    make(&repo);
    repo.commit("the state");
    repo.push();
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    refusal(&source).await
}

#[tokio::test]
async fn what_is_no_file_of_the_commit_is_refused_with_the_reason() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(secret.path(), file("stolen:1")).expect("writable");
    let outside = secret.path().display().to_string();

    let symlink = refused(|repo| {
        fs::create_dir(repo.work().join("stacks")).expect("a folder");
        repo.link(&outside, PATH);
    })
    .await;
    assert!(symlink.contains("`stacks/prod.yaml` is a symlink"), "{symlink}");
    let folder = refused(|repo| {
        repo.write("real/prod.yaml", &file("web:1"));
        repo.link("real", "stacks");
    })
    .await;
    assert!(folder.contains("`stacks` is a symlink"), "{folder}");
    let submodule = refused(|repo| {
        let other = Repo::new();
        other.publish("prod.yaml", &file("web:1"));
        let call = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
        repo.git(&[&call[..], &[&other.url(), "stacks"]].concat());
    })
    .await;
    assert!(submodule.contains("`stacks` is a submodule"), "{submodule}");
    let directory = refused(|repo| repo.write("stacks/prod.yaml/inner", "")).await;
    assert!(directory.contains("it is a folder"), "{directory}");
    let missing = refused(|repo| repo.write("stacks/dev.yaml", &file("web:1"))).await;
    assert!(missing.contains("there is no such file"), "{missing}");
    let large = refused(|repo| repo.write(PATH, &"#".repeat(1024 * 1024 + 1))).await;
    assert!(large.contains("larger than 1 MiB (1048577 bytes)"), "{large}");
}

#[tokio::test]
async fn a_bad_file_is_told_with_its_commit_until_it_is_mended() {
    let (repo, source) = fetched("web:1").await;
    let bad = repo.publish(PATH, "name: shop\nservices:\n  web: { image: web:1, prot: 80 }\n");
    source.fetch().await.expect("it moved on");
    let report = refusal(&source).await;
    assert!(report.contains(&format!("{PATH} @ {}:3:", &bad[..7])), "{report}");
    assert_eq!(standing(&source).commit.as_str(), bad, "the commit that is read is told");
    repo.publish(PATH, &file("web:2"));
    source.fetch().await.expect("it moved on");
    assert_eq!(image_of(&source).await, "web:2");
}

#[tokio::test]
async fn a_file_that_is_gone_is_no_file_without_services() {
    let (repo, source) = fetched("web:1").await;
    repo.git(&["rm", "--quiet", PATH]);
    repo.commit("remove it");
    repo.push();
    source.fetch().await.expect("it moved on");
    assert!(refusal(&source).await.contains("there is no such file"));
}

const WITH_ENVIRONMENT: &str = "name: shop\nservices:\n  web:\n    image: \"web:${TAG}\"\n    \
     env_file: [app.env, { path: more.env, required: false }]\n";

#[tokio::test]
async fn variables_come_from_the_commit() {
    let repo = Repo::new();
    repo.write("stacks/.env", "TAG=7\n");
    repo.write("stacks/app.env", "COLOUR=red\n");
    repo.publish(PATH, WITH_ENVIRONMENT);
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    let colour = async || {
        let stack = load(&source).await;
        let web = stack.services.values().next().expect("a service");
        let colour = &web.spec.environment["COLOUR"];
        (web.image.to_string(), colour.reveal().to_owned())
    };
    assert_eq!(colour().await, ("web:7".to_owned(), "red".to_owned()));
    repo.write("stacks/more.env", "COLOUR=blue\n");
    repo.publish("stacks/.env", "TAG=8\n");
    assert_eq!(colour().await.0, "web:7", "what was pushed is read before it is fetched");
    source.fetch().await.expect("it moved on");
    assert_eq!(colour().await, ("web:8".to_owned(), "blue".to_owned()));
}

#[tokio::test]
async fn env_files_of_this_host_replace_the_committed_one() {
    let repo = Repo::new();
    repo.write("stacks/.env", "TAG=committed\n");
    repo.publish(PATH, &file("web:${TAG}"));
    let env_file = repo.beside("host.env");
    fs::write(&env_file, "TAG=host\n").expect("writable");
    let options = Options { env_files: vec![env_file.clone()], ..options(&repo) };
    let source = open_with(&repo, options).await;
    source.fetch().await.expect("the remote is there");
    assert_eq!(image_of(&source).await, "web:host");
    fs::remove_file(&env_file).expect("it is there");
    assert!(refusal(&source).await.contains("host.env"), "a named env file may not be missing");
}

#[tokio::test]
async fn a_key_of_the_policy_wakes_as_the_policy_does() {
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3R0ZtpfBd3Y8DaXuB1gM8JPlhsDI
EfXO/WsMJEN14hEn8wajX2HklqL7igZPFICv6tBUGylIHp2mTH2Nhv38mg==
-----END PUBLIC KEY-----
";
    let repo = Repo::new();
    repo.publish(PATH, &file("registry.example.com/web:1"));
    // In a folder of its own, which nothing else is watched in.
    let keys = tempfile::tempdir().expect("a folder");
    let key = keys.path().join("ci.pub");
    fs::write(&key, KEY).expect("writable");
    let policy = repo.beside("policy.yaml");
    let rules = format!(
        "images:\n  allowed: [registry.example.com]\n  \
         signed: [{{ images: registry.example.com, keys: [{}] }}]\n",
        key.display()
    );
    fs::write(&policy, rules).expect("writable");
    let policy = Some(PolicyFile::Named(policy));
    let source = open_with(&repo, Options { policy, ..options(&repo) }).await;
    source.fetch().await.expect("the remote is there");
    load(&source).await;
    let (tell, mut wakes) = tokio::sync::mpsc::unbounded_channel();
    let _watch = source.watch_host_files(Arc::new(move || {
        let _ = tell.send(());
    }));
    fs::write(&key, format!("{KEY}\n")).expect("writable");
    let woken = tokio::time::timeout(Duration::from_secs(15), wakes.recv()).await;
    assert_eq!(woken, Ok(Some(())), "a changed key did not wake");
}

#[tokio::test]
async fn env_files_that_lead_out_are_refused() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(secret.path(), "SECRET=canary\n").expect("writable");
    let repo = Repo::new();
    repo.write("stacks/.env", "TAG=1\n");
    repo.link(&secret.path().display().to_string(), "stacks/app.env");
    repo.publish(PATH, WITH_ENVIRONMENT);
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    let refused = refusal(&source).await;
    assert!(refused.contains("is a symlink") && !refused.contains("canary"), "{refused}");
}

const WITH_MOUNT: &str = "name: shop\nservices:\n  web:\n    image: web:1\n    \
     volumes: [\"./conf:/etc/app:ro\"]\n";

fn mounted_from(stack: &quaymaster::domain::Stack) -> PathBuf {
    let web = stack.services.values().next().expect("a service");
    match &web.spec.mounts[0].source {
        MountSource::Bind(path) => PathBuf::from(path),
        other => panic!("{other:?}"),
    }
}

async fn with_mount() -> (Repo, GitSource) {
    let repo = Repo::new();
    repo.write("stacks/conf/app.conf", "one");
    repo.write("stacks/conf/same.conf", "same");
    repo.link("/etc/passwd", "stacks/conf/link");
    repo.publish(PATH, WITH_MOUNT);
    let source = open(&repo).await;
    source.fetch().await.expect("the remote is there");
    (repo, source)
}

#[tokio::test]
async fn what_is_mounted_stands_on_the_disk_and_changes_in_place() {
    let (repo, source) = with_mount().await;
    let first = load(&source).await;
    let conf = mounted_from(&first);
    assert!(conf.starts_with(state_dir(&repo)), "{}", conf.display());
    let read = |name: &str| fs::read_to_string(conf.join(name)).expect("it stands there");
    assert_eq!((read("app.conf"), read("same.conf")), ("one".to_owned(), "same".to_owned()));
    // A container's user, who is none of ours, may read it.
    let mode = fs::metadata(conf.join("app.conf")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    // What leads out of the tree leads nowhere.
    assert!(fs::symlink_metadata(conf.join("link")).expect("there").is_file());
    let state = state_dir(&repo).join(".from-git");
    let mode = fs::metadata(
        fs::read_dir(state).expect("a folder").next().expect("one").expect("readable").path(),
    );
    assert_eq!(mode.expect("there").permissions().mode() & 0o777, 0o700);

    let same = fs::metadata(conf.join("same.conf")).expect("there").modified().expect("a time");
    repo.publish("stacks/conf/app.conf", "two");
    source.fetch().await.expect("it moved on");
    assert_eq!(read("app.conf"), "one", "fetching is not accepting");
    let second = load(&source).await;
    assert_eq!(read("app.conf"), "two");
    let later = fs::metadata(conf.join("same.conf")).expect("there").modified().expect("a time");
    assert_eq!(same, later, "what did not change was written");
    assert_eq!(first.services, second.services, "a commit alone makes a new release");
}

#[tokio::test]
async fn a_bad_file_leaves_what_is_mounted_as_it_is() {
    let (repo, source) = with_mount().await;
    let conf = mounted_from(&load(&source).await);
    repo.write("stacks/conf/app.conf", "of a bad commit");
    repo.publish(PATH, "name: shop\nservices: {}\n");
    source.fetch().await.expect("it moved on");
    refusal(&source).await;
    assert_eq!(fs::read_to_string(conf.join("app.conf")).expect("there"), "one");
}

#[tokio::test]
async fn what_was_spoilt_on_the_disk_is_mended_at_the_next_start() {
    let (repo, source) = with_mount().await;
    let conf = mounted_from(&load(&source).await);
    drop(source);
    fs::remove_file(conf.join("same.conf")).expect("there");
    fs::write(conf.join("app.conf"), "spoilt").expect("writable");
    let repository = conf.ancestors().find(|it| it.ends_with("tree")).expect("the tree");
    let repository = repository.parent().expect("a folder").join("repository");
    fs::write(repository.join("index"), "damaged").expect("writable");
    fs::write(repository.join("index.lock"), "of a killed git").expect("writable");
    let source = open(&repo).await;
    load(&source).await;
    let read = |name: &str| fs::read_to_string(conf.join(name)).expect("it stands there");
    assert_eq!((read("app.conf"), read("same.conf")), ("one".to_owned(), "same".to_owned()));
}

#[tokio::test]
async fn nothing_is_put_on_the_disk_that_nothing_mounts() {
    let (repo, source) = fetched("web:1").await;
    load(&source).await;
    assert!(!source.file().exists(), "{}", repo.url());
}

#[tokio::test]
async fn another_path_of_the_same_branch_is_another_source() {
    let (repo, source) = fetched("web:1").await;
    repo.publish("stacks/dev.yaml", &file("web:dev"));
    let path = RepoPath::parse("stacks/dev.yaml").expect("a path");
    let other = open_with(&repo, Options { path, ..options(&repo) }).await;
    other.fetch().await.expect("the remote is there");
    assert_eq!(image_of(&other).await, "web:dev");
    assert_eq!(image_of(&source).await, "web:1");
}
