//! What the next pass has to know and cannot observe.
//!
//! Pure: the memory of the last pass and what this one saw give the new memory.
//! Timers start when something is *first seen*; forgetting all of it starts
//! them anew and breaks nothing.

use std::collections::BTreeMap;

use crate::domain::{
    Commit, ContainerId, ImageRef, Memory, Phase, Release, ReleaseId, RouteTable, Service,
    ServiceKind, ServiceName, SignedImage, Snapshot, Stack, Timestamp,
    memory::{
        Attempts, Event, EventKind, Hold, MAX_HISTORY, MAX_VERIFIED, Placement, ReplicaMemory,
        RolloutMemory, ServiceMemory,
    },
    snapshot::{Failure, HoldOf, Outcome, Subject},
    time::Now,
};

use super::{
    aim::{self, Course, course},
    deployment, gates, group, retain, tell,
    view::{View, World, placement_of},
    watch,
};

/// Returns what is to be known after this pass.
pub fn remember(stack: &Stack, memory: &Memory, seen: &Snapshot, now: Now) -> Memory {
    let mut memory = memory.clone();
    for outcome in &seen.outcomes {
        learn(&mut memory, outcome, now);
    }
    if let Some(containers) = seen.containers.known() {
        watch::replicas(stack, &mut memory, seen, containers, now.at);
    }
    if let Some(proxy) = seen.proxy.known()
        && stack.proxy.is_some()
        && proxy.intact
    {
        match proxy.table.is_empty() {
            true => memory.proxy = None,
            false => {
                memory.proxy = stack.proxy.clone();
                memory.routes = proxy.table.clone();
            }
        }
    }
    // What the file takes out is not given back if it comes in again.
    let is_routed =
        |name: &ServiceName| stack.services.get(name).is_some_and(|s| s.route.is_some());
    memory.routes.retain(|name, _| is_routed(name));
    let learned = memory.clone();
    let world = World { stack, seen, memory: &learned, now };
    for name in stack.services.keys() {
        if seen.containers.known().is_some() {
            follow(world, &mut memory, name);
        } else if let Some(service) = memory.services.get_mut(name) {
            await_the_engine(service, now);
        }
    }
    let mut over = Vec::new();
    for (name, service) in &mut memory.services {
        // Nothing is active of what the file does not declare: when it comes
        // back it is a first deployment, and has to be ready first.
        if !stack.services.contains_key(name) {
            // What its jobs did stays done.
            let replicas = std::mem::take(&mut service.replicas);
            gates::discard_failed(service);
            let gates = std::mem::take(&mut service.gates);
            over.extend(deployment::close(service, now));
            *service = ServiceMemory { replicas, gates, ..ServiceMemory::default() };
        }
    }
    deployment::keep(&mut memory, over);
    gates::note_done(&mut memory, seen, now);
    gates::watch_the_left_behind(stack, &mut memory, seen, now);
    // Beside a rollout nothing is pruned, so that was not the look that counts.
    let is_under_way = |service: &ServiceMemory| {
        service.rollout.as_ref().is_some_and(|rollout| rollout.started_at.is_some())
    };
    if seen.host.known().is_some() && !memory.services.values().any(is_under_way) {
        memory.pruned_at = Some(now.at);
    }
    forget(stack, &mut memory);
    memory
}

/// Returns what is to be known before this table is written: a proxy that loses
/// it before it is seen to stand gets it back.
pub fn intend(stack: &Stack, memory: &Memory, table: &RouteTable) -> Memory {
    Memory { routes: table.clone(), proxy: stack.proxy.clone(), ..memory.clone() }
}

/// Appends an event; the oldest go when there are too many.
pub fn note(memory: &mut Memory, event: Event) {
    tell::note(memory, &event);
    memory.history.push(event);
    let surplus = memory.history.len().saturating_sub(MAX_HISTORY);
    memory.history.drain(..surplus);
}

/// Time in which the engine cannot be seen counts against no rollout.
fn await_the_engine(service: &mut ServiceMemory, now: Now) {
    let started_at = service.rollout.as_mut().and_then(|rollout| rollout.started_at.as_mut());
    if let Some(at) = started_at {
        *at = now.at;
    }
}

fn learn(memory: &mut Memory, outcome: &Outcome, now: Now) {
    match outcome {
        Outcome::Pulled { image, result: Ok(resolution) } => {
            memory.failed_pulls.remove(image);
            memory.resolutions.insert(image.clone(), resolution.clone());
        }
        Outcome::Pulled { image, result: Err(failure) } => {
            let earlier = memory.failed_pulls.get(image).cloned();
            memory.failed_pulls.insert(image.clone(), once_more(earlier, failure, now.at));
        }
        Outcome::Verified { image, result: Ok(()) } => {
            memory.failed_checks.remove(image);
            memory.verified.retain(|known| known != image);
            memory.verified.push(image.clone());
            let surplus = memory.verified.len().saturating_sub(MAX_VERIFIED);
            memory.verified.drain(..surplus);
        }
        Outcome::Verified { image, result: Err(failure) } => {
            let earlier = memory.failed_checks.remove(image);
            memory.failed_checks.insert(image.clone(), once_more(earlier, failure, now.at));
        }
        Outcome::RestartPolicySet { service, container } => {
            replica_of(memory, service, container).restart_policy_set = true;
        }
        Outcome::Started { service, container } => {
            replica_of(memory, service, container).stopped_at = None;
        }
        Outcome::Stopped { service, container } => {
            let replica = replica_of(memory, service, container);
            replica.stopped_at = Some(now.at);
            // A stop takes its restart policy away.
            replica.restart_policy_set = false;
        }
        Outcome::Held { service, of, hold } => {
            if *of == HoldOf::Declared {
                deployment::held(memory.services.entry(service.clone()).or_default(), hold, now);
            }
            note(
                memory,
                Event {
                    at_unix_ms: now.unix_ms,
                    service: service.clone(),
                    kind: EventKind::Held,
                    slot: None,
                    release: hold.release.clone(),
                    image: Some(hold.image.clone()),
                    commit: commit_of(memory, service, hold.release.as_ref()),
                    text: hold.reason.clone(),
                },
            );
            let service = memory.services.entry(service.clone()).or_default();
            let held = match of {
                HoldOf::Declared => &mut service.hold,
                HoldOf::Standby => &mut service.failed_standby,
            };
            *held = Some((**hold).clone());
            service.failed_steps = None;
        }
        Outcome::Done { subject } => *attempts_at(memory, subject) = None,
        Outcome::Failed { subject, failure } => {
            let attempts = attempts_at(memory, subject);
            *attempts = Some(once_more(attempts.take(), failure, now.at));
        }
    }
}

/// Returns the commit that first declared a release.
pub(super) fn commit_of(
    memory: &Memory,
    service: &ServiceName,
    release: Option<&ReleaseId>,
) -> Option<Commit> {
    let releases = &memory.services.get(service)?.releases;
    releases.iter().find(|record| Some(&record.id) == release)?.commit.clone()
}

/// Returns what is remembered of a replica on which a step has just succeeded.
fn replica_of<'m>(
    memory: &'m mut Memory,
    service: &ServiceName,
    container: &ContainerId,
) -> &'m mut ReplicaMemory {
    let service = memory.services.entry(service.clone()).or_default();
    service.failed_steps = None;
    service.replicas.entry(container.clone()).or_default()
}

/// Returns where failures of steps on a subject are counted.
fn attempts_at<'m>(memory: &'m mut Memory, subject: &Subject) -> &'m mut Option<Attempts> {
    match subject {
        Subject::Replica { service, .. } | Subject::Service(service) => {
            &mut memory.services.entry(service.clone()).or_default().failed_steps
        }
        Subject::Proxy => &mut memory.failed_writes,
        Subject::Host(_) => &mut memory.failed_host_steps,
    }
}

fn once_more(earlier: Option<Attempts>, failure: &Failure, at: Timestamp) -> Attempts {
    let count = earlier.map_or(0, |attempts| attempts.count).saturating_add(1);
    Attempts { count, last_at: at, failure: failure.clone() }
}

/// Follows one declared service: what is active, the rollout, the bake, the hold.
fn follow(world: World, memory: &mut Memory, name: &ServiceName) {
    let Some(view) = View::of(world, name) else { return };
    let (view, now) = (&view, world.now);
    let set_course = course(view);
    let mut service = view.memory.clone();
    let mut events = Vec::new();

    if let Some(declared) = &set_course.declared {
        if let Some(found) = aim::resolve(view) {
            memory.resolutions.insert(view.service.image.clone(), found);
        }
        if let Some(release) = &declared.release {
            record(&mut service, release);
        }
    }
    follow_hold(view, &mut service);
    if is_new(view, &service) {
        // What was refused was refused of an earlier declaration.
        service.failed_steps = None;
        for image in view.service.images() {
            memory.failed_pulls.remove(image);
        }
        discard_failed_checks(&mut memory.failed_checks, view.service);
        gates::discard_failed(&mut service);
        gates::forget_measurements(view.service, &mut service, &Phase::BOTH);
    }
    let declared = set_course.declared.as_ref().map(|aim| &aim.placement.release);
    service.promote = service.promote.take().filter(|release| declared == Some(release));
    for text in gates::follow(view, &set_course, &mut service) {
        let placement = set_course.aim().map(|aim| &aim.placement);
        events.push(event(view, &service, EventKind::Passed, placement, text, now));
    }
    if let Some(active) = active_now(view, &set_course) {
        follow_active(view, &set_course, &mut service, active, &mut events, now);
    }
    follow_rollout(view, &set_course, &mut service, &mut events, now);
    if set_course.blocked_by.is_none() {
        follow_bake(view, &mut service, &mut events, now);
    }
    let over = deployment::follow(view, &set_course, &mut service, &events);
    if retain::trim(&mut service, &world.stack.images, now.at) {
        // Their images need not wait for the next look by the clock.
        memory.pruned_at = None;
    }

    memory.services.insert(name.clone(), service);
    deployment::keep(memory, over);
    for event in events {
        note(memory, event);
    }
}

/// The active placement of a service without a route moves when all replicas
/// of its target are ready.
fn active_now(view: &View, course: &Course) -> Option<Placement> {
    if view.service.route.is_some() {
        return view.routed().map(placement_of);
    }
    match course.aim() {
        Some(aim) if view.all_ready_at(&aim.placement) && gates::may_promote(view, aim) => {
            Some(aim.placement.clone())
        }
        // One that was never seen ready is only looked after, not trusted.
        Some(_) | None => view.active().filter(|active| {
            view.memory.active.as_ref() == Some(active) || view.ready_at(active) > 0
        }),
    }
}

fn record(service: &mut ServiceMemory, release: &Release) {
    if service.releases.last() == Some(release) {
        return;
    }
    service.releases.retain(|known| known.id != release.id);
    service.releases.push(release.clone());
}

fn follow_hold(view: &View, service: &mut ServiceMemory) {
    let is_current = |hold: &Hold| hold.declaration == *view.declaration();
    service.hold = service.hold.take().filter(is_current);
    service.failed_standby = service.failed_standby.take().filter(is_current);
}

/// Returns whether the file has come to say something else of the service.
fn is_new(view: &View, service: &ServiceMemory) -> bool {
    service.rollout.as_ref().is_some_and(|rollout| rollout.declaration != *view.declaration())
}

fn follow_active(
    view: &View,
    course: &Course,
    service: &mut ServiceMemory,
    active: Placement,
    events: &mut Vec<Event>,
    now: Now,
) {
    if service.active.as_ref() == Some(&active) {
        service.promoted_at.get_or_insert(now.at);
        return;
    }
    let is_declared = course.declared.as_ref().is_some_and(|aim| aim.placement == active);
    let kind = match is_declared {
        true => EventKind::Promoted,
        false => EventKind::RolledBack,
    };
    gates::forget_measurements(view.service, service, &[Phase::PostPromotion]);
    service.previous = service.active.replace(active.clone());
    service.promoted_at = Some(now.at);
    let was_first = service.previous.is_none();
    let text = match &service.previous {
        Some(previous) => format!("in place of {} in {}", previous.release, previous.slot),
        None => "first deployment".to_owned(),
    };
    // A controller that knows nothing yet and finds what was there has seen no promotion.
    if kind == EventKind::Promoted || !was_first {
        events.push(event(view, service, kind, Some(&active), text, now));
    }
}

fn follow_rollout(
    view: &View,
    course: &Course,
    service: &mut ServiceMemory,
    events: &mut Vec<Event>,
    now: Now,
) {
    let declaration = view.declaration();
    let is_active =
        course.declared.as_ref().is_some_and(|aim| service.active.as_ref() == Some(&aim.placement));
    if service.rollout.as_ref().is_none_or(|rollout| rollout.declaration != *declaration) {
        let unfinished = service.rollout.take().is_some_and(|rollout| rollout.started_at.is_some());
        if unfinished {
            let text = "the file changed before it was done".to_owned();
            events.push(event(view, service, EventKind::Superseded, None, text, now));
        }
        service.rollout = Some(RolloutMemory {
            declaration: declaration.clone(),
            started_at: None,
            is_waiting: false,
            is_told: false,
        });
    }
    // Waiting for a dependency is no progress that could come too late.
    let image = &view.service.image;
    let has_begun = match &course.declared {
        Some(aim) => view.at(&aim.placement).next().is_some() || service.failed_steps.is_some(),
        None => {
            let seen = view.world.seen;
            seen.pulls.contains_key(image) || view.world.memory.failed_pulls.contains_key(image)
        }
    };
    let Some(rollout) = &mut service.rollout else { return };
    let is_kept_back = course.hold.is_some() || course.blocked_by.is_some();
    if is_active || is_kept_back || !has_begun {
        rollout.started_at = None;
    } else if rollout.started_at.is_none() {
        rollout.started_at = Some(now.at);
        // Between its pull and its first replica it waits, and does not begin again.
        if !std::mem::replace(&mut rollout.is_told, true) {
            let placement = course.declared.as_ref().map(|aim| aim.placement.clone());
            let text = view.service.image.to_string();
            events.push(event(view, service, EventKind::Started, placement.as_ref(), text, now));
        }
    }
    let Some(rollout) = &mut service.rollout else { return };
    let is_waiting = rollout.started_at.is_some()
        && course.aim().is_some_and(|aim| gates::is_waiting(view, aim));
    if rollout.is_waiting && !is_waiting && rollout.started_at.is_some() {
        rollout.started_at = Some(now.at);
    }
    rollout.is_waiting = is_waiting;
}

fn follow_bake(view: &View, service: &mut ServiceMemory, events: &mut Vec<Event>, now: Now) {
    let Some(active) = service.active.clone() else { return };
    let newest = service.good.last() == Some(&active.release);
    let is_failed =
        service.hold.as_ref().is_some_and(|h| h.release.as_ref() == Some(&active.release));
    if newest || is_failed || !view.all_ready_at(&active) {
        return;
    }
    let is_job = view.service.kind == ServiceKind::OneShot;
    let bake_is_over =
        service.promoted_at.is_some_and(|at| at + view.service.rollout.bake <= now.at)
            && gates::have_passed_after_promotion(view, &active.release)
            && !group::is_baking(view);
    if !is_job && !bake_is_over {
        return;
    }
    let was_good = service.good.contains(&active.release);
    service.good.retain(|release| *release != active.release);
    service.good.push(active.release.clone());
    if !was_good {
        let text = match is_job {
            true => "did its work".to_owned(),
            false => "served through its bake".to_owned(),
        };
        events.push(event(view, service, EventKind::Good, Some(&active), text, now));
    }
}

fn event(
    view: &View,
    service: &ServiceMemory,
    kind: EventKind,
    placement: Option<&Placement>,
    text: String,
    now: Now,
) -> Event {
    let release = placement.map(|placement| placement.release.clone());
    let record = service.releases.iter().find(|record| Some(&record.id) == release.as_ref());
    let container = placement.and_then(|placement| view.at(placement).next());
    let image = record
        .map(|record| record.image.clone())
        .or_else(|| container.map(|replica| replica.container.image.clone()));
    let commit = record.and_then(|record| record.commit.clone());
    let (service, slot) = (view.service.name.clone(), placement.map(|placement| placement.slot));
    Event { at_unix_ms: now.unix_ms, service, kind, slot, release, image, commit, text }
}

/// Drops what nothing refers to any more.
fn forget(stack: &Stack, memory: &mut Memory) {
    memory.services.retain(|name, service| {
        stack.services.contains_key(name)
            || !service.replicas.is_empty()
            || !service.gates.is_empty()
    });
    let declared = |image: &ImageRef| {
        stack.services.values().any(|service| service.images().any(|named| named == image))
    };
    let pinned: Vec<_> = memory
        .services
        .values()
        .flat_map(|service| &service.releases)
        .filter_map(aim::pinned)
        .collect();
    memory.resolutions.retain(|image, _| declared(image));
    memory.failed_pulls.retain(|image, _| declared(image) || pinned.contains(image));
    forget_signatures(stack, memory);
}

/// Drops what was found of images that nothing names any more, or of keys that the
/// policy wants no more.
fn forget_signatures(stack: &Stack, memory: &mut Memory) {
    if memory.verified.is_empty() && memory.failed_checks.is_empty() {
        return;
    }
    let retained = memory.services.values().flat_map(|service| &service.releases);
    let retained = retained.map(|release| &release.image);
    let declared = stack.services.values().flat_map(Service::images);
    let named: Vec<ImageRef> = retained.chain(declared).cloned().collect();
    let is_wanted = |known: &SignedImage| {
        named.iter().filter(|image| image.name() == known.name).any(|image| {
            stack.signature_of(image, &known.digest).is_some_and(|wanted| wanted.image == *known)
        })
    };
    memory.verified.retain(is_wanted);
    memory.failed_checks.retain(|known, _| is_wanted(known));
}

/// Forgets that images of a service were not signed: they are looked at again.
pub(super) fn discard_failed_checks(
    failed: &mut BTreeMap<SignedImage, Attempts>,
    service: &Service,
) {
    failed.retain(|known, _| service.images().all(|image| image.name() != known.name));
}
