//! Whether a request can still be in flight to a replica that no route names.
//!
//! It is drained once the proxy has counted none three times in a row, and at
//! the latest when its service's `drain_timeout` has passed. A proxy that cannot
//! count, or that may have lost count, leaves the whole time to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{
    Container, Snapshot, Stack, Timestamp,
    memory::{Ebb, Listing, Traffic},
    snapshot::{ContainerState, InFlight, ProxyState},
};

use super::{
    WaitingOn,
    orphans::ORPHAN_DRAIN,
    view::{Replica, World},
};

/// How many counts of zero in a row are believed: a request that was sent the old
/// way just before the route moved may be counted a moment after it.
const ZEROS: u32 = 3;

/// How long after one count the next one says anything new.
pub const COUNT_INTERVAL: Duration = Duration::from_millis(250);

/// What is known of the requests in flight to replicas that drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    Requests(u64),
    /// The proxy cannot tell: the whole time passes.
    Untold,
    /// The proxy was not asked, or did not answer.
    Unread,
}

/// Returns when a replica will be drained at the latest; None if it is.
pub fn drained_at(replica: &Replica, drain_timeout: Duration, now: Timestamp) -> Option<Timestamp> {
    if !replica.runs() {
        return None;
    }
    match replica.memory.traffic {
        Traffic::NeverRouted => None,
        Traffic::Routed => Some(now + drain_timeout),
        Traffic::UnroutedSince(_) if replica.memory.ebb.zeros >= ZEROS => None,
        Traffic::UnroutedSince(since) => Some(since + drain_timeout).filter(|end| *end > now),
    }
}

/// Has a service wait for a replica to be drained: one wait a slot, until the
/// last of its replicas is, with all their requests.
pub fn wait(
    world: World,
    replica: &Replica,
    drain_timeout: Duration,
    until: Timestamp,
    waiting_on: &mut Vec<WaitingOn>,
) {
    let container = replica.container;
    let count = count(world.seen, container, &replica.memory.ebb, drain_timeout, world.at());
    let of_slot = waiting_on.iter_mut().find_map(|wait| {
        let WaitingOn::Drain { slot, until, in_flight } = wait else { return None };
        (*slot == container.slot).then_some((until, in_flight))
    });
    match of_slot {
        Some((latest, all)) => {
            *latest = until.max(*latest);
            *all = all.and(count);
        }
        None => {
            waiting_on.push(WaitingOn::Drain { slot: container.slot, until, in_flight: count });
        }
    }
}

/// Returns how the requests of a container run out, as far as this pass shows.
/// Each count is taken into account once.
pub fn follow(
    stack: &Stack,
    seen: &Snapshot,
    container: &Container,
    traffic: Traffic,
    mut ebb: Ebb,
    now: Timestamp,
) -> Ebb {
    if let Some(proxy) = seen.proxy.known() {
        ebb.listing = listing(proxy, container, ebb.listing, now);
    }
    if traffic == Traffic::NeverRouted {
        // Nothing was ever sent to it, so no count of it can have been lost.
        ebb.listing = Listing::Kept;
    }
    match traffic {
        Traffic::NeverRouted | Traffic::Routed => {
            return Ebb { zeros: 0, counted_at: None, listing: ebb.listing };
        }
        Traffic::UnroutedSince(_) => {}
    }
    let service = stack.services.get(&container.service);
    let drain_timeout = service.map_or(ORPHAN_DRAIN, |service| service.rollout.drain_timeout);
    match count(seen, container, &ebb, drain_timeout, now) {
        Count::Unread => {}
        Count::Requests(0) => {
            let is_news = ebb.counted_at.is_none_or(|at| at + COUNT_INTERVAL <= now);
            if is_news && ebb.zeros < ZEROS {
                ebb.zeros += 1;
                ebb.counted_at = Some(now);
            }
        }
        Count::Requests(_) | Count::Untold => {
            ebb.zeros = 0;
            ebb.counted_at = None;
        }
    }
    ebb
}

/// Returns whether the proxy counts all requests that are in flight to a
/// container: those that it had when the configuration stopped naming it are
/// not in the count that begins when it is named again.
fn listing(proxy: &ProxyState, container: &Container, before: Listing, now: Timestamp) -> Listing {
    if container.addresses.is_empty() {
        return before;
    }
    let is_named = proxy.dials().any(|dial| container.dials().any(|own| own == *dial));
    match (is_named, before) {
        (true, Listing::Dropped) => Listing::BackSince(now),
        (true, Listing::Kept | Listing::BackSince(_)) => before,
        (false, Listing::Kept | Listing::BackSince(_) | Listing::Dropped) => Listing::Dropped,
    }
}

fn count(
    seen: &Snapshot,
    container: &Container,
    ebb: &Ebb,
    drain_timeout: Duration,
    now: Timestamp,
) -> Count {
    let Some(in_flight) = seen.in_flight.known() else { return Count::Unread };
    match ebb.listing {
        Listing::BackSince(at) if now < at + drain_timeout => return Count::Untold,
        Listing::Kept | Listing::Dropped | Listing::BackSince(_) => {}
    }
    match requests_to(container, in_flight) {
        Some(requests) => Count::Requests(requests),
        None => Count::Untold,
    }
}

/// Returns how many requests are in flight to a container, at whichever of its
/// addresses the proxy knows; None if it knows none of them.
pub fn requests_to(container: &Container, in_flight: &InFlight) -> Option<u64> {
    match container.state {
        ContainerState::Running { .. } => {}
        // It still runs, but nobody says at which address.
        ContainerState::Restarting | ContainerState::Paused => return None,
        ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Removing => {
            return Some(0);
        }
    }
    container.dials().filter_map(|dial| in_flight.to(&dial)).reduce(u64::saturating_add)
}

impl Count {
    /// Returns what is known of both together.
    fn and(self, other: Count) -> Count {
        match (self, other) {
            (Count::Requests(one), Count::Requests(more)) => {
                Count::Requests(one.saturating_add(more))
            }
            (Count::Untold, _) | (_, Count::Untold) => Count::Untold,
            (Count::Unread, _) | (_, Count::Unread) => Count::Unread,
        }
    }
}
