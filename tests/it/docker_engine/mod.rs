//! The engine port against the real Docker, one trap at a time.

mod addresses;
mod containers;
mod events;
mod exec_and_logs;
mod fake;
mod images;
mod networks;
mod old_engines;
mod pull_failures;
mod pulls;
mod relay;
mod secrets;
mod starts_and_stops;

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use quaymaster::{
    docker::{Docker, Options},
    domain::{
        Container, ContainerId, ContainerSpec, ImageRef, Release, Resolution, Slot, StackName,
        release::NetworkAttachment, snapshot::Failure,
    },
    plan::NewContainer,
    ports::Engine,
};

use crate::rig::{PATIENCE, run, tiny::import_tiny, unique_name};

/// A stack of one test on the real engine. What carries its label, and its
/// images, go with it.
struct Berth {
    stack: StackName,
    images: Vec<String>,
}

impl Berth {
    fn new() -> Berth {
        let stack = unique_name("qmd").parse().expect("a valid name");
        Berth { stack, images: Vec::new() }
    }

    async fn docker(&self) -> Docker {
        self.docker_with(Options::default()).await
    }

    async fn docker_with(&self, options: Options) -> Docker {
        Docker::connect(&self.stack, options).await.expect("Docker runs here")
    }

    /// Returns the name of a network or volume of this stack.
    fn name(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.stack)
    }

    /// Makes an image of the tiny program that no other test has.
    fn image(&mut self) -> String {
        let name = format!("{}:{}", self.stack, self.images.len() + 1);
        import_tiny(&name, &[&format!("LABEL test={name}")]);
        self.images.push(name.clone());
        name
    }

    /// Returns replica 1 of service `web` on a local image, not created yet.
    fn replica(&self, image: &str, command: &[&str], spec: ContainerSpec) -> NewContainer {
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", image]);
        let id: quaymaster::domain::ImageId = id.trim().parse().expect("an image id");
        let command = Some(command.iter().map(|&word| word.to_owned()).collect());
        let spec = ContainerSpec { command, ..spec };
        let image: ImageRef = image.parse().expect("a reference");
        NewContainer {
            name: format!("{}-web-blue-1", self.stack),
            service: "web".parse().expect("a name"),
            slot: Slot::Blue,
            replica: 1,
            job: None,
            release: Release::new(image, id.clone(), id, spec),
            addresses: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// Creates and starts a replica of a new image.
    async fn running(&mut self, engine: &Docker, command: &[&str]) -> Container {
        let image = self.image();
        let new = self.replica(&image, command, ContainerSpec::default());
        engine.create(&new).await.expect("created");
        engine.start(&only(engine).await.id).await.expect("started");
        only(engine).await
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let own = format!("label=quaymaster.stack={}", self.stack);
        sweep(&["ps", "-aq", "--filter", &own], &["rm", "-fv"]);
        sweep(&["network", "ls", "-q", "--filter", &own], &["network", "rm"]);
        sweep(&["volume", "ls", "-q", "--filter", &own], &["volume", "rm"]);
        let marks = format!("reference=quaymaster/{}", self.stack);
        sweep(&["images", "-q", "--filter", &marks], &["rmi", "-f"]);
        for image in &self.images {
            quiet(&["rmi", image]);
        }
    }
}

/// Removes what a listing names, if it names anything.
fn sweep(list: &[&str], remove: &[&str]) {
    let listed = Command::new("docker").args(list).output().expect("docker runs");
    for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
        quiet(&[remove, &[id]].concat());
    }
}

/// Runs `docker` for clean-up: what it names may be gone already.
fn quiet(arguments: &[&str]) {
    let mut command = Command::new("docker");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("docker runs");
}

/// Runs Docker's own command line: other eyes than the code under test.
fn docker(arguments: &[&str]) -> String {
    run(Command::new("docker").args(arguments))
}

fn inspect(id: &ContainerId) -> serde_json::Value {
    let json = docker(&["inspect", &id.0]);
    let mut all: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    all.remove(0)
}

/// Returns the stack's one container.
async fn only(engine: &Docker) -> Container {
    let mut containers = engine.containers().await.expect("listed").replicas;
    assert_eq!(containers.len(), 1, "{containers:?}");
    containers.remove(0)
}

/// Polls until `look` finds something.
async fn eventually<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Pulls and waits for the end.
async fn pull(engine: &Docker, image: &str) -> Result<Resolution, Failure> {
    let image: ImageRef = image.parse().expect("a reference");
    engine.begin_pull(&image);
    eventually(|| async { engine.take_pulled().pop() }).await.1
}

fn attachment(network: &str, aliases: &[&str]) -> NetworkAttachment {
    let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
    NetworkAttachment { network: network.to_owned(), aliases }
}

#[tokio::test]
async fn an_engine_reached_by_two_paths_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let alias = folder.path().join("alias.sock");
    std::os::unix::fs::symlink("/var/run/docker.sock", &alias).expect("a symlink");
    let stack: StackName = unique_name("qmd").parse().expect("a valid name");
    let by = async |host: String| {
        let options = Options { host: Some(host), ..Options::default() };
        let engine = Docker::connect(&stack, options).await.expect("Docker runs here");
        engine.identity().await.expect("it answers")
    };
    let usual = by("unix:///var/run/docker.sock".to_owned()).await;
    assert_eq!(by(format!("unix://{}", alias.display())).await, usual);
    assert!(!usual.contains("docker.sock"), "{usual}");
}
