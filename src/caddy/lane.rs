//! The two lanes of a service in Caddy's configuration, and who has them.
//!
//! With a switch file Caddy's configuration has two lanes for a service, and
//! the file says which one answers. A release that comes in takes the lane that
//! does not answer, whatever its slot: so a swap within one slot is as much a
//! flip as one between slots, and what answered before keeps its lane, dialled
//! and ready to catch.
//!
//! Pure: how the lanes stand and what is wanted in, how they are to stand out.

use std::{collections::BTreeSet, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::domain::{Backend, RouteState, memory::Placement};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    One,
    Two,
}

impl Lane {
    pub const BOTH: [Lane; 2] = [Lane::One, Lane::Two];

    pub fn other(self) -> Lane {
        match self {
            Lane::One => Lane::Two,
            Lane::Two => Lane::One,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Lane::One => "1",
            Lane::Two => "2",
        }
    }
}

/// One of a thing for each lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair<T> {
    #[serde(rename = "1")]
    pub one: T,
    #[serde(rename = "2")]
    pub two: T,
}

impl<T> Pair<T> {
    pub fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::One => &self.one,
            Lane::Two => &self.two,
        }
    }

    pub fn set(&mut self, lane: Lane, value: T) {
        match lane {
            Lane::One => self.one = value,
            Lane::Two => self.two = value,
        }
    }
}

/// What a switch file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sign {
    /// The lane that answers.
    pub lane: Lane,
    pub standby: Standby,
}

/// What the lane that does not answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standby {
    /// It gets what the other one cannot take.
    Catches,
    /// It gets nothing.
    Rests,
}

/// What the switch file's content says: the release that has each lane.
pub type Tenants = Pair<Option<Placement>>;

/// The addresses in each lane; none where the configuration lacks the lane.
pub type Dials = Pair<BTreeSet<SocketAddr>>;

/// How the lanes of one service stand, or are to stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    pub dials: Dials,
    pub tenants: Tenants,
    /// None while no switch file is there.
    pub sign: Option<Sign>,
}

impl Lanes {
    /// Returns whether Caddy's configuration has any lane of the service.
    pub fn are_configured(&self) -> bool {
        Lane::BOTH.iter().any(|lane| !self.dials.get(*lane).is_empty())
    }

    /// Returns what Caddy does with a request: where there is but one lane, it
    /// needs no sign. None where it has no lane, or no sign to choose by.
    pub fn answering(&self) -> Option<Sign> {
        match (self.dials.one.is_empty(), self.dials.two.is_empty()) {
            (true, true) => None,
            (false, true) => Some(Sign { lane: Lane::One, standby: Standby::Rests }),
            (true, false) => Some(Sign { lane: Lane::Two, standby: Standby::Rests }),
            (false, false) => self.sign,
        }
    }

    /// Returns who has the lane; None unless all of it can be told.
    pub fn backend(&self, lane: Lane) -> Option<Backend> {
        let Placement { slot, release } = self.tenants.get(lane).clone()?;
        let dials = self.dials.get(lane).clone();
        (!dials.is_empty()).then_some(Backend { slot, release, dials })
    }

    fn put(&mut self, lane: Lane, backend: &Backend) {
        self.dials.set(lane, backend.dials.clone());
        self.tenants.set(lane, Some(placement(backend)));
    }

    fn holds(&self, lane: Lane, backend: &Backend) -> bool {
        self.tenants.get(lane).as_ref() == Some(&placement(backend))
            || *self.dials.get(lane) == backend.dials
    }
}

/// Returns how a service's lanes are to stand that stand as `standing` now. `named`
/// is every address that any route of the table sends to.
///
/// A lane that answers keeps its addresses until it does not: where that
/// stands in the way of the standby, or of forgetting an address that somebody
/// else has by now, what is returned is a halt on the way, and the same question
/// asked from there leads on. It is the end once it returns what it was given.
pub fn settled(state: &RouteState, standing: &Lanes, named: &BTreeSet<SocketAddr>) -> Lanes {
    let answering = standing.answering().map(|sign| sign.lane);
    let lane = lane_for(&state.backend, standing, answering);
    let other = lane.other();
    let mut next = Lanes::default();
    next.put(lane, &state.backend);
    let mut standby = Standby::Rests;
    match &state.standby {
        Some(catches)
            if answering != Some(other) || standing.dials.get(other) == &catches.dials =>
        {
            next.put(other, catches);
            standby = Standby::Catches;
        }
        Some(_) | None => {
            let mut idle = standing.dials.get(other).clone();
            if answering != Some(other) {
                idle.retain(|dial| !named.contains(dial));
            }
            let tenant = standing.tenants.get(other).clone();
            next.tenants.set(other, tenant.filter(|_| !idle.is_empty()));
            next.dials.set(other, idle);
        }
    }
    next.sign = Some(Sign { lane, standby });
    next
}

/// Returns the lane that the release has already, or to whose addresses it came;
/// else the one that does not answer.
fn lane_for(backend: &Backend, standing: &Lanes, answering: Option<Lane>) -> Lane {
    let first = answering.or(standing.sign.map(|sign| sign.lane)).unwrap_or(Lane::One);
    let found = [first, first.other()].into_iter().find(|lane| standing.holds(*lane, backend));
    found.or(answering.map(Lane::other)).unwrap_or(first)
}

fn placement(backend: &Backend) -> Placement {
    Placement { slot: backend.slot, release: backend.release.clone() }
}
