//! What stands in the idle slot without traffic, and who may look at it.
//!
//! A declared `standby:` runs there once the release before has had its time as a
//! warm standby: a commit that makes it the service's own image then only flips. A
//! `preview` of the route shows people what is ready there: the release on its way,
//! else the declared standby.

use std::collections::BTreeSet;

use crate::domain::{
    Preview, Release, Route, RouteState, ServiceName,
    memory::{Hold, Placement},
    route::preview_name,
    snapshot::{FailureKind, HoldOf},
};

use super::{
    WaitingOn,
    aim::{Aim, Course, Origin},
    draft::{Dependencies, Draft},
    hold, routing, signed,
    verdict::{self, Failing},
    view::{Standing, View},
};

/// How often a replica of a standby may end by itself.
const MOST_DEATHS: u32 = 3;

/// Returns what the declared standby runs as, while nothing else is on its way.
pub fn declared(view: &View, course: &Course, draft: &mut Draft) -> Option<Aim> {
    let image = view.service.standby.as_ref()?;
    let active = view.active()?;
    let has_arrived =
        !course.is_failed() && course.aim().is_some_and(|aim| aim.placement == active);
    if !has_arrived {
        return None;
    }
    if let Some(pull) = view.world.memory.failed_pulls.get(image)
        && pull.failure.kind == FailureKind::Refused
    {
        draft.note = Some(format!("the standby cannot be had: {}", pull.failure));
        return None;
    }
    let found = draft.image_at_hand(view, image)?;
    let spec = view.service.spec.clone();
    let release = Release {
        commit: view.world.stack.commit.clone(),
        ..Release::new(image.clone(), found.digest, found.image_id, spec)
    };
    if release.id == active.release {
        return None;
    }
    let placement = Placement { slot: active.slot.other(), release: release.id.clone() };
    Some(Aim { placement, release: Some(release), origin: Origin::Declared })
}

/// Raises the declared standby, unless it failed.
pub fn raise(view: &View, aim: &Aim, dependencies: &Dependencies, draft: &mut Draft) {
    if let Some(hold) = failed(view, aim) {
        draft.note = Some(format!("the standby failed: {}", hold.reason));
        return;
    }
    if let Some(failing) = failing(view, aim) {
        let release = Some(aim.placement.release.clone());
        let image = aim.release.as_ref().map_or(&view.service.image, |release| &release.image);
        draft.steps.push(hold::step(view, HoldOf::Standby, release, image, failing));
        return;
    }
    let active = view.active();
    let may_rise = active.is_some_and(|active| {
        view.all_ready_at(&active) && verdict::bake_ends(view, &active).is_none()
    });
    if may_rise {
        draft.raise(view, aim, 1..=view.service.replicas, dependencies);
    }
    let (ready, of) = (view.ready_at(&aim.placement), view.service.replicas);
    draft.waiting_on.push(WaitingOn::Idle { ready, of, slot: aim.placement.slot });
}

/// Returns the hold of the declared standby, if it failed.
pub fn failed<'v>(view: &'v View, aim: &Aim) -> Option<&'v Hold> {
    let hold = view.memory.failed_standby.as_ref()?;
    let is_it = hold.release.as_ref() == Some(&aim.placement.release);
    (is_it && hold.declaration == *view.declaration()).then_some(hold)
}

/// Returns why the declared standby is to be held, if it is: its image is not to run, or
/// a replica of it keeps ending by itself. Once or twice may have been the host's doing.
pub fn failing(view: &View, aim: &Aim) -> Option<Failing> {
    signed::failing_image(view, aim).or_else(|| keeps_ending(view, aim))
}

fn keeps_ending(view: &View, aim: &Aim) -> Option<Failing> {
    view.at(&aim.placement).find_map(|replica| {
        let Standing::Ended { code } = replica.standing else { return None };
        let reason = format!("{} exited with code {code}", replica.container.name);
        let failing = Failing { reason, log_of: Some(replica.container.id.clone()) };
        let keeps_ending = replica.memory.deaths >= MOST_DEATHS;
        (keeps_ending && replica.memory.stopped_at.is_none()).then_some(failing)
    })
}

/// Returns the slot of a service that runs elsewhere to which its route does not lead.
pub fn elsewhere(view: &View) -> Option<Aim> {
    view.service.upstreams.as_ref()?;
    let active = view.active()?;
    let mut placements = view.placements().into_iter();
    let placement = placements.find(|placement| placement.slot != active.slot)?;
    Some(Aim { placement, release: None, origin: Origin::Fallback })
}

/// Returns the route by which people look at what is ready in the idle slot.
pub fn preview(view: &View, looked_at: Option<&Aim>) -> Option<(ServiceName, RouteState)> {
    let route = view.service.route.as_ref()?;
    let preview = route.preview.as_ref()?;
    let aim = looked_at.filter(|aim| view.active().as_ref() != Some(&aim.placement))?;
    let dials: BTreeSet<_> = view.ready_dials(&aim.placement).collect();
    if dials.is_empty() {
        return None;
    }
    let route = match preview {
        Preview::Host(host) => Route {
            hosts: vec![host.clone()],
            path: "/*".to_owned(),
            port: route.port,
            preview: None,
        },
        Preview::Header { .. } => route.clone(),
    };
    let backend = routing::backend_of(aim.placement.clone(), dials);
    let stream_close_delay = view.service.rollout.drain_timeout;
    let name = preview_name(&view.service.name).ok()?;
    Some((name, RouteState { route, backend, standby: None, stream_close_delay, inside: None }))
}
