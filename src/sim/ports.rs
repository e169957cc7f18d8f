//! The controller's ports over the one world.
//!
//! Every call passes [`SimPort::call`] or [`SimPort::call_now`]: there its number
//! is counted, its fault decided and, once the controller was killed, everything
//! it would still do is swallowed.

mod around;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, pending, poll_fn},
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};

use futures::future::BoxFuture;

use crate::{
    domain::{
        ContainerId, Digest, GateKey, GateTarget, ImageId, ImageRef, Memory, Resolution,
        RouteTable, SignatureWanted, Stack, Timestamp,
        release::RestartPolicy,
        said::SaidLine,
        snapshot::{
            Failure, FailureKind, Host, InFlight, Listed, Measured, Measurement, ProbeStanding,
            ProxyState, Unlisted,
        },
        stack::{NetworkSpec, ProxyConfig, VolumeSpec},
    },
    plan::{NewContainer, SecretFiles},
    ports::{Clock, Engine, Gatekeeper, Ledger, ProbeTarget, Prober, Proxy, Source, Verifier},
};

use super::{
    counters::Feature,
    faults::{Call, Fault},
    mutant::Mutant,
    world::{Creation, SimContainer, Start, World, behaviour::Behaviour},
};

/// Wall-clock milliseconds since 1970 at which every scenario begins.
const BEGIN_UNIX_MS: i64 = 1_700_000_000_000;

/// Milliseconds that a job runs.
const JOB_TIME: i64 = 700;

/// All ports at once: a handle on the world.
#[derive(Clone)]
pub struct SimPort(Arc<Mutex<World>>);

impl SimPort {
    pub fn new(world: World) -> SimPort {
        SimPort(Arc::new(Mutex::new(world)))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("one thread drives a world, and it has not panicked")
    }

    /// Does one call: `judge` sees the world as it is decided in, `apply`
    /// changes it, and the faults of the call come in between.
    async fn call<R>(
        &self,
        call: Call,
        subject: &str,
        judge: impl FnOnce(&mut World),
        apply: impl FnOnce(&mut World) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let Some((fault, slow_until)) = self.enter(call, subject, judge) else {
            return pending().await;
        };
        match fault {
            Some(Fault::CrashBefore) => return self.die().await,
            Some(Fault::ErrorBefore) => return Err(timed_out()),
            Some(Fault::SlowBefore) => self.sleep(slow_until).await,
            Some(Fault::CrashAfter | Fault::ErrorAfter | Fault::SlowAfter) | None => {}
        }
        let result = self.reach(call, apply);
        match fault {
            Some(Fault::CrashAfter) => self.die().await,
            Some(Fault::ErrorAfter) => Err(timed_out()),
            Some(Fault::SlowAfter) => {
                self.sleep(slow_until).await;
                result
            }
            Some(Fault::CrashBefore | Fault::ErrorBefore | Fault::SlowBefore) | None => result,
        }
    }

    /// Counts a call, decides its fault, and when it is done if it is slow.
    /// None for a controller that was killed.
    fn enter(
        &self,
        call: Call,
        subject: &str,
        judge: impl FnOnce(&mut World),
    ) -> Option<(Option<Fault>, i64)> {
        let mut world = self.world();
        if world.crashed {
            return None;
        }
        let index = world.calls;
        let fault = world.meet(call, subject);
        judge(&mut world);
        Some((fault, world.now + world.faults.slowness(index)))
    }

    fn reach<R>(
        &self,
        call: Call,
        apply: impl FnOnce(&mut World) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut world = self.world();
        world.reach(call)?;
        apply(&mut world)
    }

    /// Does one call that answers at once; `swallowed` is what a dead controller
    /// gets, which never acts on it.
    fn call_now<R>(
        &self,
        call: Call,
        subject: &str,
        swallowed: R,
        apply: impl FnOnce(&mut World) -> R,
    ) -> R {
        let mut world = self.world();
        if world.crashed {
            return swallowed;
        }
        match world.meet(call, subject) {
            Some(Fault::CrashBefore | Fault::ErrorBefore) => {
                world.crash();
                swallowed
            }
            Some(Fault::CrashAfter) => {
                apply(&mut world);
                world.crash();
                swallowed
            }
            Some(Fault::ErrorAfter | Fault::SlowBefore | Fault::SlowAfter) | None => {
                apply(&mut world)
            }
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.world().mutant == Some(mutant)
    }

    async fn die<R>(&self) -> R {
        self.world().crash();
        pending().await
    }

    /// Returns once the world's time has reached `at`; never to a controller
    /// that was killed meanwhile.
    async fn sleep(&self, at: i64) {
        poll_fn(|context| {
            let mut world = self.world();
            if !world.crashed && world.now >= at {
                return Poll::Ready(());
            }
            if !world.crashed {
                world.sleep(at, context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

fn timed_out() -> Failure {
    Failure { kind: FailureKind::Transient, message: "timed out".to_owned() }
}

impl World {
    /// Counts a call and decides its fault.
    fn meet(&mut self, call: Call, subject: &str) -> Option<Fault> {
        let nth = self.counters.calls.get(&call).copied().unwrap_or_default();
        let fault = self.faults.decide(call, self.calls, nth, self.now);
        self.counters.called(call);
        let number = self.calls;
        self.calls += 1;
        if let Some(fault) = fault {
            self.counters.fault(call, fault);
        }
        if call.mutates() || fault.is_some() {
            self.say(|| {
                let fault = fault.map_or(String::new(), |fault| format!("  [{fault}]"));
                format!("#{number} {call:?} {subject}{fault}")
            });
        }
        fault
    }

    /// Fails while the service behind the call is down.
    fn reach(&self, call: Call) -> Result<(), Failure> {
        let down_until = match call {
            Call::ObserveProxy | Call::InFlight | Call::WriteProxy => self.caddy.down_until,
            Call::Containers
            | Call::Host
            | Call::CreateNetwork
            | Call::CreateVolume
            | Call::Create
            | Call::Start
            | Call::SetRestartPolicy
            | Call::Stop
            | Call::Remove
            | Call::RemoveImage
            | Call::Logs => self.docker.down_until,
            Call::BeginPull
            | Call::TakePulled
            | Call::LoadMemory
            | Call::SaveMemory
            | Call::LoadStack
            | Call::Verify => return Ok(()),
        };
        match self.now < down_until {
            true => Err(Failure {
                kind: FailureKind::Transient,
                message: "connection refused".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn name_of(&self, id: &ContainerId) -> String {
        self.docker.get(id).map_or_else(|| id.to_string(), |container| container.name.clone())
    }
}

impl Engine for SimPort {
    async fn containers(&self) -> Result<Listed, Failure> {
        let seen = self
            .call(
                Call::Containers,
                "",
                |world| world.oracle.containers_unseen(),
                |world| {
                    let mut listed = world.docker.list(world.now);
                    world.mutate_jobs(&mut listed.jobs);
                    if world.mutant == Some(Mutant::AdoptForeign) {
                        listed.replicas.extend(world.oracle.foreign_as_ours(&world.docker));
                    }
                    Ok(listed)
                },
            )
            .await;
        if let Ok(listed) = &seen {
            self.world().oracle.containers_seen(&listed.replicas);
        }
        seen
    }

    /// Files are nothing that the simulated world has.
    fn keep_secrets(&self, _files: &SecretFiles<'_>) {}

    async fn host(&self) -> Result<Host, Failure> {
        let read = |world: &mut World| {
            Ok(Host {
                images: world.registry.local_images(),
                networks: world.docker.host_networks(),
                volumes: world.docker.volumes.clone(),
                disk: Some(world.registry.disk),
                listening: Some(BTreeSet::new()),
            })
        };
        self.call(Call::Host, "", |_| {}, read).await
    }

    async fn create_network(&self, name: &str, _spec: &NetworkSpec) -> Result<(), Failure> {
        let create = |world: &mut World| {
            world.docker.networks.insert(name.to_owned());
            Ok(())
        };
        self.call(Call::CreateNetwork, name, |world| world.judge_name(name), create).await
    }

    async fn create_volume(&self, name: &str, _spec: &VolumeSpec) -> Result<(), Failure> {
        let create = |world: &mut World| {
            world.docker.volumes.insert(name.to_owned());
            Ok(())
        };
        self.call(Call::CreateVolume, name, |world| world.judge_name(name), create).await
    }

    async fn create(&self, new: &NewContainer) -> Result<(), Failure> {
        let create = |world: &mut World| {
            let release = &new.release;
            let Some(version) = world.registry.version_of(&release.image_id) else {
                return Err(no_such_image(release.image.as_str()));
            };
            let behaviour = match &new.job {
                Some(_) => Behaviour::ExitsAfter { after: JOB_TIME, code: version.job_code },
                None => version.behaviour,
            };
            if world.registry.local(&release.image_id).is_none() {
                return Err(no_such_image(release.image.as_str()));
            }
            match world.docker.create(new, behaviour, world.now) {
                Ok(Creation::Created | Creation::WasThere) => Ok(()),
                Err(failure) => {
                    world.counters.feature(Feature::NameTaken);
                    Err(failure)
                }
            }
        };
        self.call(Call::Create, &new.name, |world| world.judge_create(new), create).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Failure> {
        let start = |world: &mut World| {
            let started = world.docker.start(id, world.now);
            match &started {
                Ok(Start::OnReusedAddress) => world.counters.feature(Feature::AddressReused),
                Ok(Start::OnNewAddress | Start::WasRunning) => {}
                Err(_) => world.counters.feature(Feature::StartRefused),
            }
            world.engine_told = true;
            started.map(|_| ())
        };
        let name = self.world().name_of(id);
        self.call(Call::Start, &name, |world| world.judge_ownership(id), start).await
    }

    async fn set_restart_policy(
        &self,
        id: &ContainerId,
        policy: RestartPolicy,
    ) -> Result<(), Failure> {
        let set = |world: &mut World| {
            let Some(container) = world.docker.get_mut(id) else {
                return Err(no_such_container(id));
            };
            container.restart = policy;
            Ok(())
        };
        let name = self.world().name_of(id);
        self.call(Call::SetRestartPolicy, &name, |world| world.judge_ownership(id), set).await
    }

    async fn stop(&self, id: &ContainerId, _grace: Option<Duration>) -> Result<(), Failure> {
        let id = self.world().mutate_stop(id);
        let id = &id;
        let stop = |world: &mut World| {
            world.judge_stop_in_effect(id);
            if let Some(container) = world.docker.get_mut(id) {
                container.restart = RestartPolicy::No;
            }
            // SIGTERM ends what does not handle it; a server that does exits with 0.
            let code = world.docker.get(id).map_or(0, SimContainer::code_when_told_to_stop);
            world.docker.end(id, code);
            world.engine_told = true;
            Ok(())
        };
        let name = self.world().name_of(id);
        self.call(Call::Stop, &name, |world| world.judge_taking_away(id), stop).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        let remove = |world: &mut World| {
            world.judge_stop_in_effect(id);
            world.docker.remove(id);
            world.engine_told = true;
            Ok(())
        };
        let name = self.world().name_of(id);
        self.call(Call::Remove, &name, |world| world.judge_taking_away(id), remove).await
    }

    async fn remove_image(&self, id: &ImageId, digest: &Digest) -> Result<(), Failure> {
        let remove = |world: &mut World| {
            let users = world.docker.all().filter(|container| container.image_id == *id).count();
            world.registry.remove_mark(id, digest, users);
            world.counters.feature(Feature::ImageRemoved);
            Ok(())
        };
        let judge = |world: &mut World| world.judge_remove_image(id, digest);
        self.call(Call::RemoveImage, digest.short(), judge, remove).await
    }

    async fn logs(&self, id: &ContainerId, tail: usize) -> Result<Vec<SaidLine>, Failure> {
        let read = |world: &mut World| {
            let Some(container) = world.docker.get(id) else {
                return Err(no_such_container(id));
            };
            let line = SaidLine::whole(format!("{} says why", container.name));
            Ok(vec![line; tail.min(3)])
        };
        self.call(Call::Logs, "", |_| {}, read).await
    }

    fn begin_pull(&self, image: &ImageRef) {
        self.call_now(Call::BeginPull, image.as_str(), (), |world| {
            if world.mutant != Some(Mutant::NeverPull) {
                world.registry.begin_pull(image, world.now);
            }
        });
    }

    fn pulls(&self) -> BTreeMap<ImageRef, Option<u8>> {
        self.world().registry.pulls()
    }

    fn take_pulled(&self) -> Vec<(ImageRef, Result<Resolution, Failure>)> {
        self.call_now(Call::TakePulled, "", Vec::new(), |world| world.registry.take_ended())
    }
}

fn no_such_image(image: &str) -> Failure {
    Failure { kind: FailureKind::NoSuchImage, message: format!("no such image: {image}") }
}

fn no_such_container(id: &ContainerId) -> Failure {
    Failure { kind: FailureKind::Transient, message: format!("no such container: {id}") }
}

impl Proxy for SimPort {
    async fn observe(&self, _config: &ProxyConfig) -> Result<ProxyState, Failure> {
        let read = |world: &mut World| Ok(world.caddy.state());
        let unseen = |world: &mut World| world.oracle.proxy_unseen();
        let seen = self.call(Call::ObserveProxy, "", unseen, read).await;
        match seen {
            Ok(state) => {
                self.world().oracle.proxy_seen(&state.table);
                Ok(state)
            }
            Err(_) if self.is(Mutant::UnknownProxyIsEmpty) => Ok(ProxyState::default()),
            Err(failure) => Err(failure),
        }
    }

    async fn in_flight(&self, _config: &ProxyConfig) -> Result<InFlight, Failure> {
        let count = |world: &mut World| Ok(world.caddy.in_flight(&world.docker, world.now));
        let counted = self.call(Call::InFlight, "", |_| {}, count).await;
        match self.is(Mutant::CountNothing) {
            true => Ok(InFlight { unlisted: Unlisted::Idle, ..InFlight::default() }),
            false => counted,
        }
    }

    async fn write(&self, _config: &ProxyConfig, table: &RouteTable) -> Result<(), Failure> {
        let table = self.world().mutate_table(table);
        let write = |world: &mut World| {
            world.reroute(|caddy| caddy.write(&table));
            world.oracle.written(&table);
            world.time_has_passed();
            Ok(())
        };
        let text = describe(&table);
        self.call(Call::WriteProxy, &text, |world| world.judge_write(&table), write).await
    }
}

fn describe(table: &RouteTable) -> String {
    let routes = table.iter().map(|(service, state)| {
        let dials: Vec<String> = state.backend.dials.iter().map(|d| d.ip().to_string()).collect();
        format!("{service} → {} {} {dials:?}", state.backend.slot, state.backend.release)
    });
    routes.collect::<Vec<_>>().join("; ")
}
