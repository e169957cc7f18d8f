//! Signatures: what a new release must carry before anything of it is created.
//!
//! The host's policy says whose signature an image needs, the registry has it, and the
//! memory keeps what was found. Closed for what is new: nothing is created before its
//! image was seen to be signed. Open for what serves: a release that was active or
//! good is created again without asking, because a registry that is down, or a rule
//! that came later, must not take a service away.

use crate::domain::{
    Digest, ImageRef, Release, ReleaseId, SignatureWanted,
    memory::Attempts,
    snapshot::{FailureKind, Subject},
};

use super::{Step, WaitingOn, aim::Aim, draft::Draft, pace, verdict::Failing, view::View};

impl Draft {
    /// Returns whether the image of a release, or of its job, may become a container and
    /// run; has it looked at where that is not known yet.
    pub fn is_signed(&mut self, view: &View, aim: &Aim, release: &Release) -> bool {
        let Some(wanted) = open(view, aim, release) else { return true };
        let image = release.image.clone();
        match refusal(view, &wanted) {
            Some(attempts) => self.note = Some(attempts.failure.message.clone()),
            None => self.verify(view, image, wanted),
        }
        false
    }

    fn verify(&mut self, view: &View, image: ImageRef, wanted: SignatureWanted) {
        self.waiting_on.push(WaitingOn::Signature { image: image.clone() });
        let earlier = view.world.memory.failed_checks.get(&wanted.image);
        if let Some(wait) = earlier.and_then(|it| pace::wait(view.world, it)) {
            self.waiting_on.push(wait);
            return;
        }
        let service = view.service.name.clone();
        let step = Step::Verify { service, image, wanted: Box::new(wanted) };
        if !view.world.seen.busy.contains_key(&step.subject()) {
            self.steps.push(step);
        }
    }
}

/// Returns the subject of a look at an image's signatures: one at a time, whoever wants
/// to know.
pub fn subject(wanted: &SignatureWanted) -> Subject {
    Subject::Host(format!("the signature of {}", wanted.image))
}

/// Returns whether nothing is to be seen any more of a release's image before it is
/// promoted.
pub fn is_clear(view: &View, aim: &Aim) -> bool {
    aim.release.as_ref().is_none_or(|release| open(view, aim, release).is_none())
}

/// Returns why a release's own image is not to run, if it is not.
pub fn failing_image(view: &View, aim: &Aim) -> Option<Failing> {
    refused(view, &open(view, aim, aim.release.as_ref()?)?)
}

/// Returns the looks at the signature of a job's own image that failed.
pub fn failed_look<'v>(view: &View<'v>, image: &ImageRef) -> Option<&'v Attempts> {
    view.world.memory.failed_checks.get(&of_job(view, image)?.image)
}

/// Returns why an image that the declared release needs is not to run, if one is not.
pub fn failing(view: &View, aim: &Aim) -> Option<Failing> {
    failing_image(view, aim).or_else(|| failing_job(view))
}

/// Returns why an image that a job of the active release needs is not to run.
pub fn failing_job(view: &View) -> Option<Failing> {
    of_jobs(view).find_map(|wanted| refused(view, &wanted))
}

/// What is wanted of the images that only jobs of the service run.
fn of_jobs<'v>(view: &'v View) -> impl Iterator<Item = SignatureWanted> + 'v {
    let jobs = view.service.images().filter(|image| **image != view.service.image);
    let jobs = jobs.filter(|image| Some(*image) != view.service.standby.as_ref());
    jobs.filter_map(|image| of_job(view, image))
}

fn of_job(view: &View, image: &ImageRef) -> Option<SignatureWanted> {
    let found = view.world.memory.resolutions.get(image).cloned();
    let found = found.or_else(|| view.world.seen.host.known()?.resolve(image))?;
    unverified(view, image, &found.digest)
}

/// Returns what is still to be seen of an image before a container is made of it.
fn open(view: &View, aim: &Aim, release: &Release) -> Option<SignatureWanted> {
    // A job has the id of its release, and may have an image of its own.
    let is_own_image = aim.release.as_ref().is_some_and(|own| {
        own.digest == release.digest && own.image.name() == release.image.name()
    });
    if is_own_image && has_served(view, &release.id) {
        return None;
    }
    unverified(view, &release.image, &release.digest)
}

fn unverified(view: &View, image: &ImageRef, digest: &Digest) -> Option<SignatureWanted> {
    let wanted = view.world.stack.signature_of(image, digest)?;
    (!view.world.memory.verified.contains(&wanted.image)).then_some(wanted)
}

/// Returns whether a release answers, or did: what it is made of was let in before.
pub fn has_served(view: &View, release: &ReleaseId) -> bool {
    let memory = &view.memory;
    let mut placements = [view.active(), memory.active.clone(), memory.previous.clone()];
    placements.iter_mut().flatten().any(|placement| placement.release == *release)
        || memory.good.contains(release)
}

fn refused(view: &View, wanted: &SignatureWanted) -> Option<Failing> {
    let reason = refusal(view, wanted)?.failure.message.clone();
    Some(Failing { reason, log_of: None })
}

fn refusal<'v>(view: &View<'v>, wanted: &SignatureWanted) -> Option<&'v Attempts> {
    let attempts = view.world.memory.failed_checks.get(&wanted.image)?;
    (attempts.failure.kind == FailureKind::Refused).then_some(attempts)
}
