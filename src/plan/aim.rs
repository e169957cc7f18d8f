//! Where a service is to go: the release the file declares, or, while that one
//! is held, the one to fall back on.

use crate::domain::{
    ImageRef, Release, ReleaseId, Resolution, ServiceName, Slot, SlotChoice, Strategy,
    memory::{Hold, Placement},
};

use super::{
    group, upstreams,
    verdict::{self, Failing},
    view::View,
};

/// Where a service is to go, and what stands against it.
pub struct Course {
    pub target: Target,
    /// The declared release; None while its image is not resolved.
    pub declared: Option<Aim>,
    /// The declaration was found to fail before this pass, and is held.
    pub hold: Option<Hold>,
    /// The declaration is found to fail in this pass: it is to be held.
    pub failing: Option<Failing>,
    /// The other member of its group that failed and keeps it back.
    pub blocked_by: Option<ServiceName>,
}

pub enum Target {
    Aim(Box<Aim>),
    /// The declared image has to be pulled before there is a release.
    NeedsImage,
    /// The declaration failed and there is nothing to fall back on.
    Nothing,
}

/// A placement to reach.
#[derive(Clone, Debug)]
pub struct Aim {
    pub placement: Placement,
    /// What to create replicas from; None for an earlier release that is only
    /// known by its containers.
    pub release: Option<Release>,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Declared,
    Fallback,
}

impl Course {
    pub fn aim(&self) -> Option<&Aim> {
        match &self.target {
            Target::Aim(aim) => Some(aim),
            Target::NeedsImage | Target::Nothing => None,
        }
    }

    /// Returns whether the declared release is not to serve.
    pub fn is_failed(&self) -> bool {
        self.hold.is_some() || self.failing.is_some() || self.blocked_by.is_some()
    }

    /// Returns the release that failed, or is kept back with one that did.
    pub fn failed_release(&self) -> Option<&ReleaseId> {
        let held = self.hold.as_ref().and_then(|hold| hold.release.as_ref());
        let declared = || self.declared.as_ref().map(|aim| &aim.placement.release);
        let is_on_trial = self.failing.is_some() || self.blocked_by.is_some();
        held.or_else(|| declared().filter(|_| is_on_trial))
    }
}

/// Sets the course of a service.
pub fn course(view: &View) -> Course {
    let own = own_course(view);
    if own.is_failed() {
        return own;
    }
    let Some(blocked_by) = group::blocked_by(view, own.declared.as_ref()) else { return own };
    let declared = own.declared.as_ref().map(|aim| &aim.placement.release);
    let target = fallback(view, declared).map_or(Target::Nothing, |aim| Target::Aim(Box::new(aim)));
    Course { target, blocked_by: Some(blocked_by), ..own }
}

/// Sets the course of a service as if it were in no group.
pub fn own_course(view: &View) -> Course {
    let declared = declared_release(view).map(|release| declared_aim(view, release));
    let hold = current_hold(view);
    let failing = match &hold {
        Some(_) => None,
        None => verdict::failing(view, declared.as_ref()),
    };
    let failed = hold.is_some() || failing.is_some();
    let target = match (&declared, failed) {
        (Some(aim), false) => Target::Aim(Box::new(aim.clone())),
        (None, false) => Target::NeedsImage,
        (_, true) => {
            let failed_release = match &hold {
                Some(hold) => hold.release.clone(),
                None => declared.as_ref().map(|aim| aim.placement.release.clone()),
            };
            match fallback(view, failed_release.as_ref()) {
                Some(aim) => Target::Aim(Box::new(aim)),
                None => Target::Nothing,
            }
        }
    };
    Course { target, declared, hold, failing, blocked_by: None }
}

fn current_hold(view: &View) -> Option<Hold> {
    let hold = view.memory.hold.as_ref()?;
    (hold.declaration == *view.declaration()).then(|| hold.clone())
}

/// Returns what the declared image means here: as it was resolved before, else
/// as a release that is remembered or a container of it says, else as the
/// host's own images say.
pub fn resolve(view: &View) -> Option<Resolution> {
    if let SlotChoice::Declared(slot) = view.service.slot
        && let Some(found) = upstreams::resolution(view.service, slot)
    {
        return Some(found);
    }
    let image = &view.service.image;
    if let Some(known) = view.world.memory.resolutions.get(image) {
        return Some(known.clone());
    }
    if let Some(release) = view.memory.releases.iter().rev().find(|r| r.image == *image) {
        return Some(Resolution {
            digest: release.digest.clone(),
            image_id: release.image_id.clone(),
        });
    }
    let same_reference = view.replicas.iter().find(|replica| replica.container.image == *image);
    if let Some(replica) = same_reference {
        return Some(Resolution {
            digest: replica.container.digest.clone(),
            image_id: replica.container.image_id.clone(),
        });
    }
    view.world.seen.host.known()?.resolve(image)
}

/// Returns the release that the file declares, once its image is resolved.
pub fn declared_release(view: &View) -> Option<Release> {
    let found = resolve(view)?;
    // Comparing is far cheaper than making its fingerprint anew.
    let known = view.memory.releases.iter().rev().find(|known| {
        known.image == view.service.image
            && known.digest == found.digest
            && known.image_id == found.image_id
            && known.spec == view.service.spec
    });
    let new = || Release {
        commit: view.world.stack.commit.clone(),
        ..view.service.release(found.digest.clone(), found.image_id.clone())
    };
    Some(known.cloned().unwrap_or_else(new))
}

fn declared_aim(view: &View, release: Release) -> Aim {
    let slot = slot_for(view, &release.id);
    let placement = Placement { slot, release: release.id.clone() };
    Aim { placement, release: Some(release), origin: Origin::Declared }
}

/// Returns the slot in which a release is to run.
fn slot_for(view: &View, release: &ReleaseId) -> Slot {
    let active = view.active();
    match view.service.slot {
        SlotChoice::Declared(slot) => slot,
        SlotChoice::Auto => match (active, view.service.rollout.strategy) {
            (Some(active), Strategy::BlueGreen) if active.release != *release => {
                active.slot.other()
            }
            (Some(active), _) => active.slot,
            (None, _) => {
                let here = view.replicas.iter().find(|r| r.container.release == *release);
                here.map_or(Slot::Blue, |replica| replica.container.slot)
            }
        },
    }
}

/// Returns what serves in place of a release that failed: what is active, else
/// the standby, else the newest release that was good.
pub fn fallback(view: &View, failed: Option<&ReleaseId>) -> Option<Aim> {
    let sound = |release: &ReleaseId| Some(release) != failed;
    let has_containers = |placement: &Placement| view.at(placement).next().is_some();
    let can_run = |placement: &Placement| {
        has_containers(placement) || view.record(&placement.release).is_some()
    };
    let active = view.active().filter(|active| sound(&active.release) && can_run(active));
    let previous = view.memory.previous.clone();
    let previous = previous.filter(|previous| sound(&previous.release) && has_containers(previous));
    let good = || {
        let newest_first = view.memory.good.iter().rev().filter(|release| sound(release));
        newest_first
            .map(|release| Placement {
                slot: slot_of_earlier(view, release),
                release: release.clone(),
            })
            .find(can_run)
    };
    let placement = active.or(previous).or_else(good)?;
    let release = view.record(&placement.release).cloned();
    Some(Aim { placement, release, origin: Origin::Fallback })
}

fn slot_of_earlier(view: &View, release: &ReleaseId) -> Slot {
    let here = view.replicas.iter().find(|replica| replica.container.release == *release);
    match (here, view.active(), view.service.rollout.strategy) {
        (Some(replica), _, _) => replica.container.slot,
        (None, Some(active), Strategy::BlueGreen) => active.slot.other(),
        (None, Some(active), Strategy::Rolling | Strategy::Recreate) => active.slot,
        (None, None, _) => Slot::Blue,
    }
}

/// Returns the reference that pulls exactly this release again, if a registry
/// can know it: an image that was built here is its own digest.
pub fn pinned(release: &Release) -> Option<ImageRef> {
    if release.digest == release.image_id {
        return None;
    }
    format!("{}@{}", release.image.name(), release.digest).parse().ok()
}
