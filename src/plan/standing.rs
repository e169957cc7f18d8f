//! How a service stands, in one word and one sentence.

use crate::domain::{
    Phase, Service, Strategy,
    memory::{HeldBy, Placement},
};

use super::{
    ServicePlan, ServiceState, WaitingOn,
    aim::{Course, Origin},
    draft::Draft,
    gates, verdict,
    view::{Replica, Standing, View, World, count, placement_of, why_unknown},
};

/// Returns the standing of a declared service.
pub fn of(view: &View, course: &Course, draft: &Draft) -> ServicePlan {
    let mut waiting_on = draft.waiting_on.clone();
    let active = view.active();
    if let Some(active) = &active
        && let Some(until) = verdict::bake_ends(view, active)
        && until > view.world.at()
        && !course.is_failed()
    {
        waiting_on.insert(0, WaitingOn::Bake { until });
    }
    if !view.proxy_is_known()
        && let Some(why) = why_unknown(&view.world.seen.proxy)
    {
        waiting_on.insert(0, WaitingOn::Unknown { part: "the proxy".to_owned(), why });
    }
    let (state, reason) = judge(view, course, draft, active.as_ref(), &waiting_on);
    let target = course.aim().map(|aim| aim.placement.release.clone());
    ServicePlan { state, reason, waiting_on, target }
}

fn judge(
    view: &View,
    course: &Course,
    draft: &Draft,
    active: Option<&Placement>,
    waiting_on: &[WaitingOn],
) -> (ServiceState, String) {
    let serving = |placement: &Placement| {
        let record = view.record(&placement.release);
        let image = record.map(|record| record.image.to_string());
        let from_container = || view.at(placement).next().map(|r| r.container.image.to_string());
        image.or_else(from_container).unwrap_or_else(|| placement.release.to_string())
    };
    if !view.proxy_is_known() {
        return (ServiceState::Unknown, "the proxy cannot be seen: nothing moves".to_owned());
    }
    if let Some(hold) = course.hold.as_ref().filter(|hold| hold.by == HeldBy::Operator) {
        let wanted = &view.service.image;
        let does = match (course.aim().map(|aim| &aim.placement), active) {
            (Some(to), Some(active)) if to != active => format!("going back to {}", serving(to)),
            (_, Some(active)) if view.ready_at(active) > 0 => {
                format!("serving {}", serving(active))
            }
            (_, _) => "serving nothing".to_owned(),
        };
        return (
            ServiceState::Degraded,
            format!("{}: {does}, the file wants {wanted}", hold.reason),
        );
    }
    let blocked = course.blocked_by.as_ref().map(|by| {
        let group = view.service.rollout_group.as_ref().map_or("", |group| group.as_str());
        format!("kept back with its group {group}, of which {by} failed")
    });
    let held = course.hold.as_ref().map(|hold| hold.reason.clone());
    let failing = || course.failing.as_ref().map(|failing| failing.reason.clone());
    if let Some(reason) = held.or_else(failing).or(blocked) {
        let goes_to = || course.aim().map(|aim| aim.placement.clone());
        let turns_to = draft.backend.as_ref().map(placement_of).or_else(goes_to);
        let serves = match (turns_to.as_ref(), active) {
            (Some(to), Some(active)) if to != active => format!("going back to {}", serving(to)),
            (_, Some(active)) if view.ready_at(active) > 0 => {
                format!("still serving {}", serving(active))
            }
            (Some(to), Some(_)) if course.failed_release() != Some(&to.release) => {
                format!("going back to {}", serving(to))
            }
            (_, _) => "nothing else to serve".to_owned(),
        };
        return (ServiceState::Held, format!("{reason}; {serves}"));
    }
    let Some(aim) = course.aim() else {
        let lacks_room = waiting_on.iter().any(|wait| matches!(wait, WaitingOn::DiskSpace { .. }));
        let reason = if lacks_room { "no room for its image" } else { "pulling the image" };
        return (ServiceState::Progressing, reason.to_owned());
    };
    let is_active = active == Some(&aim.placement);
    let all_ready = view.all_ready_at(&aim.placement);
    let only_time = waiting_on.iter().all(WaitingOn::is_settled);
    if let Some(note) = &draft.note {
        return (ServiceState::Degraded, note.clone());
    }
    if is_active
        && let Some(failed) = gates::failed(view, &aim.placement.release, Phase::PostPromotion)
    {
        let why_not = match view.service.rollout.auto_revert {
            true => "there is nothing ready to go back to",
            false => "the file says `auto_revert: false`",
        };
        return (ServiceState::Degraded, format!("{}; {why_not}", failed.reason));
    }
    match (is_active, all_ready) {
        (true, true) if draft.steps.is_empty() && only_time => {
            (ServiceState::Settled, "runs as declared".to_owned())
        }
        (true, true) => (ServiceState::Progressing, "settling".to_owned()),
        (true, false) if view.at(&aim.placement).any(|r| r.standing == Standing::Impostor) => {
            let text = "a replica runs another image than its labels say".to_owned();
            (ServiceState::Degraded, text)
        }
        (true, false) => {
            let ready = view.ready_at(&aim.placement);
            let of = view.service.replicas;
            let is_baking = verdict::bake_ends(view, &aim.placement).is_some();
            // After a start of ours nobody has probed yet, and nothing is wrong.
            let is_unprobed = |r: &Replica| r.standing == Standing::Pending { why: None };
            let may_all_be_well = count(view.at(&aim.placement)) >= of
                && view.at(&aim.placement).all(|r| r.is_ready() || is_unprobed(r));
            let state = match is_baking || may_all_be_well {
                true => ServiceState::Progressing,
                false => ServiceState::Degraded,
            };
            (state, format!("{ready} of {of} replicas ready"))
        }
        (false, _) if waits_for_promotion(waiting_on) => {
            let service = &view.service.name;
            let serves = match active {
                Some(active) => format!("; serving {}", serving(active)),
                None => String::new(),
            };
            let slot = aim.placement.slot;
            let text =
                format!("ready in {slot}, to be promoted: quaymaster promote {service}{serves}");
            (ServiceState::Progressing, text)
        }
        (false, _) => match active {
            Some(active) if view.ready_at(active) > 0 => {
                let origin = match aim.origin {
                    Origin::Declared => "rolling out",
                    Origin::Fallback => "going back",
                };
                (ServiceState::Progressing, format!("{origin}; serving {}", serving(active)))
            }
            Some(active) if view.at(active).any(Replica::may_become_ready) => {
                (ServiceState::Progressing, format!("probing {}", serving(active)))
            }
            Some(_) if view.service.rollout.strategy == Strategy::Recreate => {
                (ServiceState::Progressing, "one stops, the other starts".to_owned())
            }
            Some(_) => (ServiceState::Degraded, "nothing is ready to serve".to_owned()),
            None => (ServiceState::Progressing, "first deployment".to_owned()),
        },
    }
}

fn waits_for_promotion(waiting_on: &[WaitingOn]) -> bool {
    waiting_on.iter().any(|wait| matches!(wait, WaitingOn::Promotion { .. }))
}

/// Returns the standing of a service that the file does not declare.
pub fn of_orphan(waiting_on: Vec<WaitingOn>) -> ServicePlan {
    let reason = "not in the file any more: being removed".to_owned();
    ServicePlan { state: ServiceState::Progressing, reason, waiting_on, target: None }
}

/// Returns the standing of a service while the engine cannot be seen.
pub fn unseen(world: World, service: &Service) -> ServicePlan {
    let why = why_unknown(&world.seen.containers).unwrap_or_default();
    let remembered = world.memory.services.get(&service.name);
    let target = remembered.and_then(|memory| memory.active.clone()).map(|active| active.release);
    ServicePlan {
        state: ServiceState::Unknown,
        reason: "Docker cannot be seen: nothing moves".to_owned(),
        waiting_on: vec![WaitingOn::Unknown { part: "Docker".to_owned(), why }],
        target,
    }
}
