//! Images that this stack pulled and nothing needs any more.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::{Digest, Resolution, Service};

use super::{Step, view::World};

/// How often images are looked through while nothing changes.
const INTERVAL: Duration = Duration::from_secs(600);

/// Returns whether it is time to look through the images.
pub fn is_due(world: World) -> bool {
    world.memory.pruned_at.is_none_or(|at| at + INTERVAL <= world.at())
}

/// Returns the removals, for a host that was seen. An image goes only if this
/// stack pulled it and no container, declaration or retained release needs it (S4).
pub fn plan(world: World) -> Vec<Step> {
    let (Some(host), Some(containers)) = (world.seen.host.known(), world.seen.containers.known())
    else {
        return Vec::new();
    };
    let memory = world.memory;
    let retained = memory.services.values().flat_map(|service| &service.releases);
    // What a declared reference means here, resolved or not yet.
    let declared = world.stack.services.values().flat_map(Service::images);
    let declared = declared.filter_map(|image| host.resolve(image));
    let declared: Vec<Resolution> = declared.collect();
    let needed: BTreeSet<&Digest> = containers
        .iter()
        .flat_map(|container| [&container.digest, &container.image_id])
        .chain(world.seen.jobs.iter().flat_map(|job| [&job.digest, &job.image_id]))
        .chain(retained.flat_map(|release| [&release.digest, &release.image_id]))
        .chain(memory.resolutions.values().flat_map(|found| [&found.digest, &found.image_id]))
        .chain(declared.iter().flat_map(|found| [&found.digest, &found.image_id]))
        .collect();
    let unneeded = host.images.iter().filter(|image| !needed.contains(&image.id));
    unneeded
        .flat_map(|image| image.pulled_as.iter().map(move |digest| (image, digest)))
        .filter(|(_, digest)| !needed.contains(digest))
        .map(|(image, digest)| Step::RemoveImage { id: image.id.clone(), digest: digest.clone() })
        .collect()
}
