//! L1 and L2, judged once the file and the faults have stopped changing.

use std::collections::BTreeSet;

use crate::{
    domain::{
        ContainerId, Release, Service, ServiceKind, ServiceName, SlotChoice, Strategy,
        snapshot::ContainerState,
    },
    sim::{
        counters::Feature,
        scenario::{Fate, fate},
        world::{FOREIGN_ROUTES, SimContainer, Version, World},
    },
};

use super::{Rule, Violation, Whole, dials_of};

/// What the end of a scenario is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Something happened that can make a good release fail: then it may be held.
    Disturbed,
    /// Nothing did: what can become healthy has.
    Undisturbed,
}

impl World {
    /// Notes which release of each declared service is whole, after a pass.
    pub(crate) fn note_whole(&mut self) {
        let Ok(stack) = &self.file else { return };
        let stack = std::sync::Arc::clone(stack);
        self.oracle.last_whole.retain(|name, _| stack.services.contains_key(name));
        for service in stack.services.values() {
            // What it may replace the last whole release with is anybody's guess.
            let version = self.registry.version(&service.image);
            if version.is_some_and(|version| fate(version, service) == Fate::Unclear) {
                self.oracle.last_whole.remove(&service.name);
                self.oracle.unclear.insert(service.name.clone());
                continue;
            }
            // Nothing can be fallen back on that was not yet seen to be active.
            let remembered = self.store.as_ref().and_then(|m| m.services.get(&service.name));
            let active = remembered.and_then(|service| service.active.as_ref());
            if let Some(whole) = self.whole(service)
                && active.is_some_and(|active| active.release == whole.release)
                && self.oracle.last_whole.get(&service.name) != Some(&whole)
            {
                self.oracle.last_whole.insert(service.name.clone(), whole);
            }
        }
    }

    /// The release that serves with every replica: behind the route where there
    /// is one.
    fn whole(&self, service: &Service) -> Option<Whole> {
        let mut ours = self.of_service(&service.name);
        if service.kind == ServiceKind::LongRunning {
            ours.retain(|container| self.oracle.is_ready(service, &container.id, self.now));
        }
        let (slot, release) = match &service.route {
            Some(_) => {
                let backend = &self.caddy.table.get(&service.name)?.backend;
                (backend.slot, backend.release.clone())
            }
            None => {
                let serving = ours.iter().find(|container| self.stands(service, container))?;
                let labels = serving.ours()?;
                (labels.slot, labels.release.id.clone())
            }
        };
        let at = |container: &&&SimContainer| {
            container.ours().is_some_and(|l| l.slot == slot && l.release.id == release)
        };
        let standing: BTreeSet<u32> = ours
            .iter()
            .filter(at)
            .filter(|container| self.stands(service, container))
            .filter_map(|container| container.ours().map(|labels| labels.replica))
            .collect();
        let all = (1..=service.replicas).all(|number| standing.contains(&number));
        let version = ours.iter().find(at)?.image_id.clone();
        let version = self.registry.version_of(&version)?;
        all.then(|| Whole { slot, release, fate: fate(version, service) })
    }

    fn of_service(&self, name: &ServiceName) -> Vec<&SimContainer> {
        let is_of = |container: &&SimContainer| {
            let labels = container.ours().filter(|labels| labels.job.is_none());
            labels.is_some_and(|labels| labels.service == *name)
        };
        self.docker.all().filter(is_of).collect()
    }

    /// Returns whether a replica does what its service is for.
    fn stands(&self, service: &Service, container: &SimContainer) -> bool {
        match (service.kind, &service.probe.check) {
            (ServiceKind::OneShot, _) => container
                .listed(self.now)
                .is_some_and(|listed| listed.state == ContainerState::Exited { code: 0 }),
            (ServiceKind::LongRunning, crate::domain::ProbeCheck::Started) => {
                container.is_running()
            }
            (ServiceKind::LongRunning, _) => container.serves(self.now),
        }
    }

    /// Returns the services that are held although their release is sound.
    pub(crate) fn held_in_error(&self) -> Vec<ServiceName> {
        let Ok(stack) = &self.file else { return Vec::new() };
        let held = |service: &&Service| self.hold_stands(service);
        let sound = |service: &&Service| self.declared_fate(service) == Fate::Healthy;
        stack.services.values().filter(held).filter(sound).map(|s| s.name.clone()).collect()
    }

    fn hold_stands(&self, service: &Service) -> bool {
        let hold = self.oracle.holds.get(&service.name);
        hold.is_some_and(|(declaration, _)| *declaration == service.declaration())
    }

    /// What must become of the declared release, its dependencies included.
    fn declared_fate(&self, service: &Service) -> Fate {
        let Ok(stack) = &self.file else { return Fate::Unclear };
        let blocked = service.depends_on.keys().any(|name| {
            stack
                .services
                .get(name)
                .is_none_or(|on| self.declared_fate(on) != Fate::Healthy || self.hold_stands(on))
        });
        let is_sound = |other: &Service| {
            let version = self.registry.version(&other.image);
            let fate = version.map_or(Fate::Bad, |version| fate(version, other));
            fate == Fate::Healthy && !self.hold_stands(other) && self.may_start(other)
        };
        let group = service.rollout_group.as_ref();
        let mut members = stack.services.values().filter(|other| {
            group.is_some() && other.rollout_group.as_ref() == group && other.name != service.name
        });
        let blocked = blocked || members.any(|other| !is_sound(other));
        match self.registry.version(&service.image) {
            Some(_) if blocked => Fate::Unclear,
            Some(version) => fate(version, service),
            None => Fate::Bad,
        }
    }

    /// Returns whether nothing that a service depends on stands in its way, as far as
    /// that depends on no group.
    fn may_start(&self, service: &Service) -> bool {
        let Ok(stack) = &self.file else { return false };
        service.depends_on.keys().all(|name| {
            stack.services.get(name).is_some_and(|on| {
                let version = self.registry.version(&on.image);
                let fate = version.map_or(Fate::Bad, |version| fate(version, on));
                fate == Fate::Healthy && !self.hold_stands(on) && self.may_start(on)
            })
        })
    }

    /// Returns whether every declared release is clearly sound or clearly not:
    /// only then must the world come to rest.
    pub(crate) fn is_expected_to_rest(&self) -> bool {
        let Ok(stack) = &self.file else { return false };
        stack.services.values().all(|service| {
            let was_clear = !self.oracle.unclear.contains(&service.name);
            self.declared_fate(service) != Fate::Unclear && was_clear
        })
    }

    /// Judges the world once nothing changes any more.
    pub(crate) fn judge_end(&mut self, ending: Ending) {
        let Ok(stack) = self.file.clone() else { return };
        let mut broken = Vec::new();
        for service in stack.services.values() {
            match self.declared_fate(service) {
                Fate::Healthy if self.hold_stands(service) => match ending {
                    Ending::Disturbed => {}
                    Ending::Undisturbed => {
                        broken.push((Rule::L2, format!("{} is held without cause", service.name)));
                    }
                },
                Fate::Healthy => {
                    self.counters.feature(Feature::EndedHealthy);
                    broken.extend(self.unlike_declared(service).map(|text| (Rule::L1, text)));
                }
                Fate::Bad => {
                    self.counters.feature(Feature::EndedHeld);
                    broken.extend(self.ill_held(service, ending).map(|text| (Rule::L2, text)));
                }
                Fate::Unclear => {}
            }
        }
        for container in self.docker.all() {
            if let Some(labels) = container.ours()
                && !stack.services.contains_key(&labels.service)
            {
                broken.push((Rule::L1, format!("{} is an orphan", container.name)));
            }
        }
        for name in self.caddy.table.keys().filter(|name| !stack.services.contains_key(*name)) {
            broken.push((Rule::L1, format!("the route of {name} is an orphan")));
        }
        if self.caddy.foreign != FOREIGN_ROUTES {
            broken.push((Rule::S4, "somebody else's routes changed".to_owned()));
        }
        let gone = |id: &&ContainerId| self.docker.get(id).is_none_or(|c| !c.is_running());
        for id in self.oracle.foreign.iter().filter(gone) {
            broken.push((Rule::S4, format!("somebody else's container {id} is gone")));
        }
        for (rule, text) in broken {
            self.trace.line(self.now, || format!("!! {rule:?}: {text}"));
            self.oracle.violations.push(Violation { rule, at: self.now, text });
        }
    }

    /// Returns how a service differs from its declaration, if it does.
    fn unlike_declared(&self, service: &Service) -> Option<String> {
        let name = &service.name;
        let version = self.registry.version(&service.image)?;
        let release = service.release(version.digest(), version.image_id());
        let ours = self.of_service(name);
        let stray = ours.iter().find(|container| {
            container.ours().is_none_or(|labels| {
                labels.release.id != release.id || labels.replica > service.replicas
            })
        });
        if let Some(stray) = stray {
            return Some(format!("{} is left over", stray.name));
        }
        // Done is done, whatever became of its container.
        let is_done = service.kind == ServiceKind::OneShot
            && ours.is_empty()
            && self.oracle.done.contains(&(name.clone(), release.id.clone()));
        if is_done {
            return None;
        }
        let Some(whole) = self.whole(service) else {
            return Some(format!("{name} does not serve with all replicas"));
        };
        if whole.release != release.id {
            return Some(format!("{name} serves {} and not {}", whole.release, release.id));
        }
        let in_other_slot = ours.iter().filter_map(|c| c.ours()).find(|l| l.slot != whole.slot);
        if let Some(other) = in_other_slot {
            return Some(format!("{} is left over in its slot", other.name));
        }
        match service.slot {
            SlotChoice::Declared(slot) if slot != whole.slot => {
                return Some(format!("{name} is in {} and not in {slot}", whole.slot));
            }
            SlotChoice::Declared(_) | SlotChoice::Auto => {}
        }
        self.misrouted(service, &release)
    }

    fn misrouted(&self, service: &Service, release: &Release) -> Option<String> {
        let name = &service.name;
        let Some(route) = &service.route else {
            let routed = self.caddy.table.contains_key(name);
            return routed.then(|| format!("{name} has a route and declares none"));
        };
        let Some(state) = self.caddy.table.get(name) else {
            return Some(format!("{name} has no route"));
        };
        let listed = self.docker.list(self.now).replicas;
        let of_release = listed.iter().filter(|c| c.service == *name && c.release == release.id);
        let dials: BTreeSet<_> = of_release.flat_map(dials_of).collect();
        if state.route != *route || state.backend.dials != dials {
            return Some(format!(
                "{name} is routed to {:?} and not {dials:?}",
                state.backend.dials
            ));
        }
        // Every service of a scenario is on a bridge, and has one port.
        if state.inside.is_none() {
            return Some(format!("{name} cannot be called by its name"));
        }
        (!self.caddy.intact).then(|| "our part of the proxy is not intact".to_owned())
    }

    /// Returns what is wrong with a service whose declared release cannot
    /// become healthy.
    fn ill_held(&self, service: &Service, ending: Ending) -> Option<String> {
        let name = &service.name;
        if !self.hold_stands(service) {
            return Some(format!("{name} cannot become healthy and is not held"));
        }
        if let Some(version) = self.registry.version(&service.image) {
            let release = service.release(version.digest(), version.image_id());
            let ours = self.of_service(name);
            let left = ours
                .iter()
                .find(|c| c.ours().is_some_and(|labels| labels.release.id == release.id));
            if let Some(left) = left {
                return Some(format!("{} failed and is still there", left.name));
            }
        }
        let hold = self.store.as_ref().and_then(|memory| memory.service(name).hold);
        let ran = self.registry.version(&service.image).is_some_and(Version::can_log);
        if ending == Ending::Undisturbed && ran && hold.is_none_or(|hold| hold.log.is_empty()) {
            return Some(format!("{name} is held and its log is not kept"));
        }
        let previous = self.oracle.last_whole.get(name)?;
        let is_expected = previous.fate == Fate::Healthy && !self.oracle.amnesia;
        let is_job = service.kind == ServiceKind::OneShot;
        if !is_expected || is_job {
            return None;
        }
        let whole = self.whole(service);
        let serves = whole.is_some_and(|whole| whole.release == previous.release);
        let how = match service.rollout.strategy {
            Strategy::BlueGreen | Strategy::Rolling => "still",
            Strategy::Recreate => "again",
        };
        (!serves).then(|| format!("{name} is held and {} does not serve {how}", previous.release))
    }
}
