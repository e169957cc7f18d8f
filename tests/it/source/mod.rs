//! The desired-state file on a real file system.

mod git;
mod secrets;
mod watch;

use std::{fs, path::Path};

use quaymaster::{
    domain::{HostIdentity, manifest::AllowDeleteAll},
    ports::Source,
    source::FileSource,
};

fn source(path: &Path) -> FileSource {
    FileSource::new(path, Vec::new(), AllowDeleteAll::No, HostIdentity::default())
}

async fn refusal(path: &Path) -> String {
    source(path).load().await.expect_err("it is refused")
}

#[tokio::test]
async fn what_is_not_a_readable_file_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);

    let missing = refusal(&at("missing.yaml")).await;
    assert!(missing.contains("missing.yaml: No such file"), "{missing}");

    let directory = refusal(folder.path()).await;
    assert!(directory.ends_with("it is a folder; name the file in it"), "{directory}");

    let pipe = at("pipe.yaml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a named pipe");
    let pipe = refusal(&pipe).await;
    assert!(pipe.contains("it is not a regular file"), "{pipe}");

    fs::write(at("large.yaml"), vec![b'#'; 1024 * 1024 + 1]).expect("a file");
    let large = refusal(&at("large.yaml")).await;
    assert!(large.contains("is larger than 1 MiB (1048577 bytes)"), "{large}");
}

#[tokio::test]
async fn a_bad_env_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quaymaster.yaml");
    fs::write(&path, "name: shop\n").expect("a file");
    let missing = folder.path().join(".env");
    let source =
        FileSource::new(&path, vec![missing.clone()], AllowDeleteAll::No, HostIdentity::default());
    let error = source.load().await.expect_err("the env file is missing");
    assert!(error.starts_with(&format!("cannot read the env file {}", missing.display())));
    fs::write(&missing, b"A=\xff\n").expect("a file");
    let error = source.load().await.expect_err("the env file is not text");
    assert!(error.ends_with("it is not UTF-8"), "{error}");
}

#[tokio::test]
async fn an_edit_of_the_same_length_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quaymaster.yaml");
    let source = source(&path);
    fs::write(&path, "nmae: a\n").expect("a file");
    let first = source.load().await.expect_err("a typing error");
    assert_eq!(source.load().await.expect_err("still"), first);
    fs::write(&path, "naem: a\n").expect("a file");
    let second = source.load().await.expect_err("another typing error");
    assert_ne!(first, second);
}
