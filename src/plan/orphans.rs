//! Containers of services that the file does not declare any more.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    Container, ServiceName,
    snapshot::{ContainerState, JobContainer, Subject},
};

use super::{
    Step, WaitingOn, drain,
    view::{Replica, Standing, World},
};

/// How long the requests of a service that is gone from the file may take: its
/// own `drain_timeout` is gone with it, so the default holds.
pub const ORPHAN_DRAIN: Duration = Duration::from_secs(30);

/// What is planned for services that are not declared.
#[derive(Default)]
pub struct Orphans {
    pub steps: Vec<Step>,
    pub waiting_on: BTreeMap<ServiceName, Vec<WaitingOn>>,
}

/// Plans the end of every service that has containers and no declaration.
/// Its route goes with the next write of the table; its containers stop when
/// they are drained. Volumes are never touched.
pub fn plan(world: World) -> Orphans {
    let mut orphans = Orphans::default();
    let containers = world.seen.containers.known().map_or(&[][..], Vec::as_slice);
    // A stack without a proxy has nobody who could still route to them.
    let Some(proxy) = world.proxy() else { return orphans };
    for container in containers {
        if world.stack.services.contains_key(&container.service) {
            continue;
        }
        let waiting_on = orphans.waiting_on.entry(container.service.clone()).or_default();
        if proxy.table.contains_key(&container.service) {
            waiting_on.push(WaitingOn::StepInHand);
            continue;
        }
        orphans.steps.extend(end(world, container, waiting_on));
    }
    for job in &world.seen.jobs {
        if !world.stack.services.contains_key(&job.key.service) {
            orphans.steps.extend(end_job(world, job));
        }
    }
    orphans
}

fn end_job(world: World, job: &JobContainer) -> Option<Step> {
    let service = job.key.service.clone();
    let (container, name) = (job.id.clone(), job.name.clone());
    let subject = Subject::Replica { service: service.clone(), container: name.clone() };
    if world.seen.busy.contains_key(&subject) {
        return None;
    }
    match job.state {
        ContainerState::Running { .. } | ContainerState::Restarting | ContainerState::Paused => {
            Some(Step::Stop { service, container, name, grace: None })
        }
        ContainerState::Created | ContainerState::Exited { .. } => {
            Some(Step::Remove { service, container, name })
        }
        ContainerState::Removing => None,
    }
}

fn end(world: World, container: &Container, waiting_on: &mut Vec<WaitingOn>) -> Option<Step> {
    let service = container.service.clone();
    let subject = Subject::Replica { service: service.clone(), container: container.name.clone() };
    if world.seen.busy.contains_key(&subject) || container.state == ContainerState::Removing {
        waiting_on.push(WaitingOn::StepInHand);
        return None;
    }
    let remembered = world.memory.service(&service).replicas.remove(&container.id);
    let memory = remembered.unwrap_or_default();
    let replica = Replica { container, memory, standing: Standing::Pending { why: None } };
    if let Some(until) = drain::drained_at(&replica, ORPHAN_DRAIN, world.at()) {
        drain::wait(world, &replica, ORPHAN_DRAIN, until, waiting_on);
        return None;
    }
    let (container, name) = (container.id.clone(), container.name.clone());
    Some(match replica.runs() {
        true => Step::Stop { service, container, name, grace: None },
        false => Step::Remove { service, container, name },
    })
}
