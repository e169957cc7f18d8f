//! The containers of jobs: made and started once, and cleared away.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    ContainerSpec, GateKey, Phase, Release, Secret,
    gate::JobSpec,
    memory::{GateRecord, GateStanding},
    release::RestartPolicy,
    snapshot::{ContainerState, JobContainer},
};

use super::{
    super::{
        NewContainer, Step, WaitingOn,
        aim::{Aim, Course},
        draft::Draft,
        view::View,
    },
    job_of, jobs,
};

/// The variable that tells a job where the release's first replica is.
const TARGET_VARIABLE: &str = "QUAYMASTER_TARGET";

/// Creates and starts a job's container, once: what has run is never started again.
pub(super) fn run(view: &View, aim: &Aim, job: &JobSpec, key: &GateKey, draft: &mut Draft) {
    let record = view.memory.gate(&key.release, &key.gate);
    if record.is_some_and(|record| record.has_failed() || record.has_passed()) {
        return;
    }
    if let Some(container) = job_of(view, key) {
        match container.state {
            ContainerState::Created => start(view, aim, job, container, draft),
            ContainerState::Running { .. }
            | ContainerState::Restarting
            | ContainerState::Paused
            | ContainerState::Exited { .. }
            | ContainerState::Removing => {}
        }
        return;
    }
    // A migration of a superseded release is not cut off, and none runs beside it.
    let creates = draft.steps.iter().filter_map(Step::creates).any(|new| new.job.is_some());
    let is_next =
        |job: &JobContainer| job.key.release == key.release && is_about_to_start(view, job);
    let mut others = jobs(view).filter(|job| is_at_work(job) || is_next(job));
    if let Some(other) = others.next() {
        let record = record_of(view, other);
        draft.waiting_on.push(WaitingOn::Gate {
            gate: record.map_or_else(|| other.name.clone(), |record| record.name.clone()),
            phase: record.map_or(Phase::PrePromotion, |record| record.phase),
            until: None,
            why: Some("one job runs at a time".to_owned()),
        });
        return;
    }
    if creates {
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
    if draft.host_is_ready(view, aim, &release) && draft.is_signed(view, aim, &release) {
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

/// Starts a job's container that has never run. Its image is looked at once more: a rule
/// may be younger than the container.
fn start(view: &View, aim: &Aim, job: &JobSpec, container: &JobContainer, draft: &mut Draft) {
    let Some(own) = &aim.release else { return };
    let release = Release {
        image: job.image.clone().unwrap_or_else(|| own.image.clone()),
        digest: container.digest.clone(),
        image_id: container.image_id.clone(),
        ..own.clone()
    };
    if draft.is_signed(view, aim, &release) {
        draft.steps.push(Step::Start {
            service: view.service.name.clone(),
            container: container.id.clone(),
            name: container.name.clone(),
        });
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

pub(super) fn is_at_work(job: &JobContainer) -> bool {
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
pub(super) fn clear_away(view: &View, course: &Course, draft: &mut Draft) {
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
        // What never ran tells nothing, and is wanted only where it may yet run.
        _ if job.state == ContainerState::Created && declared != Some(&job.key.release) => false,
        Some(GateStanding::Passed { .. } | GateStanding::Open { .. }) | None => is_in_question,
        // Its log is kept first.
        Some(GateStanding::Failed { .. }) => is_in_question && course.hold.is_none(),
        Some(GateStanding::Discarded) => false,
    }
}

/// Returns whether a job was made for the declared release and has not run yet.
fn is_about_to_start(view: &View, job: &JobContainer) -> bool {
    let is_wanted = record_of(view, job).is_none_or(|it| match it.standing {
        GateStanding::Open { .. } => true,
        GateStanding::Passed { .. } | GateStanding::Failed { .. } | GateStanding::Discarded => {
            false
        }
    });
    job.state == ContainerState::Created && is_wanted
}

fn record_of<'v>(view: &'v View, job: &JobContainer) -> Option<&'v GateRecord> {
    view.memory.gate(&job.key.release, &job.key.gate)
}
