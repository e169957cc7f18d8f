//! Services that are promoted together, or not at all.
//!
//! A group has no state of its own: whether its members are ready, and whether one
//! of them keeps the others back, is read off them in each pass.

use crate::domain::ServiceName;

use super::{
    WaitingOn,
    aim::{Aim, own_course},
    gates, verdict,
    view::View,
};

/// Returns whether every other member could be promoted now, or need not be.
pub fn is_ready(view: &View) -> bool {
    others(view).all(|other| is_ready_alone(&other))
}

/// Returns a wait for each member that is not ready yet.
pub fn waits(view: &View) -> Vec<WaitingOn> {
    let late = others(view).filter(|other| !is_ready_alone(other));
    late.map(|other| WaitingOn::Group { service: other.service.name.clone() }).collect()
}

/// Returns the member that keeps a declared release from being promoted, or from
/// staying so: one whose own release failed. What has proved itself stays.
pub fn blocked_by(view: &View, declared: Option<&Aim>) -> Option<ServiceName> {
    if declared.is_some_and(|aim| view.memory.good.contains(&aim.placement.release)) {
        return None;
    }
    let failed = |other: &View| {
        let course = own_course(other);
        course.hold.is_some() || course.failing.is_some()
    };
    others(view).find(failed).map(|other| other.service.name.clone())
}

/// Returns whether another member's release is still on trial: all prove themselves
/// together.
pub fn is_baking(view: &View) -> bool {
    others(view).any(|other| {
        other.active().is_some_and(|active| verdict::own_bake_ends(&other, &active).is_some())
    })
}

fn is_ready_alone(view: &View) -> bool {
    let course = own_course(view);
    course.declared.as_ref().is_some_and(|aim| gates::is_ready_alone(view, aim))
}

fn others<'a>(view: &View<'a>) -> impl Iterator<Item = View<'a>> {
    let world = view.world;
    let (own, group) = (&view.service.name, view.service.rollout_group.as_ref());
    let services = world.stack.services.values();
    let members = services.filter(move |other| {
        group.is_some() && other.rollout_group.as_ref() == group && other.name != *own
    });
    members.filter_map(move |other| View::of(world, &other.name))
}
