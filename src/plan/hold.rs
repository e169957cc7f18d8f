//! What is kept of a release that failed.

use crate::domain::{
    ImageRef, ReleaseId,
    memory::{HeldBy, Hold},
    snapshot::HoldOf,
};

use super::{NewHold, Step, gates, verdict::Failing, view::View};

/// Returns the step that notes a failure, with the log of whoever can tell of it.
pub fn step(
    view: &View,
    of: HoldOf,
    release: Option<ReleaseId>,
    image: &ImageRef,
    failing: Failing,
) -> Step {
    let results = match (of, &release) {
        (HoldOf::Declared, Some(release)) => gates::results(view, release),
        (HoldOf::Declared, None) | (HoldOf::Standby, _) => Vec::new(),
    };
    let hold = Hold {
        declaration: view.declaration().clone(),
        release,
        image: image.clone(),
        reason: failing.reason,
        log: Vec::new(),
        gates: results,
        by: HeldBy::Failure,
        at_unix_ms: view.world.now.unix_ms,
    };
    // What runs elsewhere keeps its log to itself.
    let log_of = failing.log_of.filter(|_| view.service.upstreams.is_none());
    let service = view.service.name.clone();
    let secrets = view.service.secrets().collect();
    let variables = view.service.variables().collect();
    Step::Hold(Box::new(NewHold { service, hold, of, log_of, secrets, variables }))
}
