//! What the clients go through.

use std::fmt;

use super::stand::{Measured, Release, Stand};

/// Something that happens so many times, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    Flips(usize),
    Deploys(usize),
    Rollbacks(usize),
    Kills(usize),
}

impl Phase {
    pub fn times(self) -> usize {
        match self {
            Phase::Flips(times)
            | Phase::Deploys(times)
            | Phase::Rollbacks(times)
            | Phase::Kills(times) => times,
        }
    }

    /// Lets it happen under traffic; everything is settled at its end.
    pub fn measure(self, stand: &mut Stand) -> Measured {
        match self {
            Phase::Flips(times) => {
                // Now both slots are warm.
                let other = stand.deploy();
                stand.under_traffic(|stand| flip(stand, other, times))
            }
            Phase::Deploys(times) => stand.under_traffic(|stand| deploy(stand, times)),
            Phase::Rollbacks(times) => stand.under_traffic(|stand| roll_back(stand, times)),
            Phase::Kills(times) => stand.under_traffic(|stand| kill(stand, times)),
        }
    }
}

/// There and back, between the two releases that are warm.
fn flip(stand: &mut Stand, mut other: Release, times: usize) {
    for _ in 0..times {
        other = stand.declare(other);
    }
    stand.until_settled();
}

/// A new release, settled each time.
fn deploy(stand: &mut Stand, times: usize) {
    for _ in 0..times {
        stand.deploy();
        stand.until_settled();
    }
}

/// A new release, taken back as soon as it serves.
fn roll_back(stand: &mut Stand, times: usize) {
    for _ in 0..times {
        let before = stand.deploy();
        stand.roll_back_to(before);
    }
    // The file declares what was taken back: what serves is to be declared.
    stand.deploy();
    stand.until_settled();
}

fn kill(stand: &mut Stand, times: usize) {
    for _ in 0..times {
        stand.kill_one();
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (times, what) = match self {
            Phase::Flips(times) => (times, "flips"),
            Phase::Deploys(times) => (times, "deploys"),
            Phase::Rollbacks(times) => (times, "rollbacks"),
            Phase::Kills(times) => (times, "killed replicas"),
        };
        write!(f, "{times} {what}")
    }
}
