//! Keeping the gates going, and saying what is waited for.

use crate::domain::{Gate, GateKey, GateTarget, Phase, memory::GateStanding};

use super::{
    super::{
        WaitingOn,
        aim::{Aim, Course, Origin},
        draft::Draft,
        group,
        view::View,
    },
    current, deadline, is_approved, job, key, phase_of,
};

/// Measures and runs the gates of the declared release, and says what it waits for.
pub fn advance(view: &View, course: &Course, draft: &mut Draft) {
    job::clear_away(view, course, draft);
    let Some(aim) = course.aim().filter(|aim| aim.origin == Origin::Declared) else { return };
    if course.is_failed() {
        return;
    }
    let release = &aim.placement.release;
    let gates = current(view, aim);
    for (gate, phase) in &gates {
        let key = key(view, release, gate, *phase);
        let record = view.memory.gate(release, &key.gate);
        match gate.job() {
            Some(spec) => job::run(view, aim, spec, &key, draft),
            None => measure(view, aim, gate, &key, draft),
        }
        let why = match record.map(|record| &record.standing) {
            Some(GateStanding::Passed { .. } | GateStanding::Failed { .. }) => continue,
            Some(GateStanding::Open { why }) => why.clone(),
            Some(GateStanding::Discarded) | None => None,
        };
        let until = record.map(|record| deadline(view, gate, *phase, record.since));
        draft.waiting_on.push(WaitingOn::Gate {
            gate: gate.to_string(),
            phase: *phase,
            until,
            why,
        });
    }
    if phase_of(view, aim) == Some(Phase::PrePromotion) && gates.is_empty() {
        match is_approved(view, release) {
            false => draft.waiting_on.push(WaitingOn::Promotion { slot: aim.placement.slot }),
            true => draft.waiting_on.extend(group::waits(view)),
        }
    }
}

fn measure(view: &View, aim: &Aim, gate: &Gate, key: &GateKey, draft: &mut Draft) {
    // One that asks somebody else is not to start anew because a replica did.
    let asks_it = gate.asks_the_replica();
    let mut there = view.at(&aim.placement);
    let Some(replica) = there.find(|replica| !asks_it || replica.is_ready()) else { return };
    let address = view.dial(replica).map(|dial| dial.ip());
    let address = address.or_else(|| replica.container.addresses.values().next().copied());
    let target = GateTarget { gate: gate.clone(), replica: replica.container.id.clone(), address };
    draft.measure.insert(key.clone(), target);
}
