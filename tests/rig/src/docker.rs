//! The real engine, through Docker's own command line: the tests look at it
//! with other eyes than the code under test.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde::Deserialize;
use serde_json::Value;

use crate::run;

pub fn docker(arguments: &[&str]) -> String {
    run(Command::new("docker").args(arguments))
}

/// Runs `docker` for clean-up: whatever it names may be gone already.
pub fn docker_lenient(arguments: &[&str]) {
    let quiet =
        Command::new("docker").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    drop(quiet);
}

/// A container of a stack, as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: String,
    pub name: String,
    pub service: String,
    pub slot: String,
    pub release: String,
    pub running: bool,
    pub started_at: String,
    pub image_id: String,
    pub restart_policy: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    image: String,
    state: Value,
    config: Value,
    host_config: Value,
}

/// Returns the ids of a stack's containers; none if the engine does not answer.
pub fn container_ids(stack: &str) -> Vec<String> {
    let label = format!("label=quaymaster.stack={stack}");
    listed(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label])
}

/// Returns the ids of the images of a repository; none if the engine does not
/// answer.
pub fn image_ids(repository: &str) -> Vec<String> {
    listed(&["images", "--quiet", "--no-trunc", repository])
}

fn listed(arguments: &[&str]) -> Vec<String> {
    let listed = Command::new("docker").args(arguments).output();
    let text = listed.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect()
}

/// Returns every container that carries the stack's label, in any state.
pub fn replicas(stack: &str) -> Vec<Replica> {
    let ids = container_ids(stack);
    if ids.is_empty() {
        return Vec::new();
    }
    // One that went away in between makes the command fail, and the rest be
    // printed all the same.
    let output = Command::new("docker").arg("inspect").args(&ids).output().expect("docker runs");
    let found: Vec<Inspected> =
        serde_json::from_slice(&output.stdout).expect("docker inspect prints JSON");
    let mut replicas: Vec<Replica> = found.into_iter().map(replica).collect();
    replicas.sort_by(|a, b| a.name.cmp(&b.name));
    replicas
}

fn replica(found: Inspected) -> Replica {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let label = |name: &str| text(&found.config["Labels"][format!("quaymaster.{name}")]);
    Replica {
        name: found.name.trim_start_matches('/').to_owned(),
        service: label("service"),
        slot: label("slot"),
        release: label("release"),
        running: found.state["Running"] == true,
        started_at: text(&found.state["StartedAt"]),
        image_id: found.image,
        restart_policy: text(&found.host_config["RestartPolicy"]["Name"]),
        id: found.id,
    }
}

/// Makes an image `FROM scratch` that holds the demo app, with this environment.
pub fn import_demo(tag: &str, environment: &[(&str, &str)]) {
    let demo = demo_binary();
    let folder = demo.parent().expect("a file stands in a folder");
    let name = demo.file_name().expect("a file has a name");
    let mut tar = Command::new("tar")
        .args(["--create", "--file=-", "--owner=0", "--group=0", "--transform=s|.*|demo|"])
        .arg("-C")
        .arg(folder)
        .arg(name)
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar runs");
    let mut import = Command::new("docker");
    import.args(["import", "--change", r#"ENTRYPOINT ["/demo"]"#, "--change", "EXPOSE 8080"]);
    for (name, value) in environment {
        import.args(["--change", &format!("ENV {name}={}", quoted(value))]);
    }
    run(import.arg("-").arg(tag).stdin(tar.stdout.take().expect("it is piped")));
    assert!(tar.wait().expect("tar ends").success(), "tar failed");
}

/// Returns a value as a Dockerfile's `ENV` reads it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns the static demo app: the one that `QUAYMASTER_TEST_DEMO` names, else
/// one built now.
pub fn demo_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| env::var_os("QUAYMASTER_TEST_DEMO").map_or_else(build_demo, PathBuf::from))
}

fn build_demo() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root =
        here.ancestors().nth(2).expect("this package stands two folders below the workspace");
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    fs::create_dir_all(&target).expect("the target folder can be made");
    // Tests run as processes of their own: one builds, the others wait for it.
    let turn = File::create(target.join("demo.lock")).expect("the target folder is writable");
    turn.lock().expect("a file of ours can be locked");
    run(Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["rustc", "--quiet", "--release", "--package", "quaymaster-demo", "--"])
        .args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"]));
    target.join("release/quaymaster-demo")
}
