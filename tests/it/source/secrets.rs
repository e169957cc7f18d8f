//! Secrets out of real files: beside the file, in a commit, elsewhere on the host.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quaymaster::{
    domain::Stack,
    ports::Source,
    source::{AgeIdentity, GitSource},
};
use tokio::sync::mpsc::unbounded_channel;

use super::{git, source};
use crate::rig::repo::Repo;

/// Long enough for any loaded machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn file(origin: &str) -> String {
    format!(
        "name: shop\nsecrets: {{ db: {{ {origin} }} }}\nservices:\n  web: {{ image: \"web:1\", secrets: [db] }}\n"
    )
}

fn save(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn value(stack: &Stack) -> String {
    let service = stack.services.values().next().expect("a service");
    service.spec.secrets["/run/secrets/db"].content.as_text().reveal().to_owned()
}

struct Beside {
    folder: tempfile::TempDir,
}

impl Beside {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn load(&self, origin: &str) -> Result<String, String> {
        fs::write(self.at("shop.yaml"), file(origin)).expect("writable");
        source(&self.at("shop.yaml")).load().await.map(|stack| value(&stack))
    }
}

#[tokio::test]
async fn a_file_beside_the_file_stays_in_its_folder_and_to_its_owner() {
    let beside = Beside { folder: tempfile::tempdir().expect("a folder") };
    let outside = tempfile::NamedTempFile::new().expect("a file");
    save(outside.path(), "outside", 0o600);
    save(&beside.at("db"), "hunter2\n", 0o600);
    assert_eq!(beside.load("file: ./db").await.as_deref(), Ok("hunter2\n"));
    let absolute = format!("file: {}", outside.path().display());
    assert_eq!(beside.load(&absolute).await.as_deref(), Ok("outside"));
    symlink(outside.path(), beside.at("link")).expect("a symlink");
    let error = beside.load("file: ./link").await.expect_err("it leads out");
    assert!(error.contains("it leads out of"), "{error}");
    save(&beside.at("db"), "hunter2\n", 0o604);
    let error = beside.load("file: ./db").await.expect_err("for everybody");
    assert!(error.contains("every user of this host") && error.contains("chmod 600"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = beside.load("file: .").await.expect_err("a folder");
    assert!(error.contains("outside the folder"), "{error}");
}

#[tokio::test]
async fn a_saved_secret_wakes() {
    let beside = Beside { folder: tempfile::tempdir().expect("a folder") };
    let elsewhere = tempfile::tempdir().expect("a folder");
    let path = elsewhere.path().join("db");
    save(&path, "first", 0o600);
    fs::write(beside.at("shop.yaml"), file(&format!("file: {}", path.display()))).expect("ours");
    let source = source(&beside.at("shop.yaml"));
    assert_eq!(value(&source.load().await.expect("valid")), "first");
    let (tell, mut wakes) = unbounded_channel();
    let _watch = source.watch(Arc::new(move || {
        let _ = tell.send(());
    }));
    save(&path, "second", 0o600);
    let woken = tokio::time::timeout(PATIENCE, wakes.recv()).await;
    woken.expect("it did not wake").expect("the watch lives");
    assert_eq!(value(&source.load().await.expect("valid")), "second");
}

async fn committed(origin: &str, make: impl FnOnce(&Repo)) -> (Repo, GitSource) {
    let repo = Repo::new();
    make(&repo);
    repo.publish(git::PATH, &file(origin));
    let source = git::open(&repo).await;
    source.fetch().await.expect("the remote is there");
    (repo, source)
}

#[tokio::test]
async fn in_git_a_relative_path_is_of_the_commit_and_an_absolute_one_of_the_host() {
    let (_repo, source) =
        committed("file: ./db", |repo| repo.write("stacks/db", "of the commit")).await;
    assert_eq!(value(&source.load().await.expect("valid")), "of the commit");

    let host = tempfile::tempdir().expect("a folder");
    let path = host.path().join("db");
    save(&path, "of the host", 0o600);
    let origin = format!("file: {}", path.display());
    let (_repo, source) = committed(&origin, |_| ()).await;
    assert_eq!(value(&source.load().await.expect("valid")), "of the host");
    let (tell, mut wakes) = unbounded_channel();
    let _watch = source.watch_host_files(Arc::new(move || {
        let _ = tell.send(());
    }));
    save(&path, "rotated", 0o600);
    let woken = tokio::time::timeout(PATIENCE, wakes.recv()).await;
    woken.expect("it did not wake").expect("the watch lives");
    assert_eq!(value(&source.load().await.expect("valid")), "rotated");

    let outside = path.display().to_string();
    let (_repo, source) = committed("file: ./link", |repo| {
        repo.write("stacks/x", "");
        repo.link(&outside, "stacks/link");
    })
    .await;
    let error = source.load().await.expect_err("a symlink");
    assert!(error.contains("`stacks/link` is a symlink"), "{error}");
    let (_repo, source) = committed("file: ../db", |repo| repo.write("db", "above")).await;
    let error = source.load().await.expect_err("it leads out");
    assert!(error.contains("outside the folder"), "{error}");
}

#[tokio::test]
async fn a_secret_of_the_commit_is_decrypted_with_the_identity_of_the_host() {
    use age::secrecy::ExposeSecret as _;
    let host = tempfile::tempdir().expect("a folder");
    let identity = age::x25519::Identity::generate();
    save(&host.path().join("age.key"), identity.to_string().expose_secret(), 0o600);
    let repo = Repo::new();
    let armored = age::encrypt_and_armor(&identity.to_public(), b"hunter2").expect("encrypted");
    repo.write("stacks/db.age", &armored);
    repo.publish(git::PATH, &file("age_file: db.age"));
    let mut options = git::options(&repo);
    let source = git::open_with(&repo, options.clone()).await;
    source.fetch().await.expect("the remote is there");
    let error = source.load().await.expect_err("no identity");
    assert!(error.contains("/etc/quaymaster/age.key"), "{error}");
    drop(source);
    options.age_identity = AgeIdentity::named(host.path().join("age.key"));
    let source = git::open_with(&repo, options).await;
    assert_eq!(value(&source.load().await.expect("valid")), "hunter2");
}
