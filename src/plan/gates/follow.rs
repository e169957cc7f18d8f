//! What became of the gates, followed into the memory.

use crate::domain::{
    Gate, GateKey, Memory, Phase, Snapshot, Timestamp,
    gate::JobSpec,
    memory::{GateRecord, GateStanding, ReleaseGates, ServiceMemory},
    snapshot::{ContainerState, FailureKind, JobContainer, Measured, Measurement},
    time::{Now, human},
};

use super::{
    super::{
        aim::{Course, Origin},
        view::View,
    },
    current, deadline, job_of, jobs, key,
};

/// What a job that succeeded shows.
const SUCCESS: &str = "exited with code 0";

/// How many releases' gates are remembered.
const KEPT_RELEASES: usize = 100;

/// Notes every job that succeeded, also of a release or a service that the file has
/// left behind meanwhile: its container may go then.
pub fn note_done(memory: &mut Memory, seen: &Snapshot, now: Now) {
    let succeeded = |job: &&JobContainer| job.state == ContainerState::Exited { code: 0 };
    for job in seen.jobs.iter().filter(succeeded) {
        let GateKey { service, release, gate } = &job.key;
        let service = memory.services.entry(service.clone()).or_default();
        let gates = service.gates.entry(release.clone()).or_default();
        let known = gates.records.get(gate);
        if known.is_some_and(|it| matches!(it.standing, GateStanding::Passed { .. })) {
            continue;
        }
        let record = GateRecord {
            name: known.map_or_else(|| job.name.clone(), |record| record.name.clone()),
            phase: known.map_or(Phase::PrePromotion, |record| record.phase),
            since: known.map_or(now.at, |record| record.since),
            standing: GateStanding::Passed { what: SUCCESS.to_owned() },
        };
        note(gates, job.key.clone(), record, now.unix_ms);
    }
}

/// Follows the gates of the declared release into the memory, and returns what is
/// news for people.
pub fn follow(view: &View, course: &Course, service: &mut ServiceMemory) -> Vec<String> {
    forget_the_discarded(view, service);
    let Some(aim) = course.aim().filter(|aim| aim.origin == Origin::Declared) else {
        return Vec::new();
    };
    if course.is_failed() {
        return Vec::new();
    }
    let release = &aim.placement.release;
    let mut news = Vec::new();
    for (gate, phase) in current(view, aim) {
        let key = key(view, release, gate, phase);
        let before = service.gates.get(release).and_then(|gates| gates.records.get(&key.gate));
        let is_over = before.is_some_and(|record| match record.standing {
            GateStanding::Passed { .. } => phase == Phase::PrePromotion || !gate.is_measured(),
            GateStanding::Failed { .. } | GateStanding::Discarded => true,
            GateStanding::Open { .. } => false,
        });
        if is_over {
            continue;
        }
        let since = before.map_or(view.world.at(), |record| record.since);
        let was_open =
            !before.is_some_and(|record| matches!(record.standing, GateStanding::Passed { .. }));
        let standing = match gate.job() {
            Some(job) => after_job(view, gate, job, &key, since),
            None => Some(after_measurement(view, gate, phase, &key, since)),
        };
        if let Some(GateStanding::Passed { what }) = &standing
            && was_open
        {
            news.push(format!("{phase} gate `{gate}` passed: {what}"));
        }
        let gates = service.gates.entry(release.clone()).or_default();
        match standing {
            Some(standing) => {
                let record = GateRecord { name: gate.to_string(), phase, since, standing };
                note(gates, key, record, view.world.now.unix_ms);
            }
            None => drop(gates.records.remove(&key.gate)),
        }
    }
    service.gates.retain(|_, gates| !gates.records.is_empty());
    forget_the_oldest(service);
    news
}

fn note(gates: &mut ReleaseGates, key: GateKey, record: GateRecord, unix_ms: i64) {
    if gates.records.get(&key.gate) != Some(&record) {
        gates.at_unix_ms = unix_ms;
        gates.records.insert(key.gate, record);
    }
}

/// None before its container has run: a pull takes none of its time.
fn after_job(
    view: &View,
    gate: &Gate,
    job: &JobSpec,
    key: &GateKey,
    since: Timestamp,
) -> Option<GateStanding> {
    let failed = |why: String| Some(GateStanding::Failed { why });
    let Some(container) = job_of(view, key) else {
        let pull = job.image.as_ref().and_then(|it| view.world.memory.failed_pulls.get(it))?;
        return match pull.failure.kind == FailureKind::Refused {
            true => failed(pull.failure.message.clone()),
            false => None,
        };
    };
    match container.state {
        ContainerState::Created => None,
        ContainerState::Exited { code: 0 } => {
            Some(GateStanding::Passed { what: SUCCESS.to_owned() })
        }
        ContainerState::Exited { code } => failed(format!("exited with code {code}")),
        ContainerState::Running { .. } if since + gate.timeout <= view.world.at() => {
            failed(format!("did not end within {}", human(gate.timeout)))
        }
        ContainerState::Running { .. }
        | ContainerState::Restarting
        | ContainerState::Paused
        | ContainerState::Removing => Some(GateStanding::Open { why: None }),
    }
}

fn after_measurement(
    view: &View,
    gate: &Gate,
    phase: Phase,
    key: &GateKey,
    since: Timestamp,
) -> GateStanding {
    let measured = view.world.seen.measured.get(key);
    let why = match measured {
        Some(Measured { failed, last, .. }) if *failed > gate.failure_limit => {
            return GateStanding::Failed { why: words(last).to_owned() };
        }
        Some(Measured { last: Measurement::Passed(what), .. }) => {
            return GateStanding::Passed { what: what.clone() };
        }
        Some(Measured { last, .. }) => Some(words(last).to_owned()),
        None => None,
    };
    if deadline(view, gate, phase, since) <= view.world.at() {
        let patience = human(view.service.rollout.progress_deadline);
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        return GateStanding::Failed { why: format!("did not pass within {patience}{why}") };
    }
    GateStanding::Open { why }
}

fn words(measurement: &Measurement) -> &str {
    match measurement {
        Measurement::Passed(text) | Measurement::Failed(text) | Measurement::Unanswered(text) => {
            text
        }
    }
}

/// Has the gates that failed be tried again.
pub fn discard_failed(service: &mut ServiceMemory) {
    let records = service.gates.values_mut().flat_map(|gates| gates.records.values_mut());
    for record in records.filter(|it| matches!(it.standing, GateStanding::Failed { .. })) {
        record.standing = GateStanding::Discarded;
    }
}

/// What is left of a job that failed must be gone before it is run again, or its
/// end would be taken for that of the new run.
fn forget_the_discarded(view: &View, service: &mut ServiceMemory) {
    for (release, gates) in &mut service.gates {
        gates.records.retain(|gate, record| {
            let left = jobs(view).any(|job| job.key.release == *release && job.key.gate == *gate);
            record.standing != GateStanding::Discarded || left
        });
    }
}

fn forget_the_oldest(service: &mut ServiceMemory) {
    while service.gates.len() > KEPT_RELEASES {
        let oldest = service.gates.iter().min_by_key(|(_, gates)| gates.at_unix_ms);
        let Some(oldest) = oldest.map(|(release, _)| release.clone()) else { return };
        service.gates.remove(&oldest);
    }
}
