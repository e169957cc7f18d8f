//! Which secret files containers have, and which are needed no more.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Memory, Release, ReleaseId, SecretFile, Snapshot};

use super::{Plan, Step};

/// The secret files that have to be in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFiles<'a> {
    /// Of each release that has a container or is about to get one, and has secrets:
    /// path in the container → secret.
    pub of: BTreeMap<&'a ReleaseId, &'a BTreeMap<String, SecretFile>>,
    /// Every release whose files must stay, also those whose content nobody remembers;
    /// None while that is not known, and nothing may be removed.
    pub needed: Option<BTreeSet<&'a ReleaseId>>,
}

/// Returns what must be in place for the containers that are there, in whatever state,
/// and for those that the plan creates.
pub fn secret_files<'a>(seen: &'a Snapshot, memory: &'a Memory, plan: &'a Plan) -> SecretFiles<'a> {
    let created = plan.steps.iter().filter_map(|step| match step {
        Step::Create(new) => Some(&new.release),
        Step::CreateNetwork { .. }
        | Step::CreateVolume { .. }
        | Step::Pull { .. }
        | Step::Start { .. }
        | Step::SetRestartPolicy { .. }
        | Step::Stop { .. }
        | Step::Remove { .. }
        | Step::Hold(_)
        | Step::WriteRoutes { .. }
        | Step::RemoveImage { .. } => None,
    });
    let containers = seen.containers.known();
    let replicas = containers.into_iter().flatten().map(|container| &container.release);
    let there: BTreeSet<&ReleaseId> =
        replicas.chain(seen.jobs.iter().map(|job| &job.key.release)).collect();
    let remembered = memory.services.values().flat_map(|service| &service.releases);
    let of = created
        .chain(remembered.filter(|release| there.contains(&release.id)))
        .filter(|release| !release.spec.secrets.is_empty())
        .map(|release: &Release| (&release.id, &release.spec.secrets))
        .collect();
    // A creation in hand is in no list yet.
    let is_at_rest = plan.steps.is_empty() && seen.busy.is_empty() && containers.is_some();
    SecretFiles { of, needed: is_at_rest.then_some(there) }
}
