//! S1 to S8, judged at every effect.

use std::net::{IpAddr, SocketAddr};

use crate::{
    domain::{
        Backend, Container, ContainerId, Digest, Gate, GateKey, ImageId, Memory, Phase, ReleaseId,
        RouteState, RouteTable, Service, ServiceKind, ServiceName,
    },
    plan::NewContainer,
    sim::{
        counters::Feature,
        scenario::{Fate, fate},
        world::{SimContainer, World},
    },
};

use super::{Oracle, Rule, Traffic, dials_of, holds_of, is_recreate};

impl World {
    /// Follows what the world's latest change means for traffic.
    pub(crate) fn time_has_passed(&mut self) {
        self.oracle.time_passed(&self.docker, &self.caddy, self.now);
    }

    pub(crate) fn breaks(&mut self, rule: Rule, text: String) {
        self.trace.line(self.now, || format!("!! {rule:?}: {text}"));
        self.oracle.violation(rule, self.now, text);
    }

    /// S4: only networks and volumes of our own name are made.
    pub(crate) fn judge_name(&mut self, name: &str) {
        let declared = self.oracle.knows.stack.as_ref().is_some_and(|stack| {
            stack.networks.contains_key(name) || stack.volumes.contains_key(name)
        });
        if !declared {
            self.breaks(Rule::S4, format!("{name} is created and nothing declares it"));
        }
    }

    /// S4: only what carries our labels is changed.
    pub(crate) fn judge_ownership(&mut self, id: &ContainerId) {
        if let Some(container) = self.docker.get(id)
            && container.ours().is_none()
        {
            let name = container.name.clone();
            self.breaks(Rule::S4, format!("{name} is not ours and is touched"));
        }
    }

    /// S7: what is held is not created again. S1: and nothing where requests go.
    pub(crate) fn judge_create(&mut self, new: &NewContainer) {
        let names = |table: &RouteTable, at: &IpAddr| {
            table.values().flat_map(|state| state.dials()).any(|dial| dial.ip() == *at)
        };
        let seen = self.oracle.knows.proxy.clone().unwrap_or_default();
        let exposed =
            new.addresses.values().find(|at| names(&self.caddy.table, at) && names(&seen, at));
        if let Some(at) = exposed {
            self.breaks(Rule::S1, format!("{} is created at {at}, which is routed", new.name));
        }
        self.judge_signature(new);
        let Some(service) = self.oracle.declared(&new.service) else {
            return self.breaks(Rule::S4, format!("{} is created and not declared", new.name));
        };
        let Some((declaration, release)) = self.oracle.holds.get(&new.service) else { return };
        if *declaration == service.declaration() && release.as_ref() == Some(&new.release.id) {
            self.breaks(Rule::S7, format!("{} is created while its release is held", new.name));
        }
    }

    /// S11: where images must be signed, nothing is made of one that was not seen to be.
    /// The rule of a scenario stands from its beginning, so nothing served before it.
    fn judge_signature(&mut self, new: &NewContainer) {
        let (image, digest) = (&new.release.image, &new.release.digest);
        let stack = self.oracle.knows.stack.as_ref();
        let is_wanted = stack.is_some_and(|stack| stack.signature_of(image, digest).is_some());
        if is_wanted && !self.oracle.verified.contains(digest) {
            self.breaks(Rule::S11, format!("{} is created, and {image} not verified", new.name));
        }
    }

    /// S2 to S5, on the decision to stop or remove a container.
    pub(crate) fn judge_taking_away(&mut self, id: &ContainerId) {
        self.judge_ownership(id);
        let broken = self.docker.get(id).and_then(|container| self.broken_by_end_of(container));
        if let Some((rule, text)) = broken {
            self.breaks(rule, text);
        }
        if let Some(Traffic::UnroutedSince(since)) = self.oracle.traffic.get(id).copied()
            && let Some(container) = self.docker.get(id)
            && container.is_running()
        {
            self.counters.feature(self.stopped_how(container, since));
        }
        self.oracle.knows.taken.insert(id.clone());
    }

    fn stopped_how(&self, container: &SimContainer, since: i64) -> Feature {
        let drain = container.ours().map_or(0, |ours| self.oracle.drain_timeout(&ours.service));
        match self.caddy.requests.unfinished(&self.docker, &container.id, self.now) {
            0 if self.now - since < drain => Feature::StoppedOnceIdle,
            0 => Feature::StoppedAfterDrain,
            _ => Feature::StoppedInFlight,
        }
    }

    fn broken_by_end_of(&self, container: &SimContainer) -> Option<(Rule, String)> {
        let labels = container.ours().filter(|labels| labels.job.is_none())?;
        let (oracle, name) = (&self.oracle, &container.name);
        let Some(seen) = &oracle.knows.containers else {
            return Some((Rule::S5, format!("{name} goes and the engine could not be seen")));
        };
        let service = oracle.declared(&labels.service);
        if !container.is_running() || service.is_some_and(is_recreate) {
            return None;
        }
        let takes_requests = labels.release.spec.route_port.is_some();
        if takes_requests && oracle.knows.proxy.is_none() {
            return Some((Rule::S5, format!("{name} goes and the proxy could not be seen")));
        }
        if self.is_named(container) {
            return Some((Rule::S2, format!("{name} goes and the route names it")));
        }
        if let Some(Traffic::UnroutedSince(since)) = oracle.traffic.get(&container.id) {
            let drain = oracle.drain_timeout(&labels.service);
            let drained = self.now - since;
            let requests = &self.caddy.requests;
            // One whose route moved long before, and came back since, has had its time.
            let open = requests.undrained(&self.docker, &container.id, self.now, drain);
            if drained < drain && open > 0 {
                let text = format!(
                    "{name} goes with {open} requests in flight, {drained} ms after its route, of {drain} ms"
                );
                return Some((Rule::S2, text));
            }
        }
        let service = service?;
        let is_last = oracle.is_ready(service, &container.id, self.now)
            && !seen.iter().any(|other| {
                other.service == labels.service
                    && other.id != container.id
                    && !oracle.knows.taken.contains(&other.id)
                    && oracle.is_ready(service, &other.id, self.now)
            });
        let runs_on = service.kind == ServiceKind::LongRunning && !self.is_refused(service, labels);
        (is_last && runs_on).then(|| (Rule::S3, format!("{name} goes, the last that is ready")))
    }

    /// Returns whether a release failed, or may be kept back with one of its group,
    /// before it ever served.
    fn is_refused(&self, service: &Service, labels: &NewContainer) -> bool {
        let oracle = &self.oracle;
        let release = &labels.release.id;
        let memory = self.store.as_ref().map(|memory| memory.service(&service.name));
        let served = memory.is_some_and(|memory| {
            let mut placements = [memory.active, memory.previous].into_iter().flatten();
            placements.any(|placement| placement.release == *release)
        });
        let held = oracle.holds.get(&service.name).and_then(|(_, release)| release.as_ref());
        let version = self.registry.version_of(&labels.release.image_id);
        let is_bad = version.is_some_and(|version| fate(version, service) == Fate::Bad);
        // What has no route is at work once it runs, unless it has gates to pass.
        let is_gated = !service.rollout.pre_promotion.is_empty();
        let is_held = held == Some(release) && (service.route.is_some() || is_gated);
        !served && (is_held || is_bad || service.rollout_group.is_some())
    }

    /// Returns whether Caddy names the container, and was seen to.
    fn is_named(&self, container: &SimContainer) -> bool {
        let Some(listed) = container.listed(self.now) else { return false };
        let names = |table: &RouteTable| {
            let route = table.get(&listed.service);
            route.is_some_and(|route| dials_of(&listed).any(|d| route.dials().any(|n| *n == d)))
        };
        names(&self.caddy.table) && self.oracle.knows.proxy.as_ref().is_some_and(names)
    }

    /// S2 again, when a stop that took its time takes effect.
    pub(crate) fn judge_stop_in_effect(&mut self, id: &ContainerId) {
        let Some(container) = self.docker.get(id) else { return };
        let Some(labels) = container.ours() else { return };
        let may_be_routed = self.oracle.declared(&labels.service).is_some_and(is_recreate);
        if container.is_running() && !may_be_routed && self.is_named(container) {
            let text = format!("{} ends and the route names it by now", container.name);
            self.breaks(Rule::S2, text);
        }
    }

    /// S1, S3, S5 and S6 on one write of the routes.
    pub(crate) fn judge_write(&mut self, table: &RouteTable) {
        let mut broken = Vec::new();
        if self.oracle.knows.proxy.is_none() {
            broken.push((Rule::S5, "routes are written and could not be seen".to_owned()));
        }
        for (name, state) in table {
            broken.extend(self.broken_by_route(name, &state.backend));
            broken.extend(self.broken_by_standby(name, state));
            broken.extend(self.broken_by_promotion(name, &state.backend, table));
        }
        for name in self.caddy.table.keys().filter(|name| !table.contains_key(*name)) {
            broken.extend(self.broken_by_dropping(name));
        }
        for (name, state) in table {
            let before = self.caddy.table.get(name).map(|state| &state.backend);
            match before {
                None if self.oracle.last_written.contains_key(name) => {
                    self.counters.feature(Feature::RouteRestored);
                }
                Some(before) if before.release != state.backend.release => {
                    self.counters.feature(Feature::Flipped);
                }
                Some(_) | None => {}
            }
        }
        if broken.is_empty() {
            self.oracle.last_intended = table.clone();
            let promoted =
                table.iter().map(|(name, state)| (name.clone(), state.backend.release.clone()));
            self.oracle.promoted.extend(promoted);
        }
        broken.into_iter().for_each(|(rule, text)| self.breaks(rule, text));
    }

    fn broken_by_route(&self, name: &ServiceName, backend: &Backend) -> Option<(Rule, String)> {
        let oracle = &self.oracle;
        let stands = self.caddy.table.get(name).map(|state| &state.backend);
        let written = oracle.last_written.get(name).map(|state| &state.backend);
        let intended = oracle.last_intended.get(name).map(|state| &state.backend);
        // Of a write that failed nobody knows whether it was done.
        if [stands, written, intended].contains(&Some(backend)) {
            return None;
        }
        let Some(seen) = &oracle.knows.containers else {
            return Some((Rule::S5, format!("{name} moves and the engine could not be seen")));
        };
        let service = oracle.declared(name)?;
        let same =
            |other: &Backend| (other.slot, &other.release) == (backend.slot, &backend.release);
        let is_a_move = !stands.is_some_and(same) && !written.is_some_and(same);
        let of_release = |container: &&Container| {
            container.service == *name
                && container.slot == backend.slot
                && container.release == backend.release
        };
        let any_ready =
            seen.iter().filter(of_release).any(|c| oracle.is_ready(service, &c.id, self.now));
        for dial in &backend.dials {
            let at_dial: Vec<&Container> = seen
                .iter()
                .filter(|container| {
                    container.is_running() && dials_of(container).any(|d| d == *dial)
                })
                .collect();
            if let Some(other) = at_dial.iter().find(|container| !of_release(container)) {
                let release = &backend.release;
                let text = format!("{dial} of {name} {release} belongs to {}", other.name);
                return Some((Rule::S6, text));
            }
            let ready = at_dial.iter().any(|c| oracle.is_ready(service, &c.id, self.now));
            let stood = stands.is_some_and(|before| before.dials.contains(dial));
            if !ready && (is_a_move || (any_ready && !stood)) {
                return Some((Rule::S1, format!("{name} moves to {dial}, which is not ready")));
            }
        }
        None
    }

    /// S1: a release is promoted for the first time only with its gates passed, and
    /// with all of its group.
    fn broken_by_promotion(
        &self,
        name: &ServiceName,
        backend: &Backend,
        table: &RouteTable,
    ) -> Option<(Rule, String)> {
        let oracle = &self.oracle;
        let service = oracle.declared(name)?;
        let release = self.declared_release(service)?;
        let is_promoted = |name: &ServiceName, release: &ReleaseId| {
            oracle.promoted.contains(&(name.clone(), release.clone()))
        };
        if backend.release != release || is_promoted(name, &release) {
            return None;
        }
        let is_open = |gate: &&Gate| {
            let (service, gate) = (name.clone(), gate.id(Phase::PrePromotion));
            !oracle.passed.contains(&GateKey { service, release: release.clone(), gate })
        };
        if let Some(gate) = service.rollout.pre_promotion.iter().find(is_open) {
            return Some((Rule::S1, format!("{name} is promoted before `{gate}` has passed")));
        }
        let group = service.rollout_group.as_ref()?;
        let services = oracle.knows.stack.as_ref()?.services.values();
        let mut others = services.filter(|it| it.rollout_group.as_ref() == Some(group));
        let late = others.find(|other| {
            let wanted = self.declared_release(other);
            let routed = table.get(&other.name).map(|state| &state.backend.release);
            wanted.as_ref() != routed
        })?;
        Some((Rule::S1, format!("{name} is promoted without {} of its group", late.name)))
    }

    fn declared_release(&self, service: &Service) -> Option<ReleaseId> {
        let version = self.registry.version(&service.image)?;
        Some(service.release(version.digest(), version.image_id()).id)
    }

    /// S1 and S6: what catches was seen to be ready, and is another release.
    fn broken_by_standby(&self, name: &ServiceName, state: &RouteState) -> Option<(Rule, String)> {
        let standby = state.standby.as_ref()?;
        let restored = self.oracle.last_written.get(name).and_then(|w| w.standby.as_ref());
        let service = self.oracle.declared(name)?;
        let seen = self.oracle.knows.containers.as_deref().unwrap_or_default();
        if (standby.slot, &standby.release) == (state.backend.slot, &state.backend.release) {
            return Some((Rule::S6, format!("{name} {} catches for itself", standby.release)));
        }
        let is_ready_at = |dial: &SocketAddr| {
            seen.iter().any(|container| {
                container.release == standby.release
                    && dials_of(container).any(|d| d == *dial)
                    && self.oracle.is_ready(service, &container.id, self.now)
            })
        };
        let unready = standby.dials.iter().find(|dial| !is_ready_at(dial))?;
        (restored != Some(standby))
            .then(|| (Rule::S1, format!("{unready} catches for {name} and is not ready")))
    }

    fn broken_by_dropping(&self, name: &ServiceName) -> Option<(Rule, String)> {
        let service = self.oracle.declared(name)?;
        service.route.as_ref()?;
        let seen = self.oracle.knows.containers.as_deref().unwrap_or_default();
        let mut ready = seen.iter().filter(|container| {
            container.service == *name && self.oracle.is_ready(service, &container.id, self.now)
        });
        ready.next().map(|_| (Rule::S3, format!("{name} loses its route and has ready replicas")))
    }

    /// S4: an image goes only if we pulled it and nothing needs it.
    pub(crate) fn judge_remove_image(&mut self, id: &ImageId, digest: &Digest) {
        let Some(image) = self.registry.local(id) else { return };
        let text = |why: &str| format!("image {} goes and {why}", digest.short());
        if !image.pulled_as.contains(digest) {
            return self.breaks(Rule::S4, text("we did not pull it"));
        }
        if self.docker.all().any(|container| container.image_id == *id) {
            return self.breaks(Rule::S4, text("a container uses it"));
        }
        let stack = self.oracle.knows.stack.clone();
        let mut declared = stack.iter().flat_map(|stack| stack.services.values());
        // Before it is resolved nobody can know what a tag means.
        let resolved = self.store.as_ref().map(|memory| &memory.resolutions);
        let is_declared = declared.any(|service| {
            let is_resolved = resolved.is_some_and(|known| known.contains_key(&service.image));
            let version = self.registry.version(&service.image);
            is_resolved && version.is_some_and(|version| version.image_id() == *id)
        });
        if is_declared {
            self.breaks(Rule::S4, text("the file declares it"));
        }
    }

    /// S7: a hold goes only with its declaration.
    pub(crate) fn judge_memory(&mut self, memory: &Memory) {
        let mut broken = Vec::new();
        for (name, (declaration, _)) in &self.oracle.holds {
            let still_declared = self
                .oracle
                .declared(name)
                .is_some_and(|service| service.declaration() == *declaration);
            let kept = memory.services.get(name).is_some_and(|service| service.hold.is_some());
            if still_declared && !kept {
                broken.push(format!("the hold of {name} is forgotten"));
            }
        }
        broken.into_iter().for_each(|text| self.breaks(Rule::S7, text));
        let holds = holds_of(memory);
        if holds != self.oracle.holds {
            self.counters.feature(Feature::Held);
            self.oracle.holds = holds;
        }
    }
}

impl Oracle {
    /// Returns the service as the file that was read last declares it.
    fn declared(&self, name: &ServiceName) -> Option<&Service> {
        self.knows.stack.as_ref()?.services.get(name)
    }

    /// Returns how long requests may take, in milliseconds; of a service that is
    /// gone nothing says so any more.
    fn drain_timeout(&self, name: &ServiceName) -> i64 {
        let declared = self.declared(name).map_or(0, |s| s.rollout.drain_timeout.as_millis());
        i64::try_from(declared).unwrap_or(i64::MAX)
    }

    /// Returns whether a replica was seen to pass its probe for long enough.
    pub(super) fn is_ready(&self, service: &Service, id: &ContainerId, now: i64) -> bool {
        let wanted = i64::try_from(service.rollout.min_healthy_time.as_millis());
        let wanted = wanted.unwrap_or(i64::MAX);
        self.knows.passing_since.get(id).is_some_and(|since| now - since >= wanted)
    }
}
