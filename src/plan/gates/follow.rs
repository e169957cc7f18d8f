//! What became of the gates, followed into the memory.

use std::time::Duration;

use crate::domain::{
    Gate, GateId, GateKey, Memory, Phase, Service, Snapshot, Stack, Timestamp,
    gate::JobSpec,
    memory::{GateRecord, GateStanding, ReleaseGates, ServiceMemory},
    snapshot::{ContainerState, FailureKind, JobContainer, Measured, Measurement},
    time::{Now, human},
};

use super::{
    super::{
        aim::{Course, Origin},
        signed,
        view::View,
    },
    current, deadline,
    job::is_at_work,
    job_of, jobs, key,
};

/// How long a job may run of which the file says nothing any more: what a file that
/// does not say otherwise gives it.
const UNDECLARED_LIMIT: Duration = Duration::from_secs(600);

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
        // What failed, or is to be tried again, may have been stopped by us: the code
        // with which it left then says nothing.
        if service.gate(release, gate).is_none_or(GateRecord::is_open) {
            let standing = GateStanding::Passed { what: SUCCESS.to_owned() };
            note_job(service, job, standing, now);
        }
    }
}

/// Follows jobs that are at work and are not what the file wants now: they are let end,
/// and given up in time. Those of a service that the file has left behind are stopped.
pub fn watch_the_left_behind(stack: &Stack, memory: &mut Memory, seen: &Snapshot, now: Now) {
    for job in seen.jobs.iter().filter(|job| is_at_work(job)) {
        let GateKey { service: name, release, gate } = &job.key;
        let limit = stack.services.get(name).map(|service| job_limit(service, gate));
        let service = memory.services.entry(name.clone()).or_default();
        let known = service.gate(release, gate);
        if !known.is_none_or(GateRecord::is_open) {
            continue;
        }
        let since = known.map_or(now.at, |record| record.since);
        let standing = match limit {
            None => GateStanding::Discarded,
            Some(limit) if since + limit <= now.at => {
                GateStanding::Failed { why: format!("did not end within {}", human(limit)) }
            }
            Some(_) => GateStanding::Open { why: None },
        };
        note_job(service, job, standing, now);
    }
}

/// Notes how a job stands of which nothing but its container may be known.
fn note_job(service: &mut ServiceMemory, job: &JobContainer, standing: GateStanding, now: Now) {
    let GateKey { release, gate, .. } = &job.key;
    let record = match service.gate(release, gate).cloned() {
        Some(known) => GateRecord { standing, ..known },
        None => GateRecord {
            name: job.name.clone(),
            phase: Phase::PrePromotion,
            since: now.at,
            standing,
        },
    };
    let gates = service.gates.entry(release.clone()).or_default();
    note(gates, job.key.clone(), record, now.unix_ms);
}

/// How long a job may run: as its gate says, if the file still has it.
fn job_limit(service: &Service, gate: &GateId) -> Duration {
    let declared = service.rollout.all_gates().find(|(it, phase)| it.id(*phase) == *gate);
    declared.map_or(UNDECLARED_LIMIT, |(gate, _)| gate.timeout)
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
        let before = service.gate(release, &key.gate);
        let is_over = before.is_some_and(|record| match record.standing {
            GateStanding::Passed { .. } => phase == Phase::PrePromotion || !gate.is_measured(),
            GateStanding::Failed { .. } | GateStanding::Discarded => true,
            GateStanding::Open { .. } => false,
        });
        if is_over {
            continue;
        }
        let since = before.map_or(view.world.at(), |record| record.since);
        let since = match has_just_begun(view, gate, &key, before) {
            true => view.world.at(),
            false => since,
        };
        let was_open = !before.is_some_and(GateRecord::has_passed);
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

/// Time in which nobody measured, or the image of a job was pulled, is not the gate's.
fn has_just_begun(view: &View, gate: &Gate, key: &GateKey, before: Option<&GateRecord>) -> bool {
    let Some(before) = before else { return true };
    let GateStanding::Open { why } = &before.standing else { return false };
    match gate.is_measured() {
        true => !view.world.seen.measured.contains_key(key),
        false => why.is_some() && job_of(view, key).is_some(),
    }
}

fn note(gates: &mut ReleaseGates, key: GateKey, record: GateRecord, unix_ms: i64) {
    if gates.records.get(&key.gate) != Some(&record) {
        gates.at_unix_ms = unix_ms;
        gates.records.insert(key.gate, record);
    }
}

/// None before its container has run, unless its image cannot be had.
fn after_job(
    view: &View,
    gate: &Gate,
    job: &JobSpec,
    key: &GateKey,
    since: Timestamp,
) -> Option<GateStanding> {
    let failed = |why: String| Some(GateStanding::Failed { why });
    let Some(container) = job_of(view, key) else {
        let image = job.image.as_ref()?;
        let pull = view.world.memory.failed_pulls.get(image);
        let pull = pull.or_else(|| signed::failed_look(view, image))?;
        let patience = view.service.rollout.progress_deadline;
        let why = pull.failure.message.clone();
        return match pull.failure.kind == FailureKind::Refused {
            true => failed(why),
            false if since + patience <= view.world.at() => {
                failed(format!("its image could not be had within {}: {why}", human(patience)))
            }
            false => Some(GateStanding::Open { why: Some(why) }),
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

/// Has the gates that failed be tried again; returns whether there were any.
pub fn discard_failed(service: &mut ServiceMemory) -> bool {
    let records = service.gates.values_mut().flat_map(|gates| gates.records.values_mut());
    let failed = records.filter(|record| record.has_failed());
    failed.map(|record| record.standing = GateStanding::Discarded).count() > 0
}

/// Forgets what was measured of any release: a rollout that begins, or a promotion,
/// looks for itself. What a job did stays done.
pub fn forget_measurements(service: &Service, memory: &mut ServiceMemory, phases: &[Phase]) {
    for phase in phases {
        let gates = service.rollout.gates(*phase).iter().filter(|gate| gate.is_measured());
        let measured: Vec<GateId> = gates.map(|gate| gate.id(*phase)).collect();
        for gates in memory.gates.values_mut() {
            gates.records.retain(|id, _| !measured.contains(id));
        }
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
