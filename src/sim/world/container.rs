//! One container of the simulated engine.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    domain::{
        Container, ContainerId, GateId, GateKey, ImageId,
        release::RestartPolicy,
        snapshot::{ContainerState, Health, JobContainer},
    },
    plan::NewContainer,
};

use super::{behaviour::Behaviour, docker::gateway};

/// Milliseconds after which Docker's own health check has spoken.
const HEALTH_INTERVAL: i64 = 1_000;

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Created,
    Running {
        since: i64,
    },
    /// Its restart policy starts it again at `at`.
    Restarting {
        at: i64,
    },
    Exited {
        code: i64,
    },
}

/// Whose container it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It carries our stack's labels.
    Ours(Box<NewContainer>),
    /// Somebody made it by hand.
    Foreign,
}

#[derive(Clone, Debug)]
pub struct SimContainer {
    pub id: ContainerId,
    pub name: String,
    pub owner: Owner,
    pub image_id: ImageId,
    pub behaviour: Behaviour,
    pub state: State,
    pub restart: RestartPolicy,
    /// Somebody stopped it on purpose: its restart policy does not revive it.
    pub stopped_by_hand: bool,
    /// How often its restart policy has started it.
    pub restarts: u32,
    /// Only of a running one.
    pub addresses: BTreeMap<String, IpAddr>,
    pub created_at: i64,
}

impl SimContainer {
    pub fn ours(&self) -> Option<&NewContainer> {
        match &self.owner {
            Owner::Ours(labels) => Some(labels),
            Owner::Foreign => None,
        }
    }

    /// Returns the address that it was created for.
    pub fn assigned(&self, network: &str) -> Option<IpAddr> {
        self.ours()?.addresses.get(network).copied()
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Returns whether it has ended with exit code 0.
    pub fn ended_well(&self) -> bool {
        matches!(self.state, State::Exited { code: 0 })
    }

    /// Returns whether it answers a request now.
    pub fn serves(&self, now: i64) -> bool {
        match self.state {
            State::Running { since } => self.behaviour.serves(now - since),
            State::Created | State::Restarting { .. } | State::Exited { .. } => false,
        }
    }

    /// Returns when its state changes by itself.
    pub fn next_event(&self) -> Option<i64> {
        match self.state {
            State::Running { since } => self.behaviour.exit().map(|(after, _)| since + after),
            State::Restarting { at } => Some(at),
            State::Created | State::Exited { .. } => None,
        }
    }

    /// Returns the job's labels if it runs one.
    pub fn job(&self) -> Option<(&NewContainer, &GateId)> {
        let labels = self.ours()?;
        Some((labels, labels.job.as_ref()?))
    }

    /// Returns what the engine lists of it; None for one that is no replica of ours.
    pub fn listed(&self, now: i64) -> Option<Container> {
        let labels = self.ours().filter(|labels| labels.job.is_none())?;
        let state = self.listed_state(|since| self.health(labels, now, since));
        Some(Container {
            id: self.id.clone(),
            name: self.name.clone(),
            service: labels.service.clone(),
            slot: labels.slot,
            release: labels.release.id.clone(),
            replica: labels.replica,
            image: labels.release.image.clone(),
            digest: labels.release.digest.clone(),
            image_id: self.image_id.clone(),
            route_port: labels.release.spec.route_port,
            state,
            addresses: self.addresses.clone(),
            gateways: self.addresses.keys().map(|name| (name.clone(), gateway(name))).collect(),
            calls_by_proxy: labels.hosts.keys().cloned().collect(),
            created_at: self.created_at / 1000,
        })
    }

    /// Returns what the engine lists of it if it runs a job.
    pub fn listed_job(&self) -> Option<JobContainer> {
        let (labels, gate) = self.job()?;
        let (service, release) = (labels.service.clone(), labels.release.id.clone());
        Some(JobContainer {
            id: self.id.clone(),
            name: self.name.clone(),
            key: GateKey { service, release, gate: gate.clone() },
            digest: labels.release.digest.clone(),
            image_id: self.image_id.clone(),
            state: self.listed_state(|_| None),
            created_at: self.created_at / 1000,
        })
    }

    fn listed_state(&self, health: impl Fn(i64) -> Option<Health>) -> ContainerState {
        match self.state {
            State::Created => ContainerState::Created,
            State::Running { since } => ContainerState::Running { health: health(since) },
            State::Restarting { .. } => ContainerState::Restarting,
            State::Exited { code } => ContainerState::Exited { code },
        }
    }

    fn health(&self, labels: &NewContainer, now: i64, since: i64) -> Option<Health> {
        labels.release.spec.healthcheck.as_ref()?;
        let up = now - since;
        Some(match (self.behaviour.serves(up), up < HEALTH_INTERVAL) {
            (true, false) => Health::Healthy,
            (_, true) => Health::Starting,
            (false, false) => Health::Unhealthy,
        })
    }

    /// Returns its exit code after SIGTERM: a job does not handle the signal.
    pub fn code_when_told_to_stop(&self) -> i64 {
        match self.behaviour {
            Behaviour::ExitsAfter { .. } => 143,
            Behaviour::ReadyAfter(_)
            | Behaviour::NeverReady
            | Behaviour::ReadyThenExits { .. }
            | Behaviour::ReadyThenSick { .. }
            | Behaviour::Flapping { .. }
            | Behaviour::CannotStart => 0,
        }
    }

    /// Returns whether its restart policy would start it after it ended by itself.
    pub fn comes_back(&self, code: i64) -> bool {
        if self.stopped_by_hand {
            return false;
        }
        match self.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max_attempts } => {
                code != 0 && max_attempts.is_none_or(|max| self.restarts < max)
            }
        }
    }
}
