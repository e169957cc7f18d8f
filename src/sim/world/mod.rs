//! The one in-memory world that all ports share.
//!
//! Time stands still while the controller computes; [`World::advance`] moves it
//! to the next thing that happens by itself. Nothing here judges: the oracle
//! does.

pub mod behaviour;
mod caddy;
mod container;
mod docker;
pub mod gates;
pub mod operator;
mod probes;
mod registry;
mod requests;

use std::{sync::Arc, task::Waker};

pub use caddy::{Caddy, FOREIGN_ROUTES};
pub use container::{Owner, SimContainer, State};
pub use docker::{Change, Creation, Docker, Start};
pub use gates::{GateDesk, GateFate};
pub use probes::ProbeDesk;
pub use registry::{Registry, Shelf, SignatureFate, Version};

use crate::domain::{GateTarget, Memory, Stack};

use super::{
    counters::{Counters, Feature},
    faults::FaultPlan,
    mutant::Mutant,
    oracle::{Oracle, Rule},
    scenario::Scenario,
    trace::Trace,
};

/// The file as a reader finds it.
pub type FileContent = Result<Arc<Stack>, String>;

pub struct World {
    /// Milliseconds since the scenario began.
    pub now: i64,
    /// When the host last booted: the controller's clock counts from there.
    pub booted_at: i64,
    pub boots: u32,
    pub docker: Docker,
    pub registry: Registry,
    pub caddy: Caddy,
    pub file: FileContent,
    /// The memory as it was last saved, serialised as the store does.
    pub store: Option<Memory>,
    pub probes: ProbeDesk,
    pub gates: GateDesk,
    pub faults: FaultPlan,
    /// How many calls were made so far.
    pub calls: u64,
    /// The controller was killed: its calls have no effect any more.
    pub crashed: bool,
    /// Something happened that the running controller is told of.
    pub woken: bool,
    /// The engine told of something; its events are lossy.
    pub engine_told: bool,
    sleepers: Vec<(i64, Waker)>,
    pub mutant: Option<Mutant>,
    pub oracle: Oracle,
    pub counters: Counters,
    pub trace: Trace,
}

impl World {
    pub fn new(scenario: &Scenario, trace: Trace) -> World {
        World {
            now: 0,
            booted_at: 0,
            boots: 1,
            docker: Docker::default(),
            registry: Registry::new(&scenario.catalog),
            caddy: Caddy::new(scenario.faults.seed),
            file: Ok(Arc::clone(&scenario.initial)),
            store: None,
            probes: ProbeDesk::default(),
            gates: GateDesk::default(),
            faults: scenario.faults.clone(),
            calls: 0,
            crashed: false,
            woken: false,
            engine_told: false,
            sleepers: Vec::new(),
            mutant: scenario.mutant,
            oracle: Oracle::default(),
            counters: Counters::default(),
            trace,
        }
    }

    /// Writes a line into the trace, if anybody will read it.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        self.trace.line(self.now, line);
    }

    /// Kills the controller: its calls in flight come to nothing, its pulls are
    /// cut off and its probes forgotten.
    pub fn crash(&mut self) {
        self.crashed = true;
        self.probes = ProbeDesk::default();
        self.gates = GateDesk::default();
        self.sleepers.clear();
        if self.registry.cancel_pulls() > 0 {
            self.counters.feature(Feature::PullCutByCrash);
        }
        self.say(|| "the controller is killed".to_owned());
    }

    /// Wakes a sleeping call at `at`.
    pub fn sleep(&mut self, at: i64, waker: Waker) {
        self.sleepers.push((at, waker));
    }

    /// Returns when something happens by itself next.
    pub fn next_event(&self) -> Option<i64> {
        let sleepers = self.sleepers.iter().map(|(at, _)| *at).min();
        let parts = [
            self.docker.next_event(),
            self.registry.next_event(),
            self.probes.next_event(),
            self.gates.next_event(),
            sleepers,
        ];
        parts.into_iter().flatten().min()
    }

    /// Tells the oracle of a container that was not stopped by us and has ended.
    fn note_end(&mut self, id: &crate::domain::ContainerId) {
        let Some(container) = self.docker.get(id).filter(|c| c.ended_well()) else { return };
        if let Some(job) = container.listed_job() {
            self.counters.feature(Feature::JobSucceeded);
            let name = container.name.clone();
            if !self.oracle.job_succeeded(job.key) {
                self.breaks(Rule::S8, format!("{name} succeeded for a second time"));
            }
        } else if let Some(labels) = container.ours() {
            self.oracle.ended_well(labels.service.clone(), labels.release.id.clone());
        }
    }

    /// Moves the time to `to`, or to the next event if that comes first.
    pub fn advance(&mut self, to: i64) {
        let to = self.next_event().map_or(to, |event| event.clamp(self.now, to));
        self.now = self.now.max(to);
        let now = self.now;
        for (id, change) in self.docker.advance(now) {
            let feature = match change {
                Change::Exited => Feature::Exited,
                Change::Restarted => Feature::RestartedByPolicy,
            };
            self.counters.feature(feature);
            self.engine_told = true;
            self.note_end(&id);
            let Some(container) = self.docker.get(&id) else { continue };
            self.trace.line(now, || format!("{} {change:?}", container.name));
        }
        for ended in self.registry.advance(now) {
            let feature = match &ended.result {
                Ok(_) => Feature::Pulled,
                Err(failure) if failure.kind == crate::domain::snapshot::FailureKind::Refused => {
                    Feature::PullRefused
                }
                Err(_) => Feature::PullFailed,
            };
            self.counters.feature(feature);
            self.woken = true;
            let image = ended.image;
            self.trace.line(now, || match &ended.result {
                Ok(_) => format!("{image} is pulled"),
                Err(failure) => format!("{image} is not pulled: {failure}"),
            });
        }
        let docker = &self.docker;
        let news = self.probes.advance(now, |id, target| {
            docker.get(id).is_some_and(|container| {
                let is_there = target.address.is_none_or(|address| {
                    container.addresses.values().any(|assigned| *assigned == address)
                });
                is_there && container.serves(now)
            })
        });
        self.woken |= news;
        let registry = &self.registry;
        let fate = |target: &GateTarget| {
            let version =
                docker.get(&target.replica).and_then(|c| registry.version_of(&c.image_id));
            version.map_or(GateFate::NeverAnswers, |version| version.gates)
        };
        self.woken |= self.gates.advance(now, fate);
        self.oracle.time_passed(&self.docker, &self.caddy, now);
        let (due, sleepers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sleepers).into_iter().partition(|(at, _)| *at <= now);
        self.sleepers = sleepers;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
