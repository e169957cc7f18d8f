//! Every file that a user is told to copy is one that Quaymaster accepts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::rig::{edge, run};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the stacks under a folder of the repository.
fn stacks(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    found
}

#[track_caller]
fn assert_valid(path: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .arg("validate")
        .arg(path)
        .env("QUICKSTART_DIR", "/tmp")
        .env("POSTGRES_PASSWORD", "not a real one")
        .env("LANGFUSE_PUBLIC_KEY", "not a real one")
        .env("LANGFUSE_SECRET_KEY", "not a real one")
        .env("LANGFUSE_AUTH", "not a real one")
        .env("DATABASE_URL", "not a real one")
        .output()
        .expect("quaymaster runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", path.display());
}

#[test]
fn every_stack_we_ship_is_valid() {
    let mut all = stacks("examples");
    all.extend(stacks("examples/quickstart"));
    all.extend(stacks("manifests"));
    assert!(all.len() >= 6, "some are missing: {all:?}");
    for path in all {
        assert_valid(&path);
    }
}

#[test]
fn every_stack_of_the_readme_is_valid() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let dir = tempfile::tempdir().expect("a folder can be made");
    let stacks: Vec<&str> = blocks.filter(|block| block.starts_with("name:")).collect();
    assert!(stacks.len() >= 2, "some are missing: {stacks:?}");
    for (at, stack) in stacks.into_iter().enumerate() {
        let path = dir.path().join(format!("readme-{at}.yaml"));
        fs::write(&path, stack).expect("writable");
        assert_valid(&path);
    }
}

#[test]
fn the_caddyfile_we_ship_is_valid() {
    run(Command::new(edge::binary(edge::Version::New))
        .arg("validate")
        .arg("--config")
        .arg(root().join("manifests/Caddyfile"))
        .args(["--adapter", "caddyfile"]));
}

#[test]
fn the_unit_we_ship_is_valid() {
    let verify = root().join("manifests/quaymaster.service");
    let unit = fs::read_to_string(verify).expect("the unit is there");
    let dir = tempfile::tempdir().expect("a folder can be made");
    // It names a program that only an installed host has.
    let here = dir.path().join("quaymaster.service");
    let program = env!("CARGO_BIN_EXE_quaymaster");
    fs::write(&here, unit.replace("/usr/local/bin/quaymaster", program)).expect("writable");
    // systemd's own checker: `tests/run.sh` installs it.
    let output = Command::new("systemd-analyze").arg("verify").arg(&here).output();
    let output = output.expect("systemd-analyze is installed (package systemd)");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("quaymaster")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}
