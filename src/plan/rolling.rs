//! Rolling: never more than one replica above the declared number.
//!
//! One new replica starts, one old one goes, and so on. A route still points
//! at one release at a time (S6): it flips once, when at least half of the
//! replicas are new, or one is and no old one serves. Before that, an
//! old replica leaves the route before it is stopped; after it, no old one is in
//! the route any more.

use crate::domain::memory::Placement;

use super::{
    aim::{Aim, Course},
    draft::{Dependencies, Draft},
    gates,
    routing::{self, FlipGate},
    view::{Replica, View, count},
};

/// Plans a service towards its target.
pub fn plan(view: &View, course: &Course, dependencies: &Dependencies, draft: &mut Draft) {
    let target = course.aim();
    let placement = target.map(|aim| &aim.placement);
    let gate = target.map_or(FlipGate::Closed, |aim| flip_gate(view, aim));
    draft.backend = routing::backend(view, placement, gate, course.failed_release());
    let Some(aim) = target else {
        draft.keep_active(view, course, dependencies);
        // Nothing to fall back on: what failed goes all the same.
        let failed = view.replicas.iter().filter(|replica| {
            course.hold.is_some() && course.failed_release() == Some(&replica.container.release)
        });
        failed.for_each(|replica| draft.retire(view, replica));
        return;
    };
    narrow_the_old(view, aim, draft);
    draft.raise(view, aim, next_numbers(view, aim), dependencies);
    draft.await_readiness(view, &aim.placement);
    if view.active().as_ref() == Some(&aim.placement) {
        draft.settle_restart_policy(view, aim);
    }
    let being_held = |replica: &Replica| {
        let declared = course.declared.as_ref();
        course.failing.is_some() && declared.is_some_and(|aim| replica.is_at(&aim.placement))
    };
    let leaving: Vec<&Replica> = leaving(view, aim).filter(|r| !being_held(r)).collect();
    for replica in leaving {
        draft.retire(view, replica);
    }
}

/// Half of the replicas are enough; one is where nothing answers by now, or ever has: a
/// release that was superseded on its way there makes room only for one that has the route.
fn flip_gate(view: &View, aim: &Aim) -> FlipGate {
    let target = &aim.placement;
    let enough = match view.service.route {
        Some(_) => {
            let ready = view.ready_at(target);
            2 * ready >= view.service.replicas
                || (ready > 0 && (routing::is_lost(view) || view.active().is_none()))
        }
        None => view.all_ready_at(target),
    };
    if enough && gates::may_promote(view, aim) { FlipGate::Open } else { FlipGate::Closed }
}

fn old<'v, 'a>(view: &'v View<'a>, target: &'v Placement) -> impl Iterator<Item = &'v Replica<'a>> {
    view.replicas.iter().filter(move |replica| !replica.is_at(target))
}

/// How many of the old replicas are still wanted: all of them while the gates look
/// at the first new one.
fn wanted_old(view: &View, aim: &Aim) -> u32 {
    match gates::may_promote(view, aim) {
        true => view.service.replicas.saturating_sub(view.ready_at(&aim.placement)),
        false => view.service.replicas,
    }
}

/// Takes the old replicas that are about to go out of the route.
fn narrow_the_old(view: &View, aim: &Aim, draft: &mut Draft) {
    let Some(backend) = &mut draft.backend else { return };
    let placement = Placement { slot: backend.slot, release: backend.release.clone() };
    if placement == aim.placement {
        return;
    }
    let limit = wanted_old(view, aim).max(1);
    backend.dials = routing::dials(view, &placement, limit);
}

/// The replicas to have now: all of a first deployment; else those there are,
/// and one more once they are all ready and there is room for it. For the first
/// there always is: a release that was superseded may be the only one that is
/// ready, and cannot make room before another is.
fn next_numbers(view: &View, aim: &Aim) -> impl Iterator<Item = u32> + use<> {
    let target = &aim.placement;
    let declared = view.service.replicas;
    let present = |number: &u32| view.at(target).any(|r| r.container.replica == *number);
    let mut numbers: Vec<u32> = (1..=declared).filter(present).collect();
    let old_running = count(old(view, target).filter(|replica| replica.runs()));
    let new_ready = view.ready_at(target);
    if old_running == 0 {
        return (1..=declared).collect::<Vec<u32>>().into_iter();
    }
    let all_ready = numbers.len() == usize::try_from(new_ready).unwrap_or(usize::MAX);
    let is_free = count(numbers.iter()) + old_running <= declared;
    let has_room = numbers.is_empty() || (is_free && gates::may_promote(view, aim));
    if all_ready && has_room {
        numbers.extend((1..=declared).find(|number| !present(number)));
    }
    numbers.into_iter()
}

/// The replicas that are to go: those of the active release beyond what is still
/// wanted, every earlier one that is neither active nor the target, and the
/// target's own beyond the declared number.
fn leaving<'v, 'a>(view: &'v View<'a>, aim: &'v Aim) -> impl Iterator<Item = &'v Replica<'a>> {
    let wanted = usize::try_from(wanted_old(view, aim)).unwrap_or(usize::MAX);
    let is_over = view.all_ready_at(&aim.placement);
    let active = view.active();
    let is_active = move |replica: &Replica| active.as_ref().is_some_and(|at| replica.is_at(at));
    let (of_active, stale): (Vec<_>, Vec<_>) =
        old(view, &aim.placement).partition(|replica| is_active(replica));
    let (mut of_active, down): (Vec<_>, Vec<_>) =
        of_active.into_iter().partition(|replica| replica.runs());
    // What cannot serve goes first, then what the route names no more.
    of_active.sort_by_key(|replica| (!replica.may_become_ready(), !view.is_routed(replica)));
    let surplus_old = of_active.into_iter().skip(wanted);
    let down_old = down.into_iter();
    let surplus_new = view
        .at(&aim.placement)
        .filter(move |replica| is_over && replica.container.replica > view.service.replicas);
    stale.into_iter().chain(surplus_old).chain(down_old).chain(surplus_new)
}
