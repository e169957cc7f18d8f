//! Every file that a user is told to copy is one that Quaymaster accepts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::rig::{cosign::Signer, edge, run};

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
        .env("SLACK_URL", "https://chat.example.com/not-a-real-one")
        .env("PAGER_TOKEN", "not a real one")
        .env("FORGE_TOKEN", "not-a-real-one")
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

/// With what its comment says to make, beside it and on the host.
#[test]
fn the_secrets_example_is_valid() {
    use age::secrecy::ExposeSecret as _;
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder can be made");
    let at = |name: &str| dir.path().join(name);
    let identity = age::x25519::Identity::generate();
    let encrypted = age::encrypt_and_armor(&identity.to_public(), b"a key").expect("encrypted");
    fs::write(at("session_key.age"), encrypted).expect("writable");
    for (name, content) in
        [("db_password", "a password\n"), ("age.key", identity.to_string().expose_secret())]
    {
        fs::write(at(name), content).expect("writable");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).expect("ours");
    }
    fs::copy(root().join("examples/secrets/shop.yaml"), at("shop.yaml")).expect("writable");
    // Where there are no secrets, as in CI.
    run(Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .args(["validate", "--without-secrets"])
        .arg(root().join("examples/secrets/shop.yaml")));
    let output = Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .args(["validate", "--age-identity"])
        .arg(at("age.key"))
        .arg(at("shop.yaml"))
        .env("SHOP_SECRETS", dir.path())
        .env("SMTP_PASSWORD", "not a real one")
        .output()
        .expect("quaymaster runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
fn the_workflow_we_ship_calls_what_is_there() {
    let text = fs::read_to_string(root().join("examples/ci/deploy.yaml")).expect("it is there");
    let workflow: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().expect("steps").clone();
    let run = |step: &serde_json::Value| step["run"].as_str().map(str::to_owned);
    let script: String = steps.iter().filter_map(run).collect();
    assert!(script.contains("/declare-image.sh state/stacks/prod.yaml \"$IMAGE\""), "{script}");
    // Every option of its is one that there is.
    let wait = script.lines().find_map(|line| line.strip_prefix("./quaymaster ")).expect("a wait");
    let arguments: Vec<String> = wait
        .split(' ')
        .map(|word| word.replace("\"$COMMIT\"", "0123456"))
        .map(|word| word.replace("https://deploy.example.com", "http://127.0.0.1:1"))
        .map(|word| word.replace("10m", "1s"))
        .collect();
    let output = Command::new(env!("CARGO_BIN_EXE_quaymaster"))
        .args(&arguments)
        .env("QUAYMASTER_TOKEN", "a token")
        .output()
        .expect("quaymaster runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Not done within 1s: cannot ask the controller at http://"), "{said}");
}

#[test]
fn the_caddyfile_we_ship_is_valid() {
    run(Command::new(edge::binary(edge::Version::New))
        .arg("validate")
        .arg("--config")
        .arg(root().join("manifests/Caddyfile"))
        .args(["--adapter", "caddyfile"]));
}

/// Returns what systemd's own checker, which `tests/run.sh` installs, says of the unit in
/// this folder.
fn verified(folder: &Path) -> Vec<String> {
    let unit = folder.join("quaymaster.service");
    let output = Command::new("systemd-analyze").arg("verify").arg(unit).output();
    let output = output.expect("systemd-analyze is installed (package systemd)");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    told.lines().filter(|line| line.contains("quaymaster")).map(str::to_owned).collect()
}

#[test]
fn the_unit_we_ship_is_valid_with_and_without_git() {
    // It names a program that only an installed host has.
    let installed = |name: &str| {
        let text = fs::read_to_string(root().join("manifests").join(name)).expect("it is there");
        text.replace("/usr/local/bin/quaymaster", env!("CARGO_BIN_EXE_quaymaster"))
    };
    let dir = tempfile::tempdir().expect("a folder can be made");
    fs::write(dir.path().join("quaymaster.service"), installed("quaymaster.service"))
        .expect("writable");
    assert_eq!(verified(dir.path()), Vec::<String>::new());
    let drop_in = dir.path().join("quaymaster.service.d");
    fs::create_dir(&drop_in).expect("writable");
    fs::write(drop_in.join("git.conf"), installed("git.conf")).expect("writable");
    assert_eq!(verified(dir.path()), Vec::<String>::new());
}

#[test]
fn the_policy_we_ship_lets_the_production_stack_in() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let policy = dir.path().join("policy.yaml");
    fs::copy(root().join("manifests/policy/policy.yaml"), &policy).expect("it is there");
    fs::create_dir(dir.path().join("keys")).expect("writable");
    fs::write(dir.path().join("keys/ci.pub"), Signer::default().pem()).expect("writable");
    let check = |image: &str| {
        let stack = fs::read_to_string(root().join("manifests/production.yaml")).expect("readable");
        let path = dir.path().join("quaymaster.yaml");
        fs::write(&path, stack.replace("qdrant/qdrant", image)).expect("writable");
        let output = Command::new(env!("CARGO_BIN_EXE_quaymaster"))
            .args(["policy", "check", "--policy"])
            .args([&policy, &path])
            .env("POSTGRES_PASSWORD", "not a real one")
            .env("LANGFUSE_PUBLIC_KEY", "not a real one")
            .env("LANGFUSE_SECRET_KEY", "not a real one")
            .env("LANGFUSE_AUTH", "not a real one")
            .env("DATABASE_URL", "not a real one")
            .output()
            .expect("quaymaster runs");
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&told).into_owned())
    };
    let (code, told) = check("qdrant/qdrant");
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = check("elsewhere/qdrant");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("does not run images of docker.io/elsewhere/qdrant"), "{told}");
}
