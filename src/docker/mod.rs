//! The [`Engine`] over Docker's API, with bollard. Bollard's types end here.
//!
//! One [`Docker`] sees one host as one stack: it lists by the stack's label and
//! touches nothing without it. Files: `connection` finds the engine; `labels`,
//! `listing`,
//! `spec` and `subnet` translate, purely; `lifecycle`, `network` and
//! `host` make the calls; `pull` works in the background with credentials
//! and reads refusals in `pull_failure`; `image` holds our mark on images;
//! `secrets` keeps what is mounted; `events` wakes; `exec` and `logs` look into a container.
//!
//! Deliberately absent: any decision. A call does what it is asked, idempotently,
//! and tells in Docker's words what it could not do.
//!
//! Secret values pass through here to the engine. Bollard writes request bodies
//! to the `log` facade at debug level, so nothing may ever bridge that facade
//! into our output (S9).

mod addresses;
mod beside_compose;
mod connection;
mod events;
mod exec;
mod failure;
mod host;
mod image;
pub mod labels;
mod lifecycle;
mod listening;
mod listing;
mod login;
mod logs;
mod network;
mod one_at_a_time;
mod pull;
mod pull_failure;
mod pull_progress;
mod pulls;
mod secrets;
mod spec;
mod subnet;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::OnceCell;

use crate::{
    domain::{
        ContainerId, Digest, ImageId, ImageRef, Resolution, StackName,
        release::RestartPolicy,
        said::SaidLine,
        snapshot::{Failure, Host, Listed},
        stack::{NetworkSpec, VolumeSpec},
    },
    plan::{NewContainer, SecretFiles},
    ports::{Engine, Exec},
};

pub use connection::ConnectError;
use connection::{ApiVersion, LOOK_DEADLINE};
pub use events::EventWatch;
use failure::{CallError, within};
pub use logs::{LogLine, LogStream, Tail};
use one_at_a_time::OneAtATime;
use pulls::Pulls;
pub use secrets::SECRETS_DIR;
use secrets::SecretsFolder;

/// What is called when it is worth looking at the engine again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How to work with the engine.
#[derive(Clone)]
pub struct Options {
    /// `unix:///PATH` or `tcp://HOST:PORT`; None takes `DOCKER_HOST`, else the
    /// usual socket.
    pub host: Option<String>,
    /// How many images are pulled at once; the rest queue.
    pub max_pulls: usize,
    /// How long a pull may stand without any progress.
    pub pull_idle_timeout: Duration,
    /// The folder with Docker's `config.json`; None pulls without credentials.
    pub docker_config: Option<PathBuf>,
    /// The folder, in memory, that containers' secret files are put into.
    pub secrets_dir: PathBuf,
    /// Called on Docker's events, and as pulls go on and end.
    pub wake: Wake,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            host: None,
            max_pulls: 2,
            pull_idle_timeout: Duration::from_secs(5 * 60),
            docker_config: crate::credentials::default_folder(),
            secrets_dir: PathBuf::from(SECRETS_DIR),
            wake: Arc::new(|| ()),
        }
    }
}

/// One Docker engine, seen as one stack.
pub struct Docker {
    endpoint: String,
    client: bollard::Docker,
    stack: StackName,
    api: ApiVersion,
    is_local: bool,
    wake: Wake,
    pulls: Pulls,
    secrets: SecretsFolder,
    /// Docker answers 304, "it runs", to a start during a stop: the operations
    /// of one container wait for one another.
    containers_in_hand: OneAtATime<ContainerId>,
    /// Creating a network is not idempotent: looking and creating are one act.
    network_creation: tokio::sync::Mutex<()>,
    /// Where the engine keeps its images, once it has told.
    root_dir: OnceCell<Option<PathBuf>>,
    /// Containers of ours that cannot be read, so that each is said once.
    unreadable: Mutex<BTreeSet<String>>,
    /// Commands that outlived their deadline inside a container.
    overdue_execs: Mutex<HashMap<ContainerId, String>>,
}

impl Docker {
    /// Connects to the engine and learns its version. Must be called within a
    /// tokio runtime, which pulls and events then run on.
    pub async fn connect(stack: &StackName, options: Options) -> Result<Docker, ConnectError> {
        let connection = connection::connect(options.host.as_deref()).await?;
        let pulls = Pulls::new(&connection, stack, &options);
        let elsewhere = (!connection.is_local).then(|| connection.endpoint.clone());
        Ok(Docker {
            secrets: SecretsFolder::new(&options.secrets_dir, stack, elsewhere),
            endpoint: connection.endpoint,
            client: connection.client,
            stack: stack.clone(),
            api: connection.api,
            is_local: connection.is_local,
            wake: options.wake,
            pulls,
            containers_in_hand: OneAtATime::default(),
            network_creation: tokio::sync::Mutex::default(),
            root_dir: OnceCell::new(),
            unreadable: Mutex::default(),
            overdue_execs: Mutex::default(),
        })
    }

    /// Returns what tells this engine from every other, whichever way it is
    /// reached: the id that it gave itself, else where it is.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not answer.
    pub async fn identity(&self) -> Result<String, ConnectError> {
        let info =
            within(LOOK_DEADLINE, self.client.info()).await.map_err(|error: CallError| {
                ConnectError::Unreachable { host: self.endpoint.clone(), why: error.words() }
            })?;
        Ok(info.id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.endpoint.clone()))
    }

    /// Returns the filter that sees nothing but this stack.
    fn own(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{}={}", labels::STACK, self.stack)])])
    }
}

impl Engine for Docker {
    async fn containers(&self) -> Result<Listed, Failure> {
        self.list_containers().await
    }

    async fn host(&self) -> Result<Host, Failure> {
        self.look_at_host().await
    }

    async fn create_network(&self, name: &str, spec: &NetworkSpec) -> Result<(), Failure> {
        self.ensure_network(name, spec).await
    }

    async fn create_volume(&self, name: &str, spec: &VolumeSpec) -> Result<(), Failure> {
        self.ensure_volume(name, spec).await
    }

    fn keep_secrets(&self, files: &SecretFiles<'_>) {
        self.secrets.keep(files);
    }

    async fn create(&self, new: &NewContainer) -> Result<(), Failure> {
        self.create_replica(new).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Failure> {
        self.start_container(id).await
    }

    async fn set_restart_policy(
        &self,
        id: &ContainerId,
        policy: RestartPolicy,
    ) -> Result<(), Failure> {
        let _in_hand = self.containers_in_hand.enter(id).await;
        self.update_restart_policy(id, policy)
            .await
            .map_err(|error| error.transient("set the restart policy"))
    }

    async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), Failure> {
        self.stop_container(id, grace).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        self.remove_container(id).await
    }

    async fn remove_image(&self, id: &ImageId, digest: &Digest) -> Result<(), Failure> {
        self.unmark_image(id, digest).await
    }

    async fn logs(&self, id: &ContainerId, tail: usize) -> Result<Vec<SaidLine>, Failure> {
        self.last_log_lines(id, tail).await
    }

    fn begin_pull(&self, image: &ImageRef) {
        self.pulls.begin(image);
    }

    fn pulls(&self) -> BTreeMap<ImageRef, Option<u8>> {
        self.pulls.in_flight()
    }

    fn take_pulled(&self) -> Vec<(ImageRef, Result<Resolution, Failure>)> {
        self.pulls.take_ended()
    }
}

impl Exec for Docker {
    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<i64, Failure> {
        self.run_in_container(id, command, timeout).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ContainerSpec, Release, Slot};

    /// A replica of the smallest release, for tests of this folder.
    pub(super) fn new_container(service: &str) -> NewContainer {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
        let image = "registry.example/app:1".parse().expect("a reference");
        let spec = ContainerSpec { route_port: Some(8080), ..ContainerSpec::default() };
        NewContainer {
            name: format!("shop-{service}-blue-1"),
            service: service.parse().expect("a name"),
            slot: Slot::Blue,
            replica: 1,
            job: None,
            release: Release::new(image, digest.clone(), digest, spec),
            addresses: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }
}
