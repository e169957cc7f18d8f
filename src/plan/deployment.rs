//! The newest deployment of each service, followed into the memory for people.
//!
//! It is told by the events of the same passes that make history, and by when they
//! were. Nothing is decided on it, and it changes in no pass in which the memory
//! would not change anyway.

use crate::domain::{
    Deployment, DeploymentReport, Memory, Release,
    deployment::{
        DeployedCommit, DeploymentOutcome, Durations, GateResult, GateVerdict, MAX_LOG_LINE_CHARS,
        MAX_REPORTS, PreviousRelease, REPORTED_LOG_LINES,
    },
    memory::{Event, EventKind, GateRecord, GateStanding, Hold, Placement, ServiceMemory},
    time::Now,
};

use super::{aim::Course, view::View};

/// Follows what `events` say of a service, and returns the report of a deployment that
/// another one has followed.
pub fn follow(
    view: &View,
    course: &Course,
    service: &mut ServiceMemory,
    events: &[Event],
) -> Vec<DeploymentReport> {
    let now = view.world.now;
    let mut over = Vec::new();
    for event in events {
        match event.kind {
            EventKind::Started => over.extend(begin(view, course, service)),
            EventKind::Promoted => {
                let is_begun = service.deployment.as_ref().is_some_and(|it| {
                    it.declaration == *view.declaration()
                        && it.report.outcome == DeploymentOutcome::UnderWay
                });
                // What a controller finds that knows nothing yet, it has not deployed.
                if !is_begun && view.memory.rollout.is_some() {
                    over.extend(begin(view, course, service));
                }
            }
            EventKind::Good
            | EventKind::RolledBack
            | EventKind::Superseded
            | EventKind::Passed
            | EventKind::Approved
            | EventKind::Held
            | EventKind::Retried => {}
        }
        if let Some(mut deployment) = service.deployment.take() {
            come_out(&mut deployment, service, event, now);
            service.deployment = Some(deployment);
        }
    }
    if let Some(mut deployment) = service.deployment.take() {
        fill_in(&mut deployment, view, course, service, now);
        service.deployment = Some(deployment);
    }
    over
}

/// Notes that a declaration is held.
pub fn held(service: &mut ServiceMemory, hold: &Hold, now: Now) {
    let Some(deployment) = &mut service.deployment else { return };
    if deployment.declaration != hold.declaration {
        return;
    }
    let skipped = hold.log.len().saturating_sub(REPORTED_LOG_LINES);
    let report = &mut deployment.report;
    report.reason = Some(hold.reason.clone());
    report.log = hold.log[skipped..].iter().map(|line| shorten(line)).collect();
    if !hold.gates.is_empty() {
        report.gates = hold.gates.iter().map(gate_result).collect();
    }
    deployment.came_out(DeploymentOutcome::Held, now);
}

fn shorten(line: &str) -> String {
    match line.char_indices().nth(MAX_LOG_LINE_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

/// Keeps the report of a deployment that is over; the oldest go when there are too many.
pub fn keep(memory: &mut Memory, over: impl IntoIterator<Item = DeploymentReport>) {
    memory.reports.extend(over);
    let surplus = memory.reports.len().saturating_sub(MAX_REPORTS);
    memory.reports.drain(..surplus);
}

/// Returns the report of the deployment that the next one follows, or that the file
/// has taken out.
pub fn close(service: &mut ServiceMemory, now: Now) -> Option<DeploymentReport> {
    let mut deployment = service.deployment.take()?;
    match deployment.report.outcome {
        DeploymentOutcome::UnderWay | DeploymentOutcome::Baking => {
            deployment.came_out(DeploymentOutcome::Superseded, now);
        }
        DeploymentOutcome::Good
        | DeploymentOutcome::Held
        | DeploymentOutcome::RolledBack
        | DeploymentOutcome::Superseded => {}
    }
    Some(deployment.report)
}

fn begin(view: &View, course: &Course, service: &mut ServiceMemory) -> Option<DeploymentReport> {
    let now = view.world.now;
    let over = close(service, now);
    let declared = course.declared.as_ref().map(|aim| &aim.placement);
    // In the pass of its promotion it is what serves already.
    let before = service.active.as_ref().filter(|active| declared != Some(*active));
    let before =
        before.or(service.previous.as_ref().filter(|_| service.active.as_ref() == declared));
    let previous = before.map(|placement| previous(service, placement));
    let (stack, image) = (view.world.stack, &view.service.image);
    let note = stack.telling.commit.as_ref();
    service.deployment = Some(Deployment {
        declaration: view.declaration().clone(),
        began_at: now.at,
        mark: now.at,
        report: DeploymentReport {
            at_unix_ms: now.unix_ms,
            ended_at_unix_ms: None,
            outcome: DeploymentOutcome::UnderWay,
            reason: None,
            stack: stack.name.clone(),
            host: stack.telling.host.clone(),
            service: view.service.name.clone(),
            slot: declared.map(|placement| placement.slot),
            image: image.clone(),
            tag: image.tag().map(str::to_owned),
            digest: declared.and_then(|it| Some(record(service, it)?.digest.clone())),
            release: declared.map(|placement| placement.release.clone()),
            previous,
            commit: stack.commit.clone().map(|sha| DeployedCommit {
                sha,
                subject: note.map(|note| note.subject.clone()),
                author: note.map(|note| note.author.clone()),
            }),
            durations: Durations::default(),
            gates: Vec::new(),
            log: Vec::new(),
        },
    });
    over
}

fn previous(service: &ServiceMemory, placement: &Placement) -> PreviousRelease {
    PreviousRelease {
        release: placement.release.clone(),
        slot: placement.slot,
        image: record(service, placement).map(|release| release.image.clone()),
    }
}

fn record<'s>(service: &'s ServiceMemory, placement: &Placement) -> Option<&'s Release> {
    service.releases.iter().find(|release| release.id == placement.release)
}

/// Notes what an event says of how a deployment came out.
fn come_out(deployment: &mut Deployment, service: &ServiceMemory, event: &Event, now: Now) {
    let is_its = event.release == deployment.report.release;
    let was_promoted = deployment.report.durations.promoted_ms.is_some();
    match (event.kind, deployment.report.outcome) {
        (EventKind::Promoted, DeploymentOutcome::UnderWay) => {
            deployment.report.slot = event.slot;
            deployment.report.release.clone_from(&event.release);
            let part = deployment.part_ended(now);
            let promoted_ms = deployment.age_ms(now);
            let durations = &mut deployment.report.durations;
            durations.promoted_ms = Some(promoted_ms);
            match durations.ready_ms {
                Some(_) => durations.gates_ms = Some(part),
                None => durations.ready_ms = Some(part),
            }
            let was_good = event.release.as_ref().is_some_and(|it| service.good.contains(it));
            // What was good before has no bake.
            let outcome =
                if was_good { DeploymentOutcome::Good } else { DeploymentOutcome::Baking };
            deployment.came_out(outcome, now);
        }
        (EventKind::Good, DeploymentOutcome::Baking) if is_its => {
            deployment.report.durations.bake_ms = Some(deployment.part_ended(now));
            deployment.came_out(DeploymentOutcome::Good, now);
        }
        (EventKind::RolledBack, _) if was_promoted && !is_its => {
            if deployment.report.outcome != DeploymentOutcome::Good {
                deployment.report.durations.bake_ms = Some(deployment.part_ended(now));
            }
            let hold = service.hold.as_ref();
            let held = hold.filter(|hold| hold.release == deployment.report.release);
            let why = held.map_or(&event.text, |hold| &hold.reason);
            deployment.report.reason.get_or_insert_with(|| why.clone());
            deployment.came_out(DeploymentOutcome::RolledBack, now);
        }
        (EventKind::Superseded, DeploymentOutcome::UnderWay) => {
            deployment.report.reason = Some(event.text.clone());
            deployment.came_out(DeploymentOutcome::Superseded, now);
        }
        (
            EventKind::Started
            | EventKind::Passed
            | EventKind::Approved
            | EventKind::Promoted
            | EventKind::Good
            | EventKind::Held
            | EventKind::RolledBack
            | EventKind::Superseded
            | EventKind::Retried,
            _,
        ) => {}
    }
}

/// Fills in what has come to be known while a deployment lasts.
fn fill_in(
    deployment: &mut Deployment,
    view: &View,
    course: &Course,
    service: &ServiceMemory,
    now: Now,
) {
    if deployment.declaration != *view.declaration() {
        return;
    }
    let is_under_way = deployment.report.outcome == DeploymentOutcome::UnderWay;
    if let Some(aim) = course.declared.as_ref().filter(|_| is_under_way) {
        let placement = &aim.placement;
        if deployment.report.release.is_none() {
            deployment.report.durations.pull_ms = Some(deployment.part_ended(now));
        }
        deployment.report.slot = Some(placement.slot);
        deployment.report.release = Some(placement.release.clone());
        if deployment.report.digest.is_none() {
            deployment.report.digest = record(service, placement).map(|it| it.digest.clone());
        }
        let is_waiting = service.rollout.as_ref().is_some_and(|rollout| rollout.is_waiting);
        if is_waiting && deployment.report.durations.ready_ms.is_none() {
            deployment.report.durations.ready_ms = Some(deployment.part_ended(now));
        }
    }
    let gates = deployment.report.release.as_ref().and_then(|id| service.gates.get(id));
    let is_open = match deployment.report.outcome {
        DeploymentOutcome::UnderWay | DeploymentOutcome::Baking | DeploymentOutcome::Good => true,
        DeploymentOutcome::Held | DeploymentOutcome::RolledBack | DeploymentOutcome::Superseded => {
            false
        }
    };
    if let Some(gates) = gates.filter(|_| is_open) {
        let declared = view.service.rollout.all_gates();
        let known = declared.filter_map(|(gate, phase)| gates.records.get(&gate.id(phase)));
        let known = known.filter(|record| record.standing != GateStanding::Discarded);
        deployment.report.gates = known.map(gate_result).collect();
    }
}

fn gate_result(record: &GateRecord) -> GateResult {
    let (result, text) = match &record.standing {
        GateStanding::Passed { what } => (GateVerdict::Passed, Some(what.clone())),
        GateStanding::Failed { why } => (GateVerdict::Failed, Some(why.clone())),
        GateStanding::Open { why } => (GateVerdict::Open, why.clone()),
        GateStanding::Discarded => (GateVerdict::Open, None),
    };
    GateResult { name: record.name.clone(), phase: record.phase, result, text }
}
