//! What an operator can ask for beside editing the file.

use crate::domain::{
    Memory, Phase, Service, ServiceName, Snapshot, Stack,
    memory::{Event, EventKind, HeldBy, Hold},
    time::Now,
};

use super::{
    aim::{course, fallback},
    gates,
    remember::{discard_failed_checks, note},
    view::{View, World},
};

/// Why a request cannot be met.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the file declares no service `{0}`")]
    NoSuchService(ServiceName),
    #[error("`{0}` is not held: there is nothing to try again")]
    NotHeld(ServiceName),
    #[error("`{service}` did not fail: `{failed}` of its group did, and keeps it back")]
    KeptBack { service: ServiceName, failed: ServiceName },
    #[error("no earlier release of `{0}` is known that could serve")]
    NothingEarlier(ServiceName),
    #[error("Docker cannot be seen: an earlier release cannot be chosen")]
    EngineUnknown,
    #[error("`{0}` has nothing to promote: what the file declares serves already")]
    NothingToPromote(ServiceName),
    #[error("`{0}` is promoted by itself, once it is ready and its gates have passed")]
    PromotedByItself(ServiceName),
    #[error("what the file declares of `{0}` is held and does not serve: {1}")]
    Held(ServiceName, String),
}

/// Returns the memory with the declared release of a service approved: it is promoted
/// once it is ready and its gates have passed.
pub fn promote(
    stack: &Stack,
    seen: &Snapshot,
    memory: &Memory,
    name: &ServiceName,
    now: Now,
) -> Result<Memory, Refusal> {
    let world = World { stack, seen, memory, now };
    let view = View::of(world, name).ok_or_else(|| Refusal::NoSuchService(name.clone()))?;
    if view.service.rollout.auto_promote {
        return Err(Refusal::PromotedByItself(name.clone()));
    }
    if seen.containers.known().is_none() {
        return Err(Refusal::EngineUnknown);
    }
    let course = course(&view);
    if let Some(hold) = course.hold {
        return Err(Refusal::Held(name.clone(), hold.reason));
    }
    let declared = course.declared.map(|aim| aim.placement);
    if declared.is_some() && declared == view.active() {
        return Err(Refusal::NothingToPromote(name.clone()));
    }
    let declared = declared.ok_or_else(|| Refusal::NothingToPromote(name.clone()))?;
    let mut memory = memory.clone();
    memory.services.entry(name.clone()).or_default().promote = Some(declared.release.clone());
    note(
        &mut memory,
        Event {
            at_unix_ms: now.unix_ms,
            service: name.clone(),
            kind: EventKind::Approved,
            slot: Some(declared.slot),
            release: Some(declared.release),
            image: Some(view.service.image.clone()),
            commit: stack.commit.clone(),
            text: "an operator said that it may be promoted".to_owned(),
        },
    );
    Ok(memory)
}

/// Returns the memory without the hold of a service: it is tried again, from
/// resolving its tag.
pub fn retry(
    stack: &Stack,
    memory: &Memory,
    name: &ServiceName,
    now: Now,
) -> Result<Memory, Refusal> {
    let service = stack.services.get(name).ok_or_else(|| Refusal::NoSuchService(name.clone()))?;
    let mut memory = memory.clone();
    let remembered = memory.services.entry(name.clone()).or_default();
    let was_held = remembered.hold.take();
    let failed_steps = remembered.failed_steps.take();
    let failed_pulls = service.images().filter_map(|image| memory.failed_pulls.remove(image));
    let failed_pull = failed_pulls.last();
    let checks = memory.failed_checks.len();
    discard_failed_checks(&mut memory.failed_checks, service);
    let had_failed_check = memory.failed_checks.len() < checks;
    let had_failed_gates = gates::discard_failed(remembered);
    gates::forget_measurements(service, remembered, &Phase::BOTH);
    let failed_standby = remembered.failed_standby.take();
    let had_failed =
        was_held.is_some() || failed_standby.is_some() || had_failed_gates || had_failed_check;
    if !had_failed && failed_steps.is_none() && failed_pull.is_none() {
        return Err(match held_of_its_group(stack, &memory, service) {
            Some(failed) => Refusal::KeptBack { service: name.clone(), failed },
            None => Refusal::NotHeld(name.clone()),
        });
    }
    remembered.rollout = None;
    // The tag may mean another image by now, so what it meant is forgotten too.
    if let Some(release) = was_held.as_ref().and_then(|hold| hold.release.as_ref()) {
        remembered.releases.retain(|record| record.id != *release);
    }
    memory.resolutions.remove(&service.image);
    note(
        &mut memory,
        Event {
            at_unix_ms: now.unix_ms,
            service: name.clone(),
            kind: EventKind::Retried,
            slot: None,
            release: was_held.and_then(|hold| hold.release),
            image: Some(service.image.clone()),
            commit: stack.commit.clone(),
            text: "an operator asked for a new try".to_owned(),
        },
    );
    Ok(memory)
}

/// Returns the member of a service's group whose release is held.
fn held_of_its_group(stack: &Stack, memory: &Memory, service: &Service) -> Option<ServiceName> {
    let group = service.rollout_group.as_ref()?;
    let mut members =
        stack.services.values().filter(|other| other.rollout_group.as_ref() == Some(group));
    let failed = members.find(|other| {
        let hold = memory.services.get(&other.name).and_then(|it| it.hold.as_ref());
        hold.is_some_and(|hold| hold.declaration == other.declaration())
    });
    failed.map(|other| other.name.clone())
}

/// Returns the memory with the declared release held by an operator, so that
/// the release before it serves until the file says something else.
pub fn rollback(
    stack: &Stack,
    seen: &Snapshot,
    memory: &Memory,
    name: &ServiceName,
    now: Now,
) -> Result<Memory, Refusal> {
    if seen.containers.known().is_none() {
        return Err(Refusal::EngineUnknown);
    }
    let world = World { stack, seen, memory, now };
    let view = View::of(world, name).ok_or_else(|| Refusal::NoSuchService(name.clone()))?;
    let view = &view;
    let course = course(view);
    if let Some(hold) = &course.hold
        && view.active().is_some_and(|active| Some(&active.release) != hold.release.as_ref())
    {
        return Err(Refusal::Held(name.clone(), hold.reason.clone()));
    }
    let declared = course.declared.map(|aim| aim.placement.release);
    let earlier = fallback(view, declared.as_ref());
    let earlier = earlier.ok_or_else(|| Refusal::NothingEarlier(name.clone()))?;
    let mut changed = memory.clone();
    let hold = Hold {
        declaration: view.service.declaration(),
        release: declared.clone(),
        image: view.service.image.clone(),
        reason: "rolled back by an operator".to_owned(),
        log: Vec::new(),
        gates: Vec::new(),
        by: HeldBy::Operator,
        at_unix_ms: now.unix_ms,
    };
    changed.services.entry(name.clone()).or_default().hold = Some(hold);
    note(
        &mut changed,
        Event {
            at_unix_ms: now.unix_ms,
            service: name.clone(),
            kind: EventKind::Held,
            slot: None,
            release: declared,
            image: Some(view.service.image.clone()),
            commit: stack.commit.clone(),
            text: format!(
                "rolled back by an operator to release {} in {}",
                earlier.placement.release, earlier.placement.slot
            ),
        },
    );
    Ok(changed)
}
