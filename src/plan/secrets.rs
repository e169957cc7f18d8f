//! Which secret files containers have, and which are needed no more.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Container, Memory, Release, ReleaseId, SecretFile, Snapshot, Stack};

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
pub fn secret_files<'a>(
    stack: &'a Stack,
    seen: &'a Snapshot,
    memory: &'a Memory,
    plan: &'a Plan,
) -> SecretFiles<'a> {
    let containers = seen.containers.known().map(Vec::as_slice);
    let replicas = || containers.unwrap_or_default().iter();
    let there: BTreeSet<&ReleaseId> = replicas()
        .map(|container| &container.release)
        .chain(seen.jobs.iter().map(|job| &job.key.release))
        .collect();
    let remembered = memory.services.values().flat_map(|service| &service.releases);
    let of_record = |release: &'a Release| (&release.id, &release.spec.secrets);
    let mut of: BTreeMap<_, _> = remembered
        .filter(|release| there.contains(&release.id))
        .chain(plan.steps.iter().filter_map(Step::creates).map(|new| &new.release))
        .map(of_record)
        .collect();
    for container in replicas() {
        if !of.contains_key(&container.release)
            && let Some(secrets) = declared(stack, container)
        {
            of.insert(&container.release, secrets);
        }
    }
    of.retain(|_, secrets| !secrets.is_empty());
    // A creation in hand is in no list yet.
    let is_at_rest = plan.steps.is_empty() && seen.busy.is_empty() && containers.is_some();
    SecretFiles { of, needed: is_at_rest.then_some(there) }
}

/// Returns the declared secrets, if a container is of a release that the declaration
/// makes: of a standby nothing is remembered, and with the store lost of nothing at all.
fn declared<'a>(
    stack: &'a Stack,
    container: &Container,
) -> Option<&'a BTreeMap<String, SecretFile>> {
    let spec = &stack.services.get(&container.service)?.spec;
    if spec.secrets.is_empty() {
        return None;
    }
    let Container { image, digest, image_id, .. } = container.clone();
    let release = Release::new(image, digest, image_id, spec.clone());
    (release.id == container.release).then_some(&spec.secrets)
}
