//! Whether the declared release has failed.

use crate::domain::{
    ContainerId, Phase, ServiceKind, Timestamp,
    memory::{Attempts, Placement, Traffic},
    snapshot::FailureKind,
    time::human,
};

use super::{
    aim::{self, Aim},
    gates, group, signed,
    view::{Replica, Standing, View},
};

/// A release that failed, and whose log tells why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    pub reason: String,
    pub log_of: Option<ContainerId>,
}

/// Returns why the declared release is to be held, if it is.
pub fn failing(view: &View, declared: Option<&Aim>) -> Option<Failing> {
    let Some(aim) = declared else { return pull_failed(view) };
    if view.active().as_ref() == Some(&aim.placement) {
        return bake_failed(view, &aim.placement);
    }
    let release = &aim.placement.release;
    let is_new = !view.memory.good.contains(release);
    let gate = || gates::failed(view, release, Phase::PrePromotion).filter(|_| is_new);
    signed::failing(view, aim)
        .or_else(|| refused(view, &aim.placement))
        .or_else(|| exited(view, &aim.placement))
        .or_else(|| too_late(view, aim))
        .or_else(gate)
}

fn refusal(attempts: Option<&Attempts>) -> Option<Failing> {
    let attempts = attempts?;
    let failing = Failing { reason: attempts.failure.message.clone(), log_of: None };
    (attempts.failure.kind == FailureKind::Refused).then_some(failing)
}

fn pull_failed(view: &View) -> Option<Failing> {
    let attempts = view.world.memory.failed_pulls.get(&view.service.image)?;
    refusal(Some(attempts)).or_else(|| {
        let reason = format!(
            "{} could not be pulled within {}: {}",
            view.service.image,
            human(view.service.rollout.progress_deadline),
            attempts.failure
        );
        deadline_passed(view).then_some(Failing { reason, log_of: None })
    })
}

fn refused(view: &View, placement: &Placement) -> Option<Failing> {
    let mut failing = refusal(view.memory.failed_steps.as_ref())?;
    failing.log_of = view.at(placement).last().map(|replica| replica.container.id.clone());
    Some(failing)
}

/// A replica that ended on its own during this rollout. One that was stopped
/// before it began (an earlier release, a standby) can be started again.
fn exited(view: &View, placement: &Placement) -> Option<Failing> {
    view.at(placement).find_map(|replica| {
        let Standing::Ended { code } = replica.standing else { return None };
        let in_this_rollout = match view.service.kind {
            _ if replica.memory.stopped_at.is_some() => false,
            ServiceKind::OneShot => true,
            ServiceKind::LongRunning => {
                let started = view.memory.rollout.as_ref().and_then(|rollout| rollout.started_at);
                started.is_some_and(|at| replica.memory.died_at.is_some_and(|died| died >= at))
            }
        };
        let reason = format!("{} exited with code {code}", replica.container.name);
        let failing = Failing { reason, log_of: Some(replica.container.id.clone()) };
        in_this_rollout.then_some(failing)
    })
}

fn too_late(view: &View, aim: &Aim) -> Option<Failing> {
    let placement = &aim.placement;
    if view.all_ready_at(placement) || gates::is_gated(view, aim) || !deadline_passed(view) {
        return None;
    }
    let waits_for = view.at(placement).find(|replica| !replica.is_ready());
    let why = waits_for.and_then(|replica| match &replica.standing {
        Standing::Pending { why } => why.clone(),
        Standing::Failing { why } => Some(why.clone()),
        Standing::Ready
        | Standing::Created
        | Standing::Ended { .. }
        | Standing::Leaving
        | Standing::Impostor => None,
    });
    let last_step = || view.memory.failed_steps.as_ref().map(|step| step.failure.to_string());
    let why = why.or_else(last_step).map_or(String::new(), |why| format!(": {why}"));
    let deadline = human(view.service.rollout.progress_deadline);
    Some(Failing {
        reason: format!("not ready within {deadline}{why}"),
        log_of: waits_for.map(|replica| replica.container.id.clone()),
    })
}

fn deadline_passed(view: &View) -> bool {
    progress_deadline(view).is_some_and(|deadline| deadline <= view.world.at())
}

/// Returns when the rollout in hand must be ready, if one has begun.
pub fn progress_deadline(view: &View) -> Option<Timestamp> {
    // What runs elsewhere is waited for: nothing of it is here that could be given up.
    if view.service.upstreams.is_some() {
        return None;
    }
    let rollout = view.memory.rollout.as_ref().filter(|rollout| !rollout.is_waiting);
    let started = rollout?.started_at?;
    Some(started + view.service.rollout.progress_deadline)
}

/// Returns when the active release's bake ends, which may be past while a gate or
/// the rest of its group still has to prove itself; None if it is over.
pub fn bake_ends(view: &View, active: &Placement) -> Option<Timestamp> {
    let is_on_trial = || {
        let promoted = promoted_at(view, active).filter(|_| group::is_baking(view))?;
        Some(promoted + view.service.rollout.bake)
    };
    own_bake_ends(view, active).or_else(is_on_trial)
}

/// Returns the same of a service as if it were in no group.
pub fn own_bake_ends(view: &View, active: &Placement) -> Option<Timestamp> {
    let ends = promoted_at(view, active)? + view.service.rollout.bake;
    let is_open = || gates::is_under_way_after_promotion(view, &active.release);
    (ends > view.world.at() || is_open()).then_some(ends)
}

/// Returns when the active release was promoted; None once it has proved itself.
fn promoted_at(view: &View, active: &Placement) -> Option<Timestamp> {
    let is_job = view.service.kind == ServiceKind::OneShot;
    let is_proved = view.memory.good.contains(&active.release);
    let is_followed = view.memory.active.as_ref() == Some(active);
    view.memory.promoted_at.filter(|_| !is_job && !is_proved && is_followed)
}

/// A replica that took traffic and cannot take it any more, while there is
/// something ready to fall back on.
fn bake_failed(view: &View, active: &Placement) -> Option<Failing> {
    if !view.service.rollout.auto_revert || !view.proxy_is_known() {
        return None;
    }
    let of_gate = gates::failed(view, &active.release, Phase::PostPromotion)
        .or_else(|| signed::failing_job(view));
    if of_gate.is_none() {
        bake_ends(view, active)?;
    } else {
        promoted_at(view, active)?;
    }
    let fallback = aim::fallback(view, Some(&active.release))?;
    let can_serve = match view.service.route {
        Some(_) => view.ready_at(&fallback.placement) > 0,
        None => fallback.release.is_some() || view.at(&fallback.placement).next().is_some(),
    };
    if of_gate.is_some() {
        return of_gate.filter(|_| can_serve);
    }
    let replica = view.at(active).find(|replica| has_failed(replica))?;
    let why = match &replica.standing {
        Standing::Ended { code } => format!("exited with code {code}"),
        Standing::Failing { why } => why.clone(),
        Standing::Ready
        | Standing::Pending { .. }
        | Standing::Created
        | Standing::Leaving
        | Standing::Impostor => return None,
    };
    can_serve.then(|| Failing {
        reason: format!("failed after its promotion: {}: {why}", replica.container.name),
        log_of: Some(replica.container.id.clone()),
    })
}

fn has_failed(replica: &Replica) -> bool {
    if replica.memory.stopped_at.is_some() {
        return false;
    }
    let was_trusted = replica.memory.traffic != Traffic::NeverRouted || replica.memory.deaths > 0;
    let down = match &replica.standing {
        Standing::Ended { .. } | Standing::Failing { .. } => true,
        Standing::Ready
        | Standing::Pending { .. }
        | Standing::Created
        | Standing::Leaving
        | Standing::Impostor => false,
    };
    was_trusted && down
}
