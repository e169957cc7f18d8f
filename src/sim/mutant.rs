//! Ways in which a controller could be wrong, told as lies to a right one.
//!
//! An oracle that never objects proves nothing. Each mutant makes the controller
//! break one rule; a test shows that the oracle says so.

use std::time::Duration;

use crate::domain::{
    ContainerId, RouteTable, Stack,
    snapshot::{ContainerState, JobContainer},
};

use super::{oracle::dials_of, world::World};

/// One lie between the controller and its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Every watched replica counts as ready at once.
    SkipReadiness,
    /// Every `drain_timeout` is read as nothing.
    SkipDrain,
    /// The proxy's counts are read as nothing at all.
    CountNothing,
    /// A proxy that cannot be seen counts as empty.
    UnknownProxyIsEmpty,
    /// A route also names replicas of other releases.
    MixReleases,
    /// A stop hits a replica that the route names.
    StopTheRouted,
    /// Somebody else's containers count as ours, of no declared service.
    AdoptForeign,
    /// A write leaves one declared route out.
    DropARoute,
    /// Holds do not survive a restart.
    ForgetHolds,
    /// Pulls never end.
    NeverPull,
    /// Every measurement of a gate counts as passed.
    SkipGates,
    /// A job that is done looks as if it had not been started.
    RunJobsAgain,
    /// Every look for a signature finds it.
    SkipSignatures,
}

impl Mutant {
    pub const ALL: [Mutant; 13] = [
        Mutant::SkipReadiness,
        Mutant::SkipDrain,
        Mutant::CountNothing,
        Mutant::UnknownProxyIsEmpty,
        Mutant::MixReleases,
        Mutant::StopTheRouted,
        Mutant::AdoptForeign,
        Mutant::DropARoute,
        Mutant::ForgetHolds,
        Mutant::NeverPull,
        Mutant::SkipGates,
        Mutant::RunJobsAgain,
        Mutant::SkipSignatures,
    ];
}

impl World {
    /// Returns the file as the mutant reads it.
    pub(super) fn mutate_stack(&self, stack: &Stack) -> Stack {
        let mut stack = stack.clone();
        if self.mutant == Some(Mutant::SkipDrain) {
            for service in stack.services.values_mut() {
                service.rollout.drain_timeout = Duration::ZERO;
            }
        }
        stack
    }

    /// Returns the routes as the mutant writes them.
    pub(super) fn mutate_table(&self, table: &RouteTable) -> RouteTable {
        let mut table = table.clone();
        match self.mutant {
            Some(Mutant::DropARoute) if table.len() > 1 => {
                table.pop_first();
            }
            Some(Mutant::MixReleases) => {
                let listed = self.docker.list(self.now).replicas;
                for (name, state) in &mut table {
                    let others = listed.iter().filter(|container| {
                        container.service == *name && container.release != state.backend.release
                    });
                    state.backend.dials.extend(others.flat_map(dials_of));
                }
            }
            Some(_) | None => {}
        }
        table
    }

    /// Changes the jobs to what the mutant sees.
    pub(super) fn mutate_jobs(&self, jobs: &mut [JobContainer]) {
        if self.mutant == Some(Mutant::RunJobsAgain) {
            let done = ContainerState::Exited { code: 0 };
            for job in jobs.iter_mut().filter(|job| job.state == done) {
                job.state = ContainerState::Created;
            }
        }
    }

    /// Returns which container the mutant stops in place of another.
    pub(super) fn mutate_stop(&self, id: &ContainerId) -> ContainerId {
        if self.mutant != Some(Mutant::StopTheRouted) {
            return id.clone();
        }
        let listed = self.docker.list(self.now).replicas;
        let Some(meant) = listed.iter().find(|container| container.id == *id) else {
            return id.clone();
        };
        let routed = listed.iter().find(|container| {
            container.service == meant.service
                && dials_of(container).any(|dial| self.caddy.names(&dial))
        });
        routed.map_or_else(|| id.clone(), |container| container.id.clone())
    }
}
