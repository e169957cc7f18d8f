//! One service's part of a plan while it is being written.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    Backend, DependsOn, GateKey, GateTarget, ImageRef, Release, ReleaseId, Resolution, RouteState,
    ServiceKind, ServiceName,
    memory::Placement,
    release::{MountSource, RestartPolicy},
    snapshot::{ContainerState, Observed},
};

use super::{
    NewContainer, Step, WaitingOn,
    aim::{self, Aim, Course, Origin, Target},
    drain, gates, pace, verdict,
    view::{Replica, Standing, View, why_unknown},
};

/// What has been decided for one service so far.
#[derive(Default)]
pub struct Draft {
    pub steps: Vec<Step>,
    pub waiting_on: Vec<WaitingOn>,
    /// What the route is to point at; None leaves it as it is observed.
    pub backend: Option<Backend>,
    /// What is to catch a request that the backend cannot take.
    pub standby: Option<Backend>,
    /// The route by which people look at the idle slot, under its own name.
    pub preview: Option<(ServiceName, RouteState)>,
    pub wants_host: bool,
    /// The gates to measure from now on.
    pub measure: BTreeMap<GateKey, GateTarget>,
    /// The release that is held: it goes also where nothing else is ready.
    pub failed: Option<ReleaseId>,
    /// Something for people that no `WaitingOn` says.
    pub note: Option<String>,
}

/// The dependencies of a service, as far as its replicas may be created.
pub type Dependencies<'a> = dyn Fn(&ServiceName, DependsOn) -> bool + 'a;

impl Draft {
    /// Creates the replicas with these numbers where they are missing and
    /// starts those that are down, as far as image, networks, dependencies and
    /// pace allow.
    pub fn raise(
        &mut self,
        view: &View,
        aim: &Aim,
        numbers: impl Iterator<Item = u32>,
        dependencies: &Dependencies,
    ) {
        if view.service.upstreams.is_some() {
            return;
        }
        let mut missing = Vec::new();
        let mut down = Vec::new();
        for number in numbers {
            let replica = view.at(&aim.placement).find(|r| r.container.replica == number);
            match replica.map(|replica| (&replica.standing, replica)) {
                None => missing.push(number),
                Some((Standing::Created | Standing::Ended { .. }, replica)) => down.push(replica),
                Some((Standing::Impostor, replica)) => self.retire(view, replica),
                Some((
                    Standing::Ready
                    | Standing::Pending { .. }
                    | Standing::Failing { .. }
                    | Standing::Leaving,
                    _,
                )) => {}
            }
        }
        // Asked also of what runs already: a rule may be younger than the containers.
        if let Some(release) = &aim.release
            && !self.is_signed(view, aim, release)
        {
            return;
        }
        if (missing.is_empty() && down.is_empty()) || view.is_done(&aim.placement) {
            return;
        }
        for replica in down {
            self.start(view, replica);
        }
        if missing.is_empty() || !self.dependencies_hold(view, dependencies) {
            return;
        }
        let Some(release) = &aim.release else {
            self.note = Some(format!(
                "release {} is short of replicas, and what it was made of is not remembered",
                aim.placement.release
            ));
            return;
        };
        if self.host_is_ready(view, aim, release) {
            self.steps.extend(missing.into_iter().map(|n| create(view, aim, release, n)));
        }
    }

    /// Keeps what serves alive while the target cannot take over: starts its
    /// replicas that are down, and makes one where all of them are gone.
    pub fn keep_active(&mut self, view: &View, course: &Course, dependencies: &Dependencies) {
        let Some(active) = view.active() else { return };
        let is_target = course.aim().is_some_and(|aim| aim.placement == active);
        if is_target || course.failed_release() == Some(&active.release) {
            return;
        }
        let mut numbers: Vec<u32> = view.at(&active).map(|r| r.container.replica).collect();
        numbers.retain(|number| *number <= view.service.replicas);
        if numbers.is_empty() {
            numbers.push(1);
        }
        let release = view.record(&active.release).cloned();
        let known_or_there = release.is_some() || view.at(&active).next().is_some();
        if known_or_there {
            let aim = Aim { placement: active, release, origin: Origin::Fallback };
            self.raise(view, &aim, numbers.into_iter(), dependencies);
        }
    }

    /// Returns whether something has to come about before any replica is created.
    pub fn is_kept_waiting(&self) -> bool {
        self.waiting_on.iter().any(|wait| match wait {
            WaitingOn::Dependency { .. }
            | WaitingOn::Pull { .. }
            | WaitingOn::Signature { .. }
            | WaitingOn::DiskSpace { .. } => true,
            WaitingOn::Readiness { .. }
            | WaitingOn::MinHealthyTime { .. }
            | WaitingOn::Drain { .. }
            | WaitingOn::Bake { .. }
            | WaitingOn::Standby { .. }
            | WaitingOn::Gate { .. }
            | WaitingOn::Idle { .. }
            | WaitingOn::Promotion { .. }
            | WaitingOn::Group { .. }
            | WaitingOn::Retry { .. }
            | WaitingOn::Unknown { .. }
            | WaitingOn::StepInHand => false,
        })
    }

    fn start(&mut self, view: &View, replica: &Replica) {
        // Each death of a replica that had served doubles the pause.
        if let Some(died_at) = replica.memory.died_at {
            let at = died_at + pace::pause(replica.memory.deaths);
            if replica.memory.deaths > 1 && at > view.world.at() {
                let failure = format!("{} keeps exiting", replica.container.name);
                let attempt = replica.memory.deaths;
                self.waiting_on.push(WaitingOn::Retry { at, attempt, failure });
                return;
            }
        }
        self.steps.push(Step::Start {
            service: view.service.name.clone(),
            container: replica.container.id.clone(),
            name: replica.container.name.clone(),
        });
    }

    fn dependencies_hold(&mut self, view: &View, dependencies: &Dependencies) -> bool {
        let unmet: Vec<WaitingOn> = view
            .service
            .depends_on
            .iter()
            .filter(|(name, condition)| !dependencies(name, **condition))
            .map(|(name, condition)| WaitingOn::Dependency {
                service: name.clone(),
                condition: *condition,
            })
            .collect();
        let hold = unmet.is_empty();
        self.waiting_on.extend(unmet);
        hold
    }

    /// Returns whether image, networks and volumes are there; plans what is missing.
    pub fn host_is_ready(&mut self, view: &View, aim: &Aim, release: &Release) -> bool {
        let Observed::Known(host) = &view.world.seen.host else {
            self.ask_for_host(view);
            return false;
        };
        if !host.has_image(&release.image_id) {
            // The tag may mean something else by now; the digest cannot.
            let image = match (aim::pinned(release), aim.origin) {
                (Some(pinned), _) => Some(pinned),
                (None, Origin::Declared) => Some(release.image.clone()),
                (None, Origin::Fallback) => None,
            };
            match image {
                Some(image) => self.pull(view, image),
                None => {
                    self.note = Some(format!(
                        "the image of release {} ({}) is gone from this host, and no registry has it",
                        release.id, release.image
                    ));
                }
            }
            return false;
        }
        let stack = view.world.stack;
        let mut ready = true;
        for attachment in &release.spec.networks {
            let name = &attachment.network;
            if host.networks.contains_key(name) {
                continue;
            }
            ready = false;
            if stack.external_networks.contains(name) {
                self.note =
                    Some(format!("network {name} does not exist: `docker network create {name}`"));
            } else {
                let spec = stack.networks.get(name).cloned().unwrap_or_default();
                self.steps.push(Step::CreateNetwork { name: name.clone(), spec });
            }
        }
        for mount in &release.spec.mounts {
            let MountSource::Volume(name) = &mount.source else { continue };
            if host.volumes.contains(name) {
                continue;
            }
            ready = false;
            if stack.external_volumes.contains(name) {
                self.note =
                    Some(format!("volume {name} does not exist: `docker volume create {name}`"));
            } else {
                let spec = stack.volumes.get(name).cloned().unwrap_or_default();
                self.steps.push(Step::CreateVolume { name: name.clone(), spec });
            }
        }
        ready
    }

    /// Returns what another image than the service's own means here; pulls it where
    /// it means nothing yet.
    pub fn image_at_hand(&mut self, view: &View, image: &ImageRef) -> Option<Resolution> {
        if let Some(known) = view.world.memory.resolutions.get(image) {
            return Some(known.clone());
        }
        let Observed::Known(host) = &view.world.seen.host else {
            self.ask_for_host(view);
            return None;
        };
        let found = host.resolve(image);
        if found.is_none() {
            self.pull(view, image.clone());
        }
        found
    }

    fn ask_for_host(&mut self, view: &View) {
        self.wants_host = true;
        if let Some(why) = why_unknown(&view.world.seen.host) {
            self.waiting_on.push(WaitingOn::Unknown { part: "the Docker host".to_owned(), why });
        }
    }

    /// Pulls an image, unless that is being done, is paced or the disk is full.
    pub fn pull(&mut self, view: &View, image: ImageRef) {
        if let Some(percent) = view.world.seen.pulls.get(&image) {
            self.waiting_on.push(WaitingOn::Pull { image, percent: *percent });
            return;
        }
        let earlier = view.world.memory.failed_pulls.get(&image);
        if let Some(wait) = earlier.and_then(|it| pace::wait(view.world, it)) {
            self.waiting_on.push(wait);
            return;
        }
        let Observed::Known(host) = &view.world.seen.host else {
            self.ask_for_host(view);
            return;
        };
        let min_free_percent = view.world.stack.images.min_free_percent;
        if let Some(disk) = host.disk
            && disk.free_percent() < min_free_percent
        {
            let free_percent = disk.free_percent();
            self.waiting_on.push(WaitingOn::DiskSpace { free_percent, min_free_percent });
            return;
        }
        self.waiting_on.push(WaitingOn::Pull { image: image.clone(), percent: None });
        self.steps.push(Step::Pull { service: view.service.name.clone(), image });
    }

    /// Stops a replica, if nothing can need it any more, or removes it once it
    /// is down. Keeps S2, S3 and S5: what is routed, undrained, the last that is
    /// ready, or not seen is left alone.
    pub fn retire(&mut self, view: &View, replica: &Replica) {
        if view.service.upstreams.is_none() && self.may_go(view, replica) {
            self.take_away(view, replica);
        }
    }

    fn may_go(&mut self, view: &View, replica: &Replica) -> bool {
        if replica.standing == Standing::Leaving {
            self.waiting_on.push(WaitingOn::StepInHand);
            return false;
        }
        if !view.proxy_is_known() {
            return false;
        }
        let mut planned = [&self.backend, &self.standby].into_iter().flatten();
        let stays_named = view
            .dial(replica)
            .is_some_and(|dial| planned.any(|backend| backend.dials.contains(&dial)));
        if view.is_named(replica) || stays_named {
            return false;
        }
        let drain_timeout = view.service.rollout.drain_timeout;
        if let Some(until) = drain::drained_at(replica, drain_timeout, view.world.at()) {
            drain::wait(view.world, replica, drain_timeout, until, &mut self.waiting_on);
            return false;
        }
        // One that was not probed yet may be all there is.
        let may_serve = match self.failed == Some(replica.container.release.clone()) {
            true => replica.is_ready() && has_served(view, replica),
            false => replica.may_become_ready(),
        };
        !may_serve || self.another_is_ready(view, replica)
    }

    fn another_is_ready(&self, view: &View, leaving: &Replica) -> bool {
        let being_stopped: BTreeSet<_> = self.steps.iter().filter_map(Step::takes_away).collect();
        view.replicas.iter().any(|other| {
            other.is_ready()
                && other.container.id != leaving.container.id
                && !being_stopped.contains(&other.container.id)
                // Where there is a route, only what it names serves anybody.
                && (view.service.route.is_none() || view.is_routed(other))
        })
    }

    /// Stops what runs and removes what does not. Only for what may go.
    pub fn take_away(&mut self, view: &View, replica: &Replica) {
        if replica.runs() {
            self.stop(view, replica);
        } else {
            self.steps.push(Step::Remove {
                service: view.service.name.clone(),
                container: replica.container.id.clone(),
                name: replica.container.name.clone(),
            });
        }
    }

    pub fn stop(&mut self, view: &View, replica: &Replica) {
        let release = replica.placement().release;
        let record = view.record(&release);
        let spec = record.map_or(&view.service.spec, |record| &record.spec);
        self.steps.push(Step::Stop {
            service: view.service.name.clone(),
            container: replica.container.id.clone(),
            name: replica.container.name.clone(),
            grace: spec.stop_grace_period,
        });
    }

    /// Gives the active release's replicas the restart policy of the file.
    pub fn settle_restart_policy(&mut self, view: &View, aim: &Aim) {
        if view.service.upstreams.is_some() {
            return;
        }
        let spec = aim.release.as_ref().map_or(&view.service.spec, |release| &release.spec);
        if spec.restart == RestartPolicy::No || view.service.kind == ServiceKind::OneShot {
            return;
        }
        let unset = view.at(&aim.placement).filter(|replica| {
            replica.is_ready() && !replica.memory.restart_policy_set && replica.runs()
        });
        self.steps.extend(unset.map(|replica| Step::SetRestartPolicy {
            service: view.service.name.clone(),
            container: replica.container.id.clone(),
            name: replica.container.name.clone(),
            policy: spec.restart,
        }));
    }

    /// Waits for the replicas of a placement that are not ready yet.
    pub fn await_readiness(&mut self, view: &View, placement: &Placement) {
        let of = view.service.replicas;
        let ready = view.ready_at(placement);
        if ready >= of || view.at(placement).next().is_none() {
            return;
        }
        let last_failure = view.at(placement).find_map(|replica| match &replica.standing {
            Standing::Pending { why } => why.clone(),
            Standing::Failing { why } => Some(why.clone()),
            Standing::Ready
            | Standing::Created
            | Standing::Ended { .. }
            | Standing::Leaving
            | Standing::Impostor => None,
        });
        let deadline = verdict::progress_deadline(view);
        let slot = placement.slot;
        self.waiting_on.push(WaitingOn::Readiness { ready, of, slot, deadline, last_failure });
        // Time alone makes a replica ready that has to stay up for a while.
        let since = view.at(placement).filter(|r| !r.is_ready() && r.runs());
        let min_healthy = view.service.rollout.min_healthy_time;
        let earliest = since.filter_map(|r| Some(r.memory.probed_ready_since? + min_healthy)).min();
        if let Some(at) = earliest.filter(|at| *at > view.world.at()) {
            self.waiting_on.push(WaitingOn::MinHealthyTime { until: at });
        }
    }
}

/// Returns whether a replica ever did what its service is for: one that is ready, and
/// failed before anything led to it, serves nobody. Without a route it is at work as
/// soon as it runs, unless it still has a gate to pass.
pub fn has_served(view: &View, replica: &Replica) -> bool {
    let memory = &view.memory;
    let refused = !gates::have_passed_before_promotion(view, &replica.container.release);
    if view.service.route.is_none() && !refused && view.service.rollout_group.is_none() {
        return true;
    }
    let mut placements = [&memory.active, &memory.previous].into_iter().flatten();
    placements.any(|placement| placement.release == replica.container.release)
}

fn create(view: &View, aim: &Aim, release: &Release, replica: u32) -> Step {
    let service = &view.service.name;
    let slot = aim.placement.slot;
    let name = format!("{}-{service}-{slot}-{}-{replica}", view.world.stack.name, release.id);
    let release = release.clone();
    let (service, addresses, hosts) = (service.clone(), BTreeMap::new(), BTreeMap::new());
    let new = NewContainer { name, service, slot, replica, job: None, release, addresses, hosts };
    Step::Create(Box::new(new))
}

/// Returns whether a dependency's condition is met.
pub fn dependency_is_met(view: &View, target: &Target, condition: DependsOn) -> bool {
    match condition {
        DependsOn::ServiceStarted => view
            .replicas
            .iter()
            .any(|r| matches!(r.container.state, ContainerState::Running { .. }) || r.is_ready()),
        DependsOn::ServiceHealthy => view.replicas.iter().any(Replica::is_ready),
        DependsOn::ServiceCompletedSuccessfully => match target {
            Target::Aim(aim) => aim.origin == Origin::Declared && view.all_ready_at(&aim.placement),
            Target::NeedsImage | Target::Nothing => false,
        },
    }
}
