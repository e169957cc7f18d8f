//! Which release answers a route: one at a time (S6), and never one that is
//! not ready (S1).

use std::collections::BTreeSet;

use crate::domain::{
    Backend, Container, ReleaseId, Strategy,
    memory::{Placement, Traffic},
    snapshot::ContainerState,
};

use super::{
    gates,
    view::{Replica, Standing, View, placement_of},
};

/// Whether the strategy says that the route may move to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlipGate {
    Open,
    Closed,
}

/// Returns what the route is to point at; None leaves it as it stands.
///
/// In this order: the target once its flip gate is open; what is routed as
/// long as any of it is ready; the standby when nothing of that is; and where
/// the proxy has lost the route, what it had before.
pub fn backend(
    view: &View,
    target: Option<&Placement>,
    gate: FlipGate,
    failed: Option<&ReleaseId>,
) -> Option<Backend> {
    view.service.route.as_ref()?;
    view.world.proxy()?;
    if gate == FlipGate::Closed
        && let Some(narrowed) = still_declared(view)
    {
        return Some(narrowed);
    }
    let placement = choose(view, target, gate, failed)?;
    let dials = dials(view, &placement, view.replicas_at(&placement));
    (!dials.is_empty()).then(|| backend_of(placement, dials))
}

/// Returns what is left of a route to addresses elsewhere of which the file now says
/// others for the same slot: those that it still names, and that answer.
fn still_declared(view: &View) -> Option<Backend> {
    view.service.upstreams.as_ref()?;
    let routed = view.routed()?;
    if view.at(&placement_of(routed)).next().is_some() {
        return None;
    }
    let in_slot = view.replicas.iter().filter(|it| it.container.slot == routed.slot);
    let ready = in_slot.filter(|it| it.is_ready()).filter_map(|it| view.dial(it));
    let dials: BTreeSet<_> = ready.filter(|dial| routed.dials.contains(dial)).collect();
    (!dials.is_empty()).then(|| Backend { dials, ..routed.clone() })
}

/// Returns whether another container has got an address of a backend, and nothing
/// of the service is ready: the engine gives the address of a removed container
/// away. Such a route is better gone. A service that is recreated hands its
/// address on to itself.
pub fn has_passed_to_others(view: &View, backend: &Backend) -> bool {
    if view.service.upstreams.is_some() || view.replicas.iter().any(Replica::is_ready) {
        return false;
    }
    let is_other = |container: &&Container| {
        container.service != view.service.name
            || (view.service.rollout.strategy != Strategy::Recreate
                && (container.slot, &container.release) != (backend.slot, &backend.release))
    };
    let containers = view.world.seen.containers.known().map_or(&[][..], Vec::as_slice);
    let mut others = containers.iter().filter(is_other).flat_map(|other| other.addresses.values());
    others.any(|address| backend.dials.iter().any(|dial| dial.ip() == *address))
}

/// Returns the backend of a placement at these addresses.
pub fn backend_of(placement: Placement, dials: BTreeSet<std::net::SocketAddr>) -> Backend {
    Backend { slot: placement.slot, release: placement.release, dials }
}

fn choose(
    view: &View,
    target: Option<&Placement>,
    gate: FlipGate,
    failed: Option<&ReleaseId>,
) -> Option<Placement> {
    if let (Some(target), FlipGate::Open) = (target, gate) {
        return Some(target.clone());
    }
    let routed = view.routed_placement();
    match &routed {
        Some(routed) if !is_down(view, routed) => return Some(routed.clone()),
        Some(_) => {}
        // The route is lost: what it pointed at gets it back. That is no move,
        // so it need not wait for probes.
        None => {
            let before = view.lost_placement();
            let runs = |placement: &Placement| view.at(placement).any(|replica| replica.runs());
            if let Some(before) = before.filter(runs) {
                return Some(before);
            }
        }
    }
    let earlier = [&view.memory.active, &view.memory.previous];
    let standby = earlier
        .into_iter()
        .flatten()
        .find(|placement| Some(&placement.release) != failed && view.ready_at(placement) > 0);
    standby.cloned().or(routed).or_else(|| first_started(view, target, failed))
}

/// Returns whether nothing that the route points at can take requests.
pub fn is_lost(view: &View) -> bool {
    view.routed_placement().is_some_and(|routed| is_down(view, &routed))
}

/// Returns whether nothing of a placement can take requests, for certain: a
/// replica that was not probed often enough to tell is given the benefit.
fn is_down(view: &View, placement: &Placement) -> bool {
    !view.at(placement).any(Replica::may_become_ready)
}

/// With proxy and memory both gone: the ready release that started first. The
/// target itself is not among them: it waits for its flip gate. Nor is what failed,
/// which may well be ready: a gate may have refused it.
fn first_started(
    view: &View,
    target: Option<&Placement>,
    failed: Option<&ReleaseId>,
) -> Option<Placement> {
    let ready = view.replicas.iter().filter(|replica| replica.is_ready());
    ready
        .filter(|replica| target.is_none_or(|target| !replica.is_at(target)))
        .filter(|replica| failed != Some(&replica.container.release))
        .filter(|replica| may_have_served(view, replica))
        .min_by_key(|replica| replica.container.created_at)
        .map(|replica| replica.placement())
}

/// Returns whether a replica ran before anybody looked, or may be promoted by its
/// gates: a superseded release that still had to prove itself gets no route, nor one
/// that was to be promoted with its group.
fn may_have_served(view: &View, replica: &Replica) -> bool {
    let promotes_alone = view.service.rollout_group.is_none();
    replica.memory.traffic != Traffic::NeverRouted
        || (promotes_alone && gates::have_passed_before_promotion(view, &replica.container.release))
}

/// Returns the addresses of a placement's first `limit` replicas: those that
/// are ready, else those that run and were trusted before.
pub fn dials(view: &View, placement: &Placement, limit: u32) -> BTreeSet<std::net::SocketAddr> {
    let at_most = usize::try_from(limit).unwrap_or(usize::MAX);
    let ready: BTreeSet<_> = view.ready_dials(placement).take(at_most).collect();
    if !ready.is_empty() {
        return ready;
    }
    // None is ready. A replica that has never had traffic gets none before it is.
    let runs = |state| matches!(state, ContainerState::Running { .. });
    let running: Vec<&Replica> = view
        .at(placement)
        .filter(|replica| runs(replica.container.state) && replica.standing != Standing::Leaving)
        .collect();
    let trusted: Vec<&Replica> = match running.iter().any(|replica| view.is_routed(replica)) {
        true => running.into_iter().filter(|replica| view.is_routed(replica)).collect(),
        false => running.into_iter().filter(|r| r.memory.traffic != Traffic::NeverRouted).collect(),
    };
    trusted.into_iter().filter_map(|replica| view.dial(replica)).take(at_most).collect()
}
