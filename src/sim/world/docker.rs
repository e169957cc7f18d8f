//! The engine: containers, their names and their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    domain::{
        ContainerId, ImageId, Subnet,
        release::RestartPolicy,
        snapshot::{AddressRange, Failure, FailureKind, Gateway, HostNetwork, Listed},
    },
    plan::NewContainer,
};

use super::{
    behaviour::Behaviour,
    container::{Owner, SimContainer, State},
};

/// Milliseconds until a restart policy starts a container again the first time.
const FIRST_RESTART: i64 = 100;

#[derive(Clone, Debug, Default)]
pub struct Docker {
    containers: BTreeMap<ContainerId, SimContainer>,
    pub networks: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    next_id: u64,
    used_addresses: BTreeSet<IpAddr>,
    pub down_until: i64,
}

/// What time changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Exited,
    Restarted,
}

/// How a creation came out when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Created,
    /// One of that name with the same labels was there.
    WasThere,
}

/// How a start came out when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    OnNewAddress,
    /// On an address that another container had before.
    OnReusedAddress,
    WasRunning,
}

impl Docker {
    pub fn list(&self, now: i64) -> Listed {
        let containers = || self.containers.values();
        Listed {
            replicas: containers().filter_map(|container| container.listed(now)).collect(),
            jobs: containers().filter_map(SimContainer::listed_job).collect(),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &SimContainer> {
        self.containers.values()
    }

    pub fn get(&self, id: &ContainerId) -> Option<&SimContainer> {
        self.containers.get(id)
    }

    pub fn get_mut(&mut self, id: &ContainerId) -> Option<&mut SimContainer> {
        self.containers.get_mut(id)
    }

    fn add(&mut self, container: SimContainer) -> ContainerId {
        let id = container.id.clone();
        self.containers.insert(id.clone(), container);
        id
    }

    fn fresh_id(&mut self) -> ContainerId {
        self.next_id += 1;
        ContainerId(format!("{:064x}", self.next_id))
    }

    pub fn create(
        &mut self,
        new: &NewContainer,
        behaviour: Behaviour,
        now: i64,
    ) -> Result<Creation, Failure> {
        if let Some(holder) = self.containers.values().find(|c| c.name == new.name) {
            return match holder.ours() {
                Some(labels) if is_same(labels, new) => Ok(Creation::WasThere),
                Some(_) | None => Err(Failure {
                    kind: FailureKind::NameTaken,
                    message: format!("the name {} is in use by {}", new.name, holder.id),
                }),
            };
        }
        let id = self.fresh_id();
        self.add(SimContainer {
            id,
            name: new.name.clone(),
            owner: Owner::Ours(Box::new(new.clone())),
            image_id: new.release.image_id.clone(),
            behaviour,
            state: State::Created,
            restart: RestartPolicy::No,
            stopped_by_hand: false,
            restarts: 0,
            addresses: BTreeMap::new(),
            created_at: now,
        });
        Ok(Creation::Created)
    }

    /// Makes a container that is not ours.
    pub fn create_foreign(&mut self, name: &str, image_id: ImageId, now: i64) -> ContainerId {
        let id = self.fresh_id();
        let id = self.add(SimContainer {
            id,
            name: name.to_owned(),
            owner: Owner::Foreign,
            image_id,
            behaviour: Behaviour::ReadyAfter(0),
            state: State::Running { since: now },
            restart: RestartPolicy::Always,
            stopped_by_hand: false,
            restarts: 0,
            addresses: BTreeMap::new(),
            created_at: now,
        });
        self.connect(&id, &["bridge".to_owned()]);
        id
    }

    pub fn start(&mut self, id: &ContainerId, now: i64) -> Result<Start, Failure> {
        let refuse = |message: String| Err(Failure { kind: FailureKind::Refused, message });
        let Some(container) = self.containers.get(id) else {
            let message = format!("no such container: {id}");
            return Err(Failure { kind: FailureKind::Transient, message });
        };
        if container.is_running() {
            return Ok(Start::WasRunning);
        }
        let networks: Vec<String> = container.ours().map_or(Vec::new(), |labels| {
            labels.release.spec.networks.iter().map(|a| a.network.clone()).collect()
        });
        if let Some(missing) = networks.iter().find(|name| !self.networks.contains(*name)) {
            return refuse(format!("network {missing} not found"));
        }
        let cannot_start = container.behaviour == Behaviour::CannotStart;
        let container = self.containers.get_mut(id).expect("it was found above");
        container.stopped_by_hand = false;
        if cannot_start {
            container.state = State::Exited { code: 127 };
            return refuse("exec: no such file or directory".to_owned());
        }
        if let Some(holder) = self.holder_of_its_address(id) {
            let message = format!("Address already in use by {holder}");
            return Err(Failure { kind: FailureKind::Transient, message });
        }
        let container = self.containers.get_mut(id).expect("it was found above");
        container.state = State::Running { since: now };
        match self.connect(id, &networks) {
            Reuse::Some => Ok(Start::OnReusedAddress),
            Reuse::None => Ok(Start::OnNewAddress),
        }
    }

    /// Returns every network that we may have made, and who has which address.
    pub fn host_networks(&self) -> BTreeMap<String, HostNetwork> {
        let network = |name: &String| {
            let octet = octet(name);
            let (first, last) = ([10, 0, octet, 2].into(), [10, 0, octet, OURS].into());
            let taken = self.containers.values().flat_map(|container| {
                let assigned = container.assigned(name);
                let present = container.addresses.get(name).copied();
                [assigned, present].map(|at| at.map(|at| (at, container.name.clone())))
            });
            let taken = taken.flatten().collect();
            let (ours, gateway) = (Some(AddressRange { first, last }), Some(gateway(name)));
            HostNetwork { ours, taken, gateway }
        };
        self.networks.iter().map(|name| (name.clone(), network(name))).collect()
    }

    /// Returns who runs at an address that a container was assigned.
    fn holder_of_its_address(&self, id: &ContainerId) -> Option<&str> {
        let labels = self.containers.get(id)?.ours()?;
        labels.addresses.iter().find_map(|(network, address)| {
            let others = self.containers.values().filter(|other| other.id != *id);
            let mut holders = others.filter(|o| o.addresses.get(network) == Some(address));
            holders.next().map(|holder| holder.name.as_str())
        })
    }

    /// Gives a container the address that it was assigned on each network, or the
    /// lowest free one of Docker's own: one that somebody left is soon another's.
    fn connect(&mut self, id: &ContainerId, networks: &[String]) -> Reuse {
        let mut reuse = Reuse::None;
        let mut addresses = BTreeMap::new();
        for network in networks {
            let taken: BTreeSet<IpAddr> = self
                .containers
                .values()
                .filter_map(|other| other.addresses.get(network).copied())
                .collect();
            let free = || {
                (OURS + 1..=254)
                    .map(|host| IpAddr::from([10, 0, octet(network), host]))
                    .find(|address| !taken.contains(address))
                    .expect("a world has fewer than 120 containers")
            };
            let assigned = self.containers.get(id).and_then(|c| c.assigned(network));
            let address = assigned.unwrap_or_else(free);
            if !self.used_addresses.insert(address) {
                reuse = Reuse::Some;
            }
            addresses.insert(network.clone(), address);
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.addresses = addresses;
        }
        reuse
    }

    /// Ends a container's process on somebody's order.
    pub fn end(&mut self, id: &ContainerId, code: i64) {
        if let Some(container) = self.containers.get_mut(id)
            && matches!(container.state, State::Running { .. } | State::Restarting { .. })
        {
            container.state = State::Exited { code };
            container.addresses.clear();
            container.stopped_by_hand = true;
        }
    }

    pub fn remove(&mut self, id: &ContainerId) -> Option<SimContainer> {
        self.containers.remove(id)
    }

    pub fn next_event(&self) -> Option<i64> {
        self.containers.values().filter_map(SimContainer::next_event).min()
    }

    /// Ends and restarts what is due.
    pub fn advance(&mut self, now: i64) -> Vec<(ContainerId, Change)> {
        let due: Vec<ContainerId> = self
            .containers
            .values()
            .filter(|container| container.next_event().is_some_and(|at| at <= now))
            .map(|container| container.id.clone())
            .collect();
        let mut changes = Vec::new();
        for id in due {
            let container = self.containers.get_mut(&id).expect("it was just listed");
            match container.state {
                State::Running { .. } => {
                    let code = container.behaviour.exit().map_or(0, |(_, code)| code);
                    container.addresses.clear();
                    container.state = if container.comes_back(code) {
                        let pause = FIRST_RESTART << container.restarts.min(9);
                        container.restarts += 1;
                        State::Restarting { at: now + pause }
                    } else {
                        State::Exited { code }
                    };
                    changes.push((id, Change::Exited));
                }
                State::Restarting { .. } => {
                    // The image has started before; a network may be gone, and
                    // then Docker gives up.
                    if self.start(&id, now).is_ok() {
                        changes.push((id, Change::Restarted));
                    } else if let Some(container) = self.containers.get_mut(&id) {
                        container.state = State::Exited { code: 128 };
                    }
                }
                State::Created | State::Exited { .. } => {}
            }
        }
        changes
    }

    /// Ends every process as a power cut does; what has a restart policy comes
    /// back, on whatever address is free then.
    pub fn reboot(&mut self, now: i64) {
        self.used_addresses.clear();
        let ids: Vec<ContainerId> = self.containers.keys().rev().cloned().collect();
        let mut back = Vec::new();
        for id in &ids {
            let container = self.containers.get_mut(id).expect("it was just listed");
            container.addresses.clear();
            let was_up =
                matches!(container.state, State::Running { .. } | State::Restarting { .. });
            let revives = match container.restart {
                RestartPolicy::Always => container.state != State::Created,
                RestartPolicy::UnlessStopped => was_up && !container.stopped_by_hand,
                RestartPolicy::OnFailure { .. } => was_up,
                RestartPolicy::No => false,
            };
            if was_up {
                container.state = State::Exited { code: 255 };
            }
            if revives {
                back.push(id.clone());
            }
        }
        for id in back {
            // One that cannot start stays down, as it would.
            let _ = self.start(&id, now);
        }
    }
}

/// The last host number on each network that is ours to assign.
const OURS: u8 = 127;

/// Returns the host's own address on a network.
pub fn gateway(network: &str) -> Gateway {
    let address = [10, 0, octet(network), 1].into();
    Gateway { address, subnet: Subnet::around(address, 24).expect("a prefix of a subnet") }
}

fn octet(network: &str) -> u8 {
    u8::try_from(network.len() % 200).expect("less than 200")
}

/// Returns whether both are the same replica or job, wherever it is to stand.
fn is_same(one: &NewContainer, other: &NewContainer) -> bool {
    let identity = |it: &NewContainer| {
        let release = it.release.id.clone();
        (it.service.clone(), it.slot, release, it.replica, it.job.clone())
    };
    identity(one) == identity(other)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    None,
    Some,
}
