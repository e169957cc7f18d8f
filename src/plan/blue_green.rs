//! Blue-green, and the swap inside a slot: the new release starts beside the
//! old one, the route flips once, the old one drains or stays warm.

use std::collections::BTreeSet;

use crate::domain::{
    Backend, Failover, Timestamp,
    memory::{Placement, Traffic},
};

use super::{
    WaitingOn,
    aim::{Aim, Course},
    draft::{Dependencies, Draft},
    gates, idle,
    routing::{self, FlipGate},
    verdict,
    view::{View, placement_of},
};

/// Plans a service towards its target.
pub fn plan(view: &View, course: &Course, dependencies: &Dependencies, draft: &mut Draft) {
    let target = course.aim();
    let gate = flip_gate(view, target);
    let placement = target.map(|aim| &aim.placement);
    draft.backend = routing::backend(view, placement, gate, course.failed_release());
    if let Some(aim) = target {
        draft.raise(view, aim, 1..=view.service.replicas, dependencies);
        draft.await_readiness(view, &aim.placement);
        if view.active().as_ref() == Some(&aim.placement) {
            draft.settle_restart_policy(view, aim);
        }
    }
    if gate == FlipGate::Closed {
        draft.keep_active(view, course, dependencies);
    }
    draft.standby = catching(view, course, draft);
    let wanted_idle = idle::declared(view, course, draft);
    retire_the_rest(view, course, wanted_idle.as_ref(), draft);
    let makes_room = draft.waiting_on.iter().any(|wait| matches!(wait, WaitingOn::Standby { .. }));
    if let Some(aim) = wanted_idle.as_ref().filter(|_| !makes_room) {
        idle::raise(view, aim, dependencies, draft);
    }
    draft.preview = idle::preview(view, target.filter(|_| !course.is_failed()))
        .or_else(|| idle::preview(view, wanted_idle.as_ref()))
        .or_else(|| idle::preview(view, idle::elsewhere(view).as_ref()));
}

/// Returns what is to catch a request that the active release cannot take: in a
/// flip, the release that had the route; after it, the standby while it is warm.
fn catching(view: &View, course: &Course, draft: &Draft) -> Option<Backend> {
    if view.service.rollout.failover == Failover::None {
        return None;
    }
    let routed = view.routed_placement()?;
    let answers = draft.backend.as_ref().map_or_else(|| routed.clone(), placement_of);
    let catches = match answers == routed {
        true => standby(view, course, draft, &routed)?.0,
        false => routed,
    };
    if course.failed_release() == Some(&catches.release) {
        return None;
    }
    let dials: BTreeSet<_> = view.ready_dials(&catches).collect();
    (!dials.is_empty()).then(|| routing::backend_of(catches, dials))
}

fn flip_gate(view: &View, target: Option<&Aim>) -> FlipGate {
    match target {
        Some(aim) if view.all_ready_at(&aim.placement) && gates::may_promote(view, aim) => {
            FlipGate::Open
        }
        Some(_) | None => FlipGate::Closed,
    }
}

/// Retires whatever is neither the target nor active nor a warm standby.
fn retire_the_rest(view: &View, course: &Course, wanted_idle: Option<&Aim>, draft: &mut Draft) {
    let Some(active) = view.active() else {
        retire_superseded(view, course, draft);
        return;
    };
    let standby = standby(view, course, draft, &active);
    for replica in &view.replicas {
        let placement = replica.placement();
        let is_idle =
            |aim: &Aim| replica.is_at(&aim.placement) && idle::failed(view, aim).is_none();
        let is_target = course.aim().is_some_and(|aim| replica.is_at(&aim.placement))
            || wanted_idle.is_some_and(is_idle);
        let is_surplus = replica.container.replica > view.service.replicas;
        let is_kept = is_target || placement == active;
        if is_kept && !is_surplus {
            continue;
        }
        if is_surplus && is_kept && !view.all_ready_at(&placement) {
            continue;
        }
        match &standby {
            Some((warm, until)) if *warm == placement && !is_surplus => {
                let slot = placement.slot;
                let wait = WaitingOn::Standby { slot, until: *until };
                if !draft.waiting_on.contains(&wait) {
                    draft.waiting_on.push(wait);
                }
            }
            Some(_) | None if is_being_held(course, &placement) => {}
            Some(_) | None => draft.retire(view, replica),
        }
    }
}

/// Before anything is active only what was superseded goes.
fn retire_superseded(view: &View, course: &Course, draft: &mut Draft) {
    for replica in &view.replicas {
        let is_target = course.aim().is_some_and(|aim| replica.is_at(&aim.placement));
        if !is_target && !is_being_held(course, &replica.placement()) {
            draft.retire(view, replica);
        }
    }
}

/// Its log is kept first; the next pass finds the hold in the memory.
fn is_being_held(course: &Course, placement: &Placement) -> bool {
    let declared = course.declared.as_ref().map(|aim| &aim.placement);
    course.failing.is_some() && declared == Some(placement)
}

/// Returns the placement that stays warm beside the active one, and until when.
fn standby(
    view: &View,
    course: &Course,
    draft: &Draft,
    active: &Placement,
) -> Option<(Placement, Timestamp)> {
    view.service.route.as_ref()?;
    let rollout_is_over = course.aim().is_some_and(|aim| aim.placement == *active);
    let idle = view.placements().into_iter().find(|placement| {
        let is_previous = match &view.memory.previous {
            Some(previous) => previous == placement,
            // With the memory lost, what may have been routed once.
            None => {
                placement.slot == active.slot.other()
                    && view.at(placement).any(|r| r.memory.traffic != Traffic::NeverRouted)
            }
        };
        let is_failed = course.failed_release() == Some(&placement.release);
        placement != active && is_previous && !is_failed
    })?;
    let promoted_at = view.memory.promoted_at.unwrap_or(view.world.at());
    let rollout = &view.service.rollout;
    let in_bake = verdict::bake_ends(view, active).is_some();
    let span = match idle.slot == active.slot {
        // The old release of a swap has no slot of its own to stay warm in.
        true => rollout.bake,
        false => rollout.bake + rollout.scale_down_delay,
    };
    let until = promoted_at + span;
    // Once a new rollout can start, an old standby makes room for it, unless it is
    // what catches a fall.
    let makes_room = !rollout_is_over && view.ready_at(active) > 0 && !draft.is_kept_waiting();
    (in_bake || (until > view.world.at() && !makes_room)).then_some((idle, until))
}
