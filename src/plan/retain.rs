//! Which releases are remembered, and so keep their image: as many and for as long as
//! the file says.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ReleaseId, Timestamp, memory::ServiceMemory, stack::Images};

/// Keeps the newest releases, and always those that serve or may have to. The others
/// go when there are too many of them, and each once nothing has needed it for long.
///
/// Returns whether any went.
pub fn trim(service: &mut ServiceMemory, images: &Images, now: Timestamp) -> bool {
    let placements = [&service.active, &service.previous].into_iter().flatten();
    let placed = placements.map(|placement| &placement.release);
    let declared = service.releases.last().map(|release| &release.id);
    let needed: BTreeSet<ReleaseId> =
        placed.chain(service.good.last()).chain(declared).cloned().collect();

    let unneeded = service.releases.iter().filter(|release| !needed.contains(&release.id));
    let unneeded_since: BTreeMap<ReleaseId, Timestamp> = unneeded
        .map(|release| {
            let known = service.unneeded_since.get(&release.id).copied();
            (release.id.clone(), known.unwrap_or(now))
        })
        .collect();
    service.unneeded_since = unneeded_since;

    let is_old = |release: &ReleaseId| {
        let since = service.unneeded_since.get(release);
        images.retain_for.zip(since).is_some_and(|(limit, since)| *since + limit <= now)
    };
    let surplus = service.releases.len().saturating_sub(images.retain_releases.max(2));
    let too_many = service.releases.iter().take(surplus).map(|release| &release.id);
    let too_old = service.releases.iter().map(|release| &release.id).filter(|id| is_old(id));
    let gone: BTreeSet<ReleaseId> =
        too_many.chain(too_old).filter(|id| !needed.contains(*id)).cloned().collect();
    service.releases.retain(|release| !gone.contains(&release.id));
    let releases = &service.releases;
    service.good.retain(|good| releases.iter().any(|release| release.id == *good));
    service.unneeded_since.retain(|release, _| !gone.contains(release));
    !gone.is_empty()
}
