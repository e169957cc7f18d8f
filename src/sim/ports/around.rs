//! The ports beside engine and proxy: probes, ledger, file and clock.

use super::*;
use crate::{
    domain::{Delivery, Letter, ReceiverId, Unreached},
    ports::Notifier,
};

impl Prober for SimPort {
    fn watch(&self, targets: BTreeMap<ContainerId, ProbeTarget>) {
        let mut world = self.world();
        let now = world.now;
        if !world.crashed {
            world.probes.watch(targets, now);
        }
    }

    fn standings(&self) -> BTreeMap<ContainerId, ProbeStanding> {
        let mut world = self.world();
        let mut standings = world.probes.standings();
        let now = world.now;
        world.oracle.probes_seen(&standings, now);
        if world.mutant == Some(Mutant::SkipReadiness) {
            for container in world.docker.list(now).replicas {
                let ready = ProbeStanding { ready: true, probes: 1, last_failure: None };
                standings.insert(container.id, ready);
            }
        }
        standings
    }
}

impl Gatekeeper for SimPort {
    fn watch(&self, targets: BTreeMap<GateKey, GateTarget>) {
        let mut world = self.world();
        let now = world.now;
        if !world.crashed {
            world.gates.watch(targets, now);
        }
    }

    fn measured(&self) -> BTreeMap<GateKey, Measured> {
        let mut world = self.world();
        let mut measured = world.gates.measured();
        world.oracle.measured(&measured);
        if world.mutant == Some(Mutant::SkipGates) {
            for it in measured.values_mut() {
                *it = Measured { passed: 1, failed: 0, last: Measurement::Passed(String::new()) };
            }
        }
        measured
    }
}

impl Verifier for SimPort {
    fn verify<'a>(&'a self, wanted: &'a SignatureWanted) -> BoxFuture<'a, Result<(), Failure>> {
        let digest = &wanted.image.digest;
        let look = |world: &mut World| {
            let looked = world.registry.look_for_signature(digest, world.now);
            match &looked {
                Ok(()) => {
                    world.oracle.verified(digest.clone());
                    world.counters.feature(Feature::Verified);
                }
                Err(failure) if failure.kind == FailureKind::Refused => {
                    world.counters.feature(Feature::Unsigned);
                }
                Err(_) => {}
            }
            looked
        };
        Box::pin(async move {
            let looked = self.call(Call::Verify, digest.short(), |_| {}, look).await;
            if self.is(Mutant::SkipSignatures) { Ok(()) } else { looked }
        })
    }
}

impl Ledger for SimPort {
    fn load(&self) -> Memory {
        self.call_now(Call::LoadMemory, "", Memory::default(), |world| {
            let stored = world.store.clone().unwrap_or_default();
            world.oracle.loaded();
            let text = serde_json::to_string(&stored).expect("a memory serialises");
            serde_json::from_str(&text).expect("what was serialised reads back")
        })
    }

    fn save(&self, memory: &Memory) -> Result<(), Failure> {
        let mut world = self.world();
        if world.crashed {
            return Ok(());
        }
        let fault = world.meet(Call::SaveMemory, "");
        match fault {
            Some(Fault::CrashBefore) => world.crash(),
            Some(Fault::ErrorBefore) => {
                // What the store still holds, the controller has left behind all the same.
                world.judge_memory(memory);
                let message = "no space left on device".to_owned();
                return Err(Failure { kind: FailureKind::Transient, message });
            }
            Some(Fault::CrashAfter) => {
                world.keep(memory);
                world.crash();
            }
            Some(Fault::ErrorAfter | Fault::SlowBefore | Fault::SlowAfter) | None => {
                world.keep(memory);
            }
        }
        Ok(())
    }
}

impl World {
    fn keep(&mut self, memory: &Memory) {
        self.judge_memory(memory);
        self.oracle.saved(memory);
        let mut memory = memory.clone();
        if self.mutant == Some(Mutant::ForgetHolds) {
            memory.services.values_mut().for_each(|service| service.hold = None);
        }
        self.store = Some(memory);
    }
}

impl Source for SimPort {
    fn load(&self) -> impl Future<Output = Result<Stack, String>> + Send {
        let file = self.call_now(Call::LoadStack, "", Err("killed".to_owned()), |world| {
            let file = world.file.clone();
            if let Ok(stack) = &file {
                world.oracle.file_read(stack);
            }
            file.map(|stack| world.mutate_stack(&stack))
        });
        let port = self.clone();
        async move {
            if port.world().crashed {
                return pending().await;
            }
            file
        }
    }
}

/// Nobody is told anything: nothing else depends on it.
impl Notifier for SimPort {
    fn deliver(&self, _letters: Vec<Letter>) {}

    fn take_delivered(&self) -> Vec<Delivery> {
        Vec::new()
    }

    fn unreached(&self) -> BTreeMap<ReceiverId, Unreached> {
        BTreeMap::new()
    }
}

impl Clock for SimPort {
    fn now(&self) -> Timestamp {
        let world = self.world();
        Timestamp(world.now - world.booted_at)
    }

    fn unix_ms(&self) -> i64 {
        BEGIN_UNIX_MS + self.world().now
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.world().boots)
    }
}
