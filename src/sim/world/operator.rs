//! What people and accidents do to the world.

use std::sync::Arc;

use crate::domain::{ContainerId, GateKey, ServiceName, SlotChoice, Stack, memory::GateRecord};
use crate::sim::counters::Feature;

use super::{Caddy, FileContent, SimContainer, World};

/// One thing that happens to the world from outside.
#[derive(Clone, Debug)]
pub enum Act {
    /// The file is saved with this content.
    Edit(Arc<Stack>),
    /// The file is saved with an error in it, or vanishes.
    BreakFile,
    /// `docker rm -f` of the n-th container of a service.
    Remove {
        service: ServiceName,
        nth: usize,
    },
    /// `docker kill`.
    Kill {
        service: ServiceName,
        nth: usize,
    },
    /// `docker stop`.
    Stop {
        service: ServiceName,
        nth: usize,
    },
    /// Caddy restarts without its saved configuration, or is reloaded from a
    /// Caddyfile.
    WipeProxy,
    /// Somebody deletes one of our routes.
    DropRoute(ServiceName),
    /// Somebody edits one of our routes.
    MisdirectRoute(ServiceName),
    ProxyDown {
        millis: i64,
    },
    EngineDown {
        millis: i64,
    },
    RegistryDown {
        millis: i64,
    },
    DiskFull,
    DiskFreed,
    /// Somebody else starts a container under the name that the declared
    /// release's first replica would get.
    TakeName {
        service: ServiceName,
    },
    /// Somebody else's containers go again.
    FreeNames,
    /// The store is damaged, and found so at the next start.
    LoseStore,
    /// `kill -9` of the controller.
    KillController,
    Reboot,
}

impl World {
    pub fn act(&mut self, act: &Act) {
        self.say(|| match act {
            Act::Edit(stack) => format!("-- edit: {}", summary(stack)),
            other => format!("-- {other:?}"),
        });
        match act {
            Act::Edit(stack) => {
                let feature = match self.file {
                    Ok(_) => Feature::Edited,
                    Err(_) => Feature::FileMended,
                };
                self.counters.feature(feature);
                self.save_file(Ok(Arc::clone(stack)));
            }
            Act::BreakFile => {
                self.counters.feature(Feature::FileBroken);
                self.save_file(Err("quaymaster.yaml:3:7: duplicate key".to_owned()));
            }
            Act::Remove { service, nth } => {
                if let Some(id) = self.nth(service, *nth) {
                    self.forget_unseen_end(&id);
                    self.docker.remove(&id);
                    self.hands_on(Feature::HumanRemoved);
                }
            }
            Act::Kill { service, nth } => {
                if let Some(id) = self.nth(service, *nth) {
                    self.docker.end(&id, 137);
                    self.hands_on(Feature::HumanKilled);
                }
            }
            Act::Stop { service, nth } => {
                if let Some(id) = self.nth(service, *nth) {
                    let was_running = self.docker.get(&id).is_some_and(SimContainer::is_running);
                    self.docker.end(&id, 0);
                    // Nobody can tell a job that was stopped well from one that is done.
                    if was_running {
                        self.note_end(&id);
                    }
                    self.hands_on(Feature::HumanStopped);
                }
            }
            Act::WipeProxy => {
                self.reroute(Caddy::wipe);
                self.counters.feature(Feature::ProxyWiped);
            }
            Act::DropRoute(service) => {
                if self.reroute(|caddy| caddy.drop_route(service)) {
                    self.counters.feature(Feature::ProxyEdited);
                }
            }
            Act::MisdirectRoute(service) => {
                if self.reroute(|caddy| caddy.misdirect(service)) {
                    self.counters.feature(Feature::ProxyEdited);
                }
            }
            Act::ProxyDown { millis } => {
                self.caddy.down_until = self.now + millis;
                self.counters.feature(Feature::ProxyDown);
            }
            Act::EngineDown { millis } => {
                self.docker.down_until = self.now + millis;
                self.counters.feature(Feature::EngineDown);
            }
            Act::RegistryDown { millis } => self.registry.down_until = self.now + millis,
            Act::DiskFull => {
                self.registry.disk.free_bytes = 4;
                self.counters.feature(Feature::NoSpace);
            }
            Act::DiskFreed => self.registry.disk.free_bytes = 60,
            Act::TakeName { service } => self.take_name(service),
            Act::FreeNames => self.free_names(),
            Act::LoseStore => {
                self.store = None;
                self.oracle.store_lost();
                self.counters.feature(Feature::StoreLost);
                self.crash();
            }
            Act::KillController => self.crash(),
            Act::Reboot => self.reboot(),
        }
        self.oracle.time_passed(&self.docker, &self.caddy, self.now);
    }

    fn save_file(&mut self, content: FileContent) {
        self.file = content;
        self.woken = true;
    }

    /// What a job did is lost with its container, unless the controller has noted it.
    fn forget_unseen_end(&mut self, id: &ContainerId) {
        let Some(labels) = self.docker.get(id).and_then(SimContainer::ours) else { return };
        let Some(gate) = labels.job.clone() else { return };
        let key =
            GateKey { service: labels.service.clone(), release: labels.release.id.clone(), gate };
        let memory = self.store.as_ref().map(|memory| memory.service(&key.service));
        let is_noted = memory.is_some_and(|memory| {
            memory.gate(&key.release, &key.gate).is_some_and(GateRecord::has_passed)
        });
        if !is_noted {
            self.oracle.job_forgotten(key);
        }
    }

    fn hands_on(&mut self, feature: Feature) {
        self.counters.feature(feature);
        self.engine_told = true;
    }

    fn nth(&self, service: &ServiceName, nth: usize) -> Option<ContainerId> {
        let of_service = |container: &&super::SimContainer| {
            container.ours().is_some_and(|labels| labels.service == *service)
        };
        let ids: Vec<_> = self.docker.all().filter(of_service).map(|c| c.id.clone()).collect();
        if ids.is_empty() {
            return None;
        }
        ids.get(nth % ids.len()).cloned()
    }

    fn take_name(&mut self, service: &ServiceName) {
        let Ok(stack) = &self.file else { return };
        let Some(declared) = stack.services.get(service) else { return };
        let Some(version) = self.registry.version(&declared.image) else { return };
        let release = declared.release(version.digest(), version.image_id());
        let foreign_image = version.image_id();
        let names = crate::domain::Slot::BOTH
            .map(|slot| format!("{}-{service}-{slot}-{}-1", stack.name, release.id));
        for name in names {
            if self.docker.all().all(|container| container.name != name) {
                let id = self.docker.create_foreign(&name, foreign_image.clone(), self.now);
                self.oracle.foreign_made(id);
            }
        }
    }

    fn free_names(&mut self) {
        for id in self.oracle.forget_foreign() {
            self.docker.remove(&id);
        }
        self.engine_told = true;
    }

    fn reboot(&mut self) {
        self.counters.feature(Feature::HostRebooted);
        self.crash();
        self.docker.reboot(self.now);
        self.boots += 1;
        self.booted_at = self.now;
    }
}

/// Returns what a stack declares, a service a line.
pub fn summary(stack: &Stack) -> String {
    let services = stack.services.values().map(|service| {
        let slot = match service.slot {
            SlotChoice::Auto => "auto".to_owned(),
            SlotChoice::Declared(slot) => slot.to_string(),
        };
        let route = match service.route {
            Some(_) => "routed",
            None => "worker",
        };
        let (rollout, tag) = (&service.rollout, service.image.tag().unwrap_or("-"));
        format!(
            "\n{:>16} {tag} ×{} {:?} {slot} {route} {:?} drain {:?} healthy {:?} bake {:?} warm {:?}",
            service.name,
            service.replicas,
            rollout.strategy,
            service.probe.check,
            rollout.drain_timeout,
            rollout.min_healthy_time,
            rollout.bake,
            rollout.scale_down_delay,
        )
    });
    services.collect()
}
