//! Looks at the world without a controller, and changes nothing in it.
//!
//! The same loop decides as in production; what it would begin is only shown.
//! What it would remember is forgotten again.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::{
    args::Globals,
    changes::{Changes, changes},
    client::Client,
    error::CommandError,
    in_force::{InForce, in_force},
};
use crate::{
    caddy::Caddy,
    clock::HostClock,
    controller::{Controller, Look, Ports, StatusReport},
    docker::{self, Docker},
    domain::{
        Delivery, GateKey, GateTarget, Letter, Memory, ProbeCheck, ReceiverId, SignatureWanted,
        Snapshot, Stack, Timestamp, Unreached,
        manifest::AllowDeleteAll,
        memory::{Hold, Placement},
        snapshot::{Failure, FailureKind, Measured},
    },
    ports::{Clock, Engine, Gatekeeper, Ledger, Notifier, Verifier},
    probe::Probes,
    source::DesiredState,
    store::{OpenError, Store},
};

/// How long a look waits for probes to tell what they think of a replica.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// How often it looks meanwhile, if no probe says anything.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

type OnlookingController =
    Controller<Docker, Caddy, Probes<Arc<Docker>>, NoGates, Remembered, DesiredState, HostClock>;

/// A controller that only looks.
pub struct Onlooker {
    controller: OnlookingController,
    /// The stack that was in force until now.
    before: Option<Stack>,
    probed: Arc<Notify>,
}

impl Onlooker {
    /// Reads the file, reaches Docker, and reads what is remembered of the stack.
    ///
    /// # Errors
    ///
    /// Fails if the file is bad and was never good, and if Docker cannot be
    /// reached.
    pub async fn open(
        globals: &Globals,
        file: &Path,
        deletion: AllowDeleteAll,
    ) -> Result<Onlooker, CommandError> {
        let InForce { source, path, stack } = in_force(globals, file, deletion).await?;
        let clock = HostClock::new()?;
        let engine = Arc::new(Docker::connect(&stack.name, docker::Options::default()).await?);
        let recalled = recall(globals, &stack, &path).await;
        let mut memory = recalled.memory.rebase(&clock.boot_id(), clock.now());
        trust_the_old(&mut memory, recalled.from, &stack, &*engine, &clock).await;
        let before = memory.accepted.as_ref().map(|accepted| accepted.stack.clone());
        let probed = Arc::new(Notify::new());
        let wake = Arc::clone(&probed);
        let prober = Probes::new(Arc::clone(&engine), Arc::new(move || wake.notify_one()));
        let ports = Ports {
            engine,
            proxy: Arc::new(Caddy::onlooking(&stack.name, &globals.state_dir)),
            prober: Arc::new(prober),
            gates: Arc::new(NoGates),
            verifier: Arc::new(NoVerifier),
            ledger: Arc::new(Remembered(memory)),
            source: Arc::new(source),
            clock: Arc::new(clock),
            notifier: Arc::new(NobodyIsTold),
        };
        Ok(Onlooker { controller: Controller::new(ports, stack, path), before, probed })
    }

    /// Returns how the stack stands, once the probes have told or had their time.
    pub async fn status(&mut self) -> StatusReport {
        self.settle().await;
        self.report()
    }

    /// Returns what would change.
    ///
    /// # Errors
    ///
    /// Fails if the file is bad, and if Docker cannot be seen: then nothing
    /// could be compared.
    pub async fn changes(&mut self) -> Result<Changes, CommandError> {
        self.settle().await;
        let report = self.report();
        if let Some(problem) = &report.file.problem {
            return Err(CommandError::File(problem.clone()));
        }
        if let Some(why) = &report.docker.why {
            return Err(CommandError::DockerUnseen(why.clone()));
        }
        let before = self.before.clone();
        let Look { stack, seen, memory, plan } = self.controller.look().await;
        Ok(changes(stack, seen, memory, plan, &report, before.as_ref()))
    }

    fn report(&self) -> StatusReport {
        let report = self.controller.status().expect("a look always leaves a report");
        StatusReport { controlled: false, ..report }
    }

    async fn settle(&mut self) {
        let deadline = Instant::now() + PROBE_PATIENCE;
        loop {
            let Look { stack, seen, .. } = self.controller.look().await;
            if all_probed(stack, seen) || Instant::now() >= deadline {
                return;
            }
            let next_look = (Instant::now() + LOOK_AGAIN).min(deadline);
            // Time passing is as good a reason to look as a probe.
            let _ = timeout_at(next_look, self.probed.notified()).await;
        }
    }
}

/// A look measures no gate: what a gate asks may have effects.
struct NoGates;

impl Gatekeeper for NoGates {
    fn watch(&self, _targets: BTreeMap<GateKey, GateTarget>) {}

    fn measured(&self) -> BTreeMap<GateKey, Measured> {
        BTreeMap::new()
    }
}

/// A look begins no step, and so verifies nothing.
struct NoVerifier;

impl Verifier for NoVerifier {
    fn verify<'a>(&'a self, wanted: &'a SignatureWanted) -> BoxFuture<'a, Result<(), Failure>> {
        let message = format!("{} is not looked at", wanted.image);
        Box::pin(async { Err(Failure { kind: FailureKind::Transient, message }) })
    }
}

/// A look is no news.
struct NobodyIsTold;

impl Notifier for NobodyIsTold {
    fn deliver(&self, _letters: Vec<Letter>) {}

    fn take_delivered(&self) -> Vec<Delivery> {
        Vec::new()
    }

    fn unreached(&self) -> BTreeMap<ReceiverId, Unreached> {
        BTreeMap::new()
    }
}

/// Whether every probe that is made here has come to an opinion.
fn all_probed(stack: &Stack, seen: &Snapshot) -> bool {
    let containers = seen.containers.known().map_or(&[][..], Vec::as_slice);
    containers.iter().filter(|container| container.is_running()).all(|container| {
        let Some(service) = stack.services.get(&container.service) else { return true };
        match &service.probe.check {
            ProbeCheck::Docker | ProbeCheck::Started => true,
            ProbeCheck::Http { .. } | ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => {
                seen.probes.get(&container.id).is_some_and(|standing| {
                    standing.ready || standing.probes >= service.probe.unhealthy_after
                })
            }
        }
    })
}

/// A memory that nobody keeps.
struct Remembered(Memory);

impl Ledger for Remembered {
    fn load(&self) -> Memory {
        self.0.clone()
    }

    fn save(&self, _memory: &Memory) -> Result<(), Failure> {
        Ok(())
    }
}

/// What is remembered, and how much of it.
struct Recalled {
    memory: Memory,
    from: RecalledFrom,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RecalledFrom {
    Store,
    /// The controller that has the store open told what it shows to anyone.
    Report,
    Nothing,
}

/// Returns what is remembered of the stack: from the store, or while a
/// controller has that open, what its report tells of it.
async fn recall(globals: &Globals, stack: &Stack, file: &Path) -> Recalled {
    let nothing = Recalled { memory: Memory::default(), from: RecalledFrom::Nothing };
    match Store::read(&globals.state_dir, &stack.name, &file.display().to_string()) {
        Ok(memory) => Recalled { memory, from: RecalledFrom::Store },
        Err(OpenError::Held { .. }) => match ask(globals).await {
            Some(report) if report.stack == stack.name => {
                Recalled { memory: told_by(&report, stack), from: RecalledFrom::Report }
            }
            Some(_) | None => nothing,
        },
        Err(error @ (OpenError::Folder { .. } | OpenError::Unreadable { .. })) => {
            warn!("nothing is remembered of this stack: {error}");
            nothing
        }
    }
}

async fn ask(globals: &Globals) -> Option<StatusReport> {
    Client::new(&globals.socket).ok()?.status().await.ok()
}

/// Returns as much of a memory as a report lets through.
fn told_by(report: &StatusReport, stack: &Stack) -> Memory {
    let mut memory = Memory::default();
    for status in &report.services {
        let Some(service) = stack.services.get(&status.name) else { continue };
        let told = memory.services.entry(status.name.clone()).or_default();
        told.active = status
            .active_slot
            .zip(status.release.clone())
            .map(|(slot, release)| Placement { slot, release });
        told.good = status.last_good.iter().chain(&status.release).cloned().collect();
        // A hold lasts until the file says something else of the service.
        let still_declared = status.declared.image == service.image;
        told.hold = status.hold.as_ref().filter(|_| still_declared).map(|hold| Hold {
            declaration: service.declaration(),
            release: hold.release.clone(),
            image: hold.image.clone(),
            reason: hold.reason.clone(),
            log: hold.log.clone(),
            gates: hold.gates.clone(),
            by: hold.by,
            at_unix_ms: hold.at_unix_ms,
        });
    }
    memory
}

/// Takes a replica that was up longer than `min_healthy_time` before anybody
/// looked as having been well all along. One that a controller runs also has its
/// restart policy by then.
async fn trust_the_old(
    memory: &mut Memory,
    recalled_from: RecalledFrom,
    stack: &Stack,
    engine: &impl Engine,
    clock: &impl Clock,
) {
    let Ok(containers) = engine.containers().await else { return };
    let now_s = clock.unix_ms() / 1000;
    for container in containers.replicas.iter().filter(|container| container.is_running()) {
        let Some(service) = stack.services.get(&container.service) else { continue };
        let up_for = Duration::from_secs((now_s - container.created_at).max(0).unsigned_abs());
        if up_for < service.rollout.min_healthy_time {
            continue;
        }
        let told = memory.services.entry(container.service.clone()).or_default();
        let replica = told.replicas.entry(container.id.clone()).or_default();
        replica.probed_ready_since.get_or_insert(Timestamp(0));
        replica.restart_policy_set |= recalled_from == RecalledFrom::Report;
    }
}
