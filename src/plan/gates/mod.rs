//! Gates: what stands between a release that is ready and its promotion, and what
//! may undo the promotion.
//!
//! A measurement is made in the background and a job is a container; what came of
//! either is followed into the memory, and decided on from there. Gates of the first
//! kind pass one after another, in the order of the file; those of the second are
//! all looked at through the bake.
//!
//! Here it is decided; `follow` keeps the memory, `advance` keeps measurements going,
//! and `job` the containers.

mod advance;
mod follow;
mod job;

pub use advance::advance;
pub use follow::{discard_failed, follow, forget_measurements, note_done, watch_the_left_behind};

use crate::domain::{
    Gate, GateKey, Phase, ReleaseId, Strategy, Timestamp,
    memory::{GateRecord, GateStanding, Placement},
    snapshot::JobContainer,
};

use super::{
    aim::{Aim, Origin},
    group, signed,
    verdict::{self, Failing},
    view::View,
};

/// Returns whether a release may become active now: its gates have passed, somebody
/// said so where the file leaves it to one, and the rest of its group is as far.
/// What was active before, or is gone back to, need not prove itself again.
pub fn may_promote(view: &View, aim: &Aim) -> bool {
    is_past_promotion(view, aim) || (is_passed_and_approved(view, aim) && group::is_ready(view))
}

/// Returns whether nothing but the rest of its group keeps a release from promotion.
pub fn is_ready_alone(view: &View, aim: &Aim) -> bool {
    is_past_promotion(view, aim)
        || (is_ready(view, &aim.placement) && is_passed_and_approved(view, aim))
}

/// Returns whether a release is ready, and waits to be promoted.
pub fn is_waiting(view: &View, aim: &Aim) -> bool {
    is_ready(view, &aim.placement) && !may_promote(view, aim)
}

/// Returns whether a release is ready, and its own gates or an operator keep it from
/// promotion. Says nothing of its group: what is asked of one member must not lead to
/// all the others.
pub fn is_gated(view: &View, aim: &Aim) -> bool {
    is_ready(view, &aim.placement) && !is_ready_alone(view, aim)
}

fn is_past_promotion(view: &View, aim: &Aim) -> bool {
    aim.origin == Origin::Fallback
        || view.active().as_ref() == Some(&aim.placement)
        || view.memory.good.contains(&aim.placement.release)
}

fn is_passed_and_approved(view: &View, aim: &Aim) -> bool {
    let release = &aim.placement.release;
    have_passed_before_promotion(view, release)
        && is_approved(view, release)
        && signed::is_clear(view, aim)
}

fn is_approved(view: &View, release: &ReleaseId) -> bool {
    view.service.rollout.auto_promote || view.memory.promote.as_ref() == Some(release)
}

/// Returns whether enough of a release is ready to be looked at: of a rolling one
/// the first replica, which goes ahead of the others.
fn is_ready(view: &View, placement: &Placement) -> bool {
    match view.service.rollout.strategy {
        Strategy::BlueGreen | Strategy::Recreate => view.all_ready_at(placement),
        Strategy::Rolling => view.ready_at(placement) > 0,
    }
}

fn of_phase<'a>(view: &View<'a>, phase: Phase) -> &'a [Gate] {
    view.service.rollout.gates(phase)
}

fn record<'v>(
    view: &'v View,
    release: &ReleaseId,
    gate: &Gate,
    phase: Phase,
) -> Option<&'v GateRecord> {
    view.memory.gate(release, &gate.id(phase))
}

fn has_passed(view: &View, release: &ReleaseId, gate: &Gate, phase: Phase) -> bool {
    record(view, release, gate, phase).is_some_and(GateRecord::has_passed)
}

fn first_open<'a>(view: &View<'a>, release: &ReleaseId) -> Option<&'a Gate> {
    let phase = Phase::PrePromotion;
    of_phase(view, phase).iter().find(|gate| !has_passed(view, release, gate, phase))
}

/// Returns whether a release has passed what the file wants of it before a promotion.
pub fn have_passed_before_promotion(view: &View, release: &ReleaseId) -> bool {
    first_open(view, release).is_none()
}

/// Returns whether a release that is active still has to pass a gate, and can.
pub fn is_under_way_after_promotion(view: &View, release: &ReleaseId) -> bool {
    let phase = Phase::PostPromotion;
    of_phase(view, phase).iter().any(|gate| {
        let is_over = |record: &GateRecord| record.has_passed() || record.has_failed();
        !record(view, release, gate, phase).is_some_and(is_over)
    })
}

/// Returns whether every gate of a release that is active has passed.
pub fn have_passed_after_promotion(view: &View, release: &ReleaseId) -> bool {
    let phase = Phase::PostPromotion;
    of_phase(view, phase).iter().all(|gate| has_passed(view, release, gate, phase))
}

/// Returns why the gates of a phase condemn a release, if one does.
pub fn failed(view: &View, release: &ReleaseId, phase: Phase) -> Option<Failing> {
    of_phase(view, phase).iter().find_map(|gate| {
        let GateStanding::Failed { why } = &record(view, release, gate, phase)?.standing else {
            return None;
        };
        let reason = format!("{phase} gate `{gate}` failed: {why}");
        let job = job_of(view, &key(view, release, gate, phase)).map(|job| &job.id);
        let mut replicas = view.replicas.iter().map(|replica| replica.container);
        let first = || replicas.find(|it| it.release == *release).map(|it| &it.id);
        let log_of = job.or_else(first).cloned();
        Some(Failing { reason, log_of })
    })
}

/// Returns what is remembered of a release's gates, in the order of the file.
pub fn results(view: &View, release: &ReleaseId) -> Vec<GateRecord> {
    let declared = view.service.rollout.all_gates();
    let records = declared.filter_map(|(gate, phase)| record(view, release, gate, phase));
    records.filter(|record| record.standing != GateStanding::Discarded).cloned().collect()
}

fn key(view: &View, release: &ReleaseId, gate: &Gate, phase: Phase) -> GateKey {
    GateKey { service: view.service.name.clone(), release: release.clone(), gate: gate.id(phase) }
}

fn job_of<'a>(view: &View<'a>, key: &GateKey) -> Option<&'a JobContainer> {
    view.world.seen.jobs.iter().find(|job| job.key == *key)
}

fn jobs<'a>(view: &View<'a>) -> impl Iterator<Item = &'a JobContainer> {
    let name = &view.service.name;
    view.world.seen.jobs.iter().filter(move |job| job.key.service == *name)
}

/// Returns the phase in which the declared release is; None where no gate counts.
fn phase_of(view: &View, aim: &Aim) -> Option<Phase> {
    if view.active().as_ref() == Some(&aim.placement) {
        return verdict::bake_ends(view, &aim.placement).map(|_| Phase::PostPromotion);
    }
    let is_new = !is_past_promotion(view, aim) && is_ready(view, &aim.placement);
    is_new.then_some(Phase::PrePromotion)
}

/// The gates to look at now: before the promotion one, after it all of them.
fn current<'a>(view: &View<'a>, aim: &Aim) -> Vec<(&'a Gate, Phase)> {
    match phase_of(view, aim) {
        Some(phase @ Phase::PrePromotion) => {
            let open = first_open(view, &aim.placement.release);
            open.map(|gate| (gate, phase)).into_iter().collect()
        }
        Some(phase @ Phase::PostPromotion) => {
            of_phase(view, phase).iter().map(|gate| (gate, phase)).collect()
        }
        None => Vec::new(),
    }
}

/// When a gate fails that has neither passed nor failed until then. One of an
/// active release has the rest of the bake besides.
fn deadline(view: &View, gate: &Gate, phase: Phase, since: Timestamp) -> Timestamp {
    if !gate.is_measured() {
        return since + gate.timeout;
    }
    let rollout = &view.service.rollout;
    match phase {
        Phase::PrePromotion => since + rollout.progress_deadline,
        Phase::PostPromotion => since + rollout.bake + rollout.progress_deadline,
    }
}
