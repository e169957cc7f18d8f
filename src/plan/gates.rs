//! Gates: what stands between a release that is ready and its promotion, and what
//! may undo the promotion.
//!
//! A measurement is made in the background and a job is a container; what came of
//! either is followed into the memory, and decided on from there. Gates of the first
//! kind pass one after another, in the order of the file; those of the second are
//! all looked at through the bake.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    ContainerSpec, Gate, GateKey, GateTarget, Phase, Release, ReleaseId, Secret, Strategy,
    Timestamp,
    gate::JobSpec,
    memory::{GateRecord, GateStanding, Placement, ReleaseGates, ServiceMemory},
    release::RestartPolicy,
    snapshot::{ContainerState, FailureKind, JobContainer, Measured, Measurement},
    time::human,
};

use super::{
    NewContainer, Step, WaitingOn,
    aim::{Aim, Course, Origin},
    draft::Draft,
    group,
    verdict::{self, Failing},
    view::View,
};

/// The variable that tells a job where the release's first replica is.
const TARGET_VARIABLE: &str = "QUAYMASTER_TARGET";

/// How many releases' gates are remembered.
const KEPT_RELEASES: usize = 100;

/// Returns whether a release may become active now: its gates have passed, somebody
/// said so where the file leaves it to one, and the rest of its group is as far.
/// What was active before, or is gone back to, need not prove itself again.
pub fn may_promote(view: &View, aim: &Aim) -> bool {
    is_past_promotion(view, aim)
        || (first_open(view, &aim.placement.release).is_none()
            && is_approved(view, &aim.placement.release)
            && group::is_ready(view))
}

/// Returns whether nothing but the rest of its group keeps a release from promotion.
pub fn is_ready_alone(view: &View, aim: &Aim) -> bool {
    is_past_promotion(view, aim)
        || (is_ready(view, &aim.placement)
            && first_open(view, &aim.placement.release).is_none()
            && is_approved(view, &aim.placement.release))
}

/// Returns whether a release is ready, and waits to be promoted.
pub fn is_waiting(view: &View, aim: &Aim) -> bool {
    is_ready(view, &aim.placement) && !may_promote(view, aim)
}

fn is_past_promotion(view: &View, aim: &Aim) -> bool {
    aim.origin == Origin::Fallback
        || view.active().as_ref() == Some(&aim.placement)
        || view.memory.good.contains(&aim.placement.release)
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

/// Returns the gates of a phase, in the order of the file.
pub fn of_phase<'a>(view: &View<'a>, phase: Phase) -> &'a [Gate] {
    match phase {
        Phase::PrePromotion => &view.service.rollout.pre_promotion,
        Phase::PostPromotion => &view.service.rollout.post_promotion,
    }
}

fn standing<'v>(
    view: &'v View,
    release: &ReleaseId,
    gate: &Gate,
    phase: Phase,
) -> Option<&'v GateStanding> {
    let records = &view.memory.gates.get(release)?.records;
    records.get(&gate.id(phase)).map(|record| &record.standing)
}

fn has_passed(view: &View, release: &ReleaseId, gate: &Gate, phase: Phase) -> bool {
    matches!(standing(view, release, gate, phase), Some(GateStanding::Passed { .. }))
}

fn first_open<'a>(view: &View<'a>, release: &ReleaseId) -> Option<&'a Gate> {
    let phase = Phase::PrePromotion;
    of_phase(view, phase).iter().find(|gate| !has_passed(view, release, gate, phase))
}

/// Returns whether a release that is active still has to pass a gate, and can.
pub fn is_under_way_after_promotion(view: &View, release: &ReleaseId) -> bool {
    let phase = Phase::PostPromotion;
    of_phase(view, phase).iter().any(|gate| match standing(view, release, gate, phase) {
        Some(GateStanding::Open { .. } | GateStanding::Discarded) | None => true,
        Some(GateStanding::Passed { .. } | GateStanding::Failed { .. }) => false,
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
        let Some(GateStanding::Failed { why }) = standing(view, release, gate, phase) else {
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
    let Some(gates) = view.memory.gates.get(release) else { return Vec::new() };
    let phases = [Phase::PrePromotion, Phase::PostPromotion];
    let declared = phases.iter().flat_map(|phase| {
        of_phase(view, *phase).iter().filter_map(|gate| gates.records.get(&gate.id(*phase)))
    });
    declared.filter(|record| record.standing != GateStanding::Discarded).cloned().collect()
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

// --- what became of them -----------------------------------------------------------

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
            Some(GateStanding::Passed { what: "exited with code 0".to_owned() })
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

// --- keeping them going ------------------------------------------------------------

/// Measures and runs the gates of the declared release, and says what it waits for.
pub fn advance(view: &View, course: &Course, draft: &mut Draft) {
    clear_away(view, course, draft);
    let Some(aim) = course.aim().filter(|aim| aim.origin == Origin::Declared) else { return };
    if course.is_failed() {
        return;
    }
    let release = &aim.placement.release;
    let gates = current(view, aim);
    for (gate, phase) in &gates {
        let key = key(view, release, gate, *phase);
        let record = view.memory.gates.get(release).and_then(|all| all.records.get(&key.gate));
        match gate.job() {
            Some(job) => run(view, aim, job, &key, draft),
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
    let Some(replica) = view.at(&aim.placement).find(|replica| replica.is_ready()) else { return };
    let address = view.dial(replica).map(|dial| dial.ip());
    let address = address.or_else(|| replica.container.addresses.values().next().copied());
    let target = GateTarget { gate: gate.clone(), replica: replica.container.id.clone(), address };
    draft.measure.insert(key.clone(), target);
}

/// Creates and starts a job's container, once: what has run is never started again.
fn run(view: &View, aim: &Aim, job: &JobSpec, key: &GateKey, draft: &mut Draft) {
    let failed = |record: &GateRecord| matches!(record.standing, GateStanding::Failed { .. });
    let record = view.memory.gates.get(&key.release).and_then(|all| all.records.get(&key.gate));
    if record.is_some_and(|it| failed(it) || matches!(it.standing, GateStanding::Passed { .. })) {
        return;
    }
    if let Some(container) = job_of(view, key) {
        match container.state {
            ContainerState::Created => draft.steps.push(Step::Start {
                service: view.service.name.clone(),
                container: container.id.clone(),
                name: container.name.clone(),
            }),
            ContainerState::Running { .. }
            | ContainerState::Restarting
            | ContainerState::Paused
            | ContainerState::Exited { .. }
            | ContainerState::Removing => {}
        }
        return;
    }
    // A migration of a superseded release is not cut off, and none runs beside it.
    if jobs(view).any(is_at_work) {
        draft.waiting_on.push(WaitingOn::StepInHand);
        return;
    }
    let Some(release) = &aim.release else { return };
    let image = match &job.image {
        None => Some(release.clone()),
        Some(image) => draft.image_at_hand(view, image).map(|found| Release {
            image: image.clone(),
            digest: found.digest,
            image_id: found.image_id,
            ..release.clone()
        }),
    };
    let Some(image) = image else { return };
    let release = job_release(view, aim, image, job);
    if draft.host_is_ready(view, aim, &release) {
        let slot = aim.placement.slot;
        let stack = &view.world.stack.name;
        let service = &view.service.name;
        draft.steps.push(Step::Create(Box::new(NewContainer {
            name: format!("{stack}-{service}-{}-job-{}", release.id, key.gate),
            service: service.clone(),
            slot,
            replica: 0,
            job: Some(key.gate.clone()),
            release,
            addresses: Default::default(),
            hosts: Default::default(),
        })));
    }
}

/// Returns what a job's container is made of: a replica of the release that publishes
/// nothing, answers to no name and carries nobody's labels.
fn job_release(view: &View, aim: &Aim, image: Release, job: &JobSpec) -> Release {
    let mut spec = image.spec;
    if let Some(command) = &job.command {
        spec.command = Some(command.clone());
    } else if job.image.is_some() {
        spec.command = None;
    }
    if job.image.is_some() {
        // These are of the service's own image.
        (spec.entrypoint, spec.working_dir, spec.user) = (None, None, None);
    }
    if let Some(dial) = view.ready_dials(&aim.placement).next() {
        let target = Secret::new(format!("http://{dial}"));
        spec.environment.insert(TARGET_VARIABLE.to_owned(), target);
    }
    spec.environment.extend(job.environment.clone());
    spec.networks.iter_mut().for_each(|network| network.aliases.clear());
    spec.restart = RestartPolicy::No;
    let spec = ContainerSpec {
        route_port: None,
        ports: Vec::new(),
        expose: BTreeSet::new(),
        healthcheck: None,
        labels: BTreeMap::new(),
        ..spec
    };
    Release { spec, ..image }
}

fn is_at_work(job: &JobContainer) -> bool {
    match job.state {
        ContainerState::Running { .. } | ContainerState::Restarting | ContainerState::Paused => {
            true
        }
        ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Removing => false,
    }
}

/// Stops the jobs that took too long, and removes what nobody needs any more. One
/// that succeeded stays for as long as its release may come into question: should
/// the memory be lost, it is what tells that the job was done.
fn clear_away(view: &View, course: &Course, draft: &mut Draft) {
    for job in jobs(view) {
        let service = view.service.name.clone();
        let (container, name) = (job.id.clone(), job.name.clone());
        if is_at_work(job) {
            if is_out_of_time(view, job) {
                draft.steps.push(Step::Stop { service, container, name, grace: None });
            }
        } else if job.state != ContainerState::Removing && !is_kept(view, course, job) {
            draft.steps.push(Step::Remove { service, container, name });
        }
    }
}

fn record_of<'v>(view: &'v View, job: &JobContainer) -> Option<&'v GateRecord> {
    view.memory.gates.get(&job.key.release)?.records.get(&job.key.gate)
}

fn is_out_of_time(view: &View, job: &JobContainer) -> bool {
    record_of(view, job).is_some_and(|it| match it.standing {
        GateStanding::Failed { .. } | GateStanding::Discarded => true,
        GateStanding::Open { .. } | GateStanding::Passed { .. } => false,
    })
}

fn is_kept(view: &View, course: &Course, job: &JobContainer) -> bool {
    let declared = course.declared.as_ref().map(|aim| &aim.placement.release);
    let placements = [&view.memory.active, &view.memory.previous];
    let mut releases = placements.into_iter().flatten().map(|placement| &placement.release);
    let is_in_question =
        declared == Some(&job.key.release) || releases.any(|release| *release == job.key.release);
    match record_of(view, job).map(|record| &record.standing) {
        Some(GateStanding::Passed { .. } | GateStanding::Open { .. }) | None => is_in_question,
        // Its log is kept first.
        Some(GateStanding::Failed { .. }) => is_in_question && course.hold.is_none(),
        Some(GateStanding::Discarded) => false,
    }
}
