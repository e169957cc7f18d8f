//! Recreate: stop, then start, for what must not run twice. The declared
//! exception to S2 and S3.
//!
//! The old containers stay, stopped, until the new release has finished its
//! bake: starting them again is how the last-good release comes back.

use crate::domain::ServiceKind;

use super::{
    WaitingOn,
    aim::{Aim, Course, Origin},
    draft::{Dependencies, Draft},
    gates,
    routing::{self, FlipGate},
    verdict,
    view::{Replica, Standing, View},
};

/// Plans a service towards its target.
pub fn plan(view: &View, course: &Course, dependencies: &Dependencies, draft: &mut Draft) {
    let target = course.aim();
    let gate = match target {
        Some(aim) if view.all_ready_at(&aim.placement) && gates::may_promote(view, aim) => {
            FlipGate::Open
        }
        Some(_) | None => FlipGate::Closed,
    };
    let placement = target.map(|aim| &aim.placement);
    draft.backend = routing::backend(view, placement, gate, course.failed_release());
    if course.failing.is_some() {
        return;
    }
    let Some(aim) = target else {
        draft.keep_active(view, course, dependencies);
        remove_failed(view, course, draft);
        return;
    };
    let running_old: Vec<&Replica> =
        view.replicas.iter().filter(|r| !r.is_at(&aim.placement) && may_run(r)).collect();
    if is_finished_job(view, aim) {
        // A job is never run again for having been fallen back on.
    } else if running_old.is_empty() {
        draft.raise(view, aim, 1..=view.service.replicas, dependencies);
        draft.await_readiness(view, &aim.placement);
    } else if everything_is_at_hand(view, aim, dependencies, draft) {
        for replica in running_old {
            make_way(view, replica, draft);
        }
    }
    if view.active().as_ref() == Some(&aim.placement) {
        draft.settle_restart_policy(view, aim);
    }
    remove_failed(view, course, draft);
    remove_the_done(view, aim, draft);
}

fn is_finished_job(view: &View, aim: &Aim) -> bool {
    view.service.kind == ServiceKind::OneShot && aim.origin == Origin::Fallback
}

fn may_run(replica: &Replica) -> bool {
    replica.runs() || replica.standing == Standing::Leaving
}

fn make_way(view: &View, replica: &Replica, draft: &mut Draft) {
    match replica.standing {
        Standing::Leaving => draft.waiting_on.push(WaitingOn::StepInHand),
        Standing::Ready
        | Standing::Pending { .. }
        | Standing::Failing { .. }
        | Standing::Created
        | Standing::Ended { .. }
        | Standing::Impostor => draft.stop(view, replica),
    }
}

/// Nothing is stopped before all that the new release needs is here: the gap
/// is as long as one stop and one start.
fn everything_is_at_hand(
    view: &View,
    aim: &Aim,
    dependencies: &Dependencies,
    draft: &mut Draft,
) -> bool {
    // Its containers were made before: they only have to be started again.
    let numbers = 1..=view.service.replicas;
    let all_exist = numbers
        .clone()
        .all(|number| view.at(&aim.placement).any(|r| r.container.replica == number));
    if all_exist {
        return true;
    }
    let mut trial = Draft::default();
    trial.raise(view, aim, numbers, dependencies);
    let creates = trial.steps.iter().any(|step| step.creates().is_some());
    if creates {
        return true;
    }
    draft.steps.append(&mut trial.steps);
    draft.waiting_on.append(&mut trial.waiting_on);
    draft.wants_host |= trial.wants_host;
    draft.note = draft.note.take().or(trial.note);
    false
}

/// Removes what is left of a release that is held: its log has been kept.
fn remove_failed(view: &View, course: &Course, draft: &mut Draft) {
    let Some(hold) = &course.hold else { return };
    let aim = course.aim().map(|aim| &aim.placement);
    let failed = view.replicas.iter().filter(|replica| {
        Some(&replica.container.release) == hold.release.as_ref()
            && aim.is_none_or(|aim| !replica.is_at(aim))
    });
    // With something to fall back on, what runs is stopped to make way for it.
    let may_go = |replica: &&Replica| aim.is_none() || !may_run(replica);
    for replica in failed.filter(may_go).filter(|r| r.standing != Standing::Leaving) {
        draft.take_away(view, replica);
    }
}

/// Removes the stopped containers of earlier releases once the new one is good.
fn remove_the_done(view: &View, aim: &Aim, draft: &mut Draft) {
    if !view.all_ready_at(&aim.placement) || view.active().as_ref() != Some(&aim.placement) {
        return;
    }
    if verdict::bake_ends(view, &aim.placement).is_some() {
        return;
    }
    let done = view.replicas.iter().filter(|replica| {
        let is_surplus = replica.container.replica > view.service.replicas;
        !replica.is_at(&aim.placement) || is_surplus
    });
    for replica in done.filter(|replica| replica.standing != Standing::Leaving) {
        draft.take_away(view, replica);
    }
}
