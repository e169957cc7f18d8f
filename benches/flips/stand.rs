//! What is measured: one service on two replicas, behind one Caddy.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use quaymaster_rig::{
    docker::{Replica, docker},
    edge::Listens,
    host::{Flip, Host},
    load::{Counts, Kind, Traffic},
    run,
};

use super::args::Mechanism;

/// What is in flight may take 5 s: longer than that, and not much.
const DRAIN_TIMEOUT: &str = "8s";

const REPLICAS: usize = 2;

/// So many clients of each kind. Two cores carry them and the servers.
const CLIENTS: [(Kind, usize); 7] = [
    (Kind::KeepAlive, 8),
    (Kind::Fresh, 4),
    (Kind::Http2, 4),
    (Kind::Slow, 8),
    (Kind::Events, 8),
    (Kind::Upload, 8),
    (Kind::WebSocket, 8),
];

pub struct Stand {
    host: Host,
    serving: Release,
    releases: usize,
}

/// What the file declares of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    version: String,
    slot: &'static str,
}

/// What the clients noticed.
pub struct Measured {
    pub counts: BTreeMap<Kind, Counts>,
    /// How long it took for all to happen.
    pub took: Duration,
}

impl Stand {
    /// Starts everything; the first release serves.
    pub fn new(caddy: &Path, mechanism: Mechanism) -> Stand {
        let flip = match mechanism {
            Mechanism::AdminApi => Flip::AdminApi,
            Mechanism::SwitchFile => Flip::SwitchFile,
        };
        let mut host = Host::behind(caddy, Listens::PlainAndTls, flip);
        host.image("app");
        let serving = Release { version: "v1".to_owned(), slot: "blue" };
        host.save(&services(&serving));
        host.start();
        let stand = Stand { host, serving, releases: 1 };
        stand.until_serving();
        stand.host.until_tls("shop");
        stand
    }

    // --- what happens ----------------------------------------------------------

    /// Declares a new release in the idle slot, waits until it answers, and
    /// returns the one that answered before.
    pub fn deploy(&mut self) -> Release {
        self.releases += 1;
        let version = format!("v{}", self.releases);
        let slot = if self.serving.slot == "blue" { "green" } else { "blue" };
        self.declare(Release { version, slot })
    }

    /// Declares a release, waits until it answers, and returns the one that
    /// answered before.
    pub fn declare(&mut self, release: Release) -> Release {
        self.host.save(&services(&release));
        let before = std::mem::replace(&mut self.serving, release);
        self.until_serving();
        before
    }

    /// Says `quaymaster rollback`, and waits until this release answers.
    pub fn roll_back_to(&mut self, release: Release) {
        let output = self.host.quaymaster(&["rollback", "shop"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no rollback: {told}");
        self.serving = release;
        self.until_serving();
    }

    /// Kills a replica that serves, and waits until as many serve as before.
    pub fn kill_one(&mut self) {
        let serving = self.replicas_that_serve();
        let victim = serving.first().expect("a replica serves");
        docker(&["kill", &victim.id]);
        self.host.until_seen("a replica in its place", || {
            let now = self.replicas_that_serve();
            let replaced = now.len() == REPLICAS && now.iter().all(|r| r != victim);
            replaced.then_some(())
        });
        self.until_settled();
    }

    pub fn until_settled(&self) {
        self.host.until_settled();
    }

    fn until_serving(&self) {
        let Release { version, slot } = &self.serving;
        self.host.until_answers("shop", &format!("{version} {slot}"));
    }

    fn replicas_that_serve(&self) -> Vec<Replica> {
        let mut replicas = self.host.running("shop");
        replicas.retain(|replica| replica.slot == self.serving.slot);
        replicas
    }

    // --- who looks -------------------------------------------------------------

    /// Lets all clients work while `what` happens. Everything is settled before.
    pub fn under_traffic(&mut self, what: impl FnOnce(&mut Stand)) -> Measured {
        self.until_settled();
        let traffic = Traffic::start(&self.host.target("shop"), &CLIENTS);
        let began = Instant::now();
        what(self);
        let took = began.elapsed();
        Measured { counts: traffic.end(), took }
    }
}

/// Returns a Caddy's version.
pub fn version(caddy: &Path) -> String {
    let said = run(Command::new(caddy).arg("version"));
    let word = said.split_whitespace().next().unwrap_or_default();
    word.trim_start_matches('v').to_owned()
}

fn services(release: &Release) -> String {
    let Release { version, slot } = release;
    format!(
        "services:\n  shop:\n    image: APP:app\n    slot: {slot}\n    \
         environment: {{ VERSION: {version} }}\n    \
         route: {{ host: shop.HOST, port: 8080 }}\n    \
         probe: {{ http: {{ path: /health, port: 8080 }} }}\n    \
         deploy: {{ replicas: {REPLICAS} }}\n    \
         rollout: {{ drain_timeout: {DRAIN_TIMEOUT}, progress_deadline: 1m }}\n"
    )
}
