//! How probe results add up to ready or not, and how soon to ask again.

use std::time::Duration;

use crate::domain::{Probe, snapshot::ProbeStanding};

/// The pause after the first probe of a replica that is not ready yet. A
/// replica that starts in 300 ms should not wait 10 s to be noticed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What each pause is longer than the one before, until it reaches the interval.
const PAUSE_GROWTH: f64 = 1.5;

/// The longest pause while a replica that was ready fails.
const ALARMED_PAUSE: Duration = Duration::from_secs(1);

/// The results of one replica's probes, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    interval: Duration,
    healthy_after: u32,
    unhealthy_after: u32,
    pub ready: bool,
    pub probes: u32,
    /// Whether it has been ready at any time.
    was_ready: bool,
    /// Of the same kind as the last result, in a row.
    streak: u32,
    /// Why the last probe failed; None if it passed.
    failing: Option<String>,
    /// Why the last probe that failed did, since it was last ready.
    last_failure: Option<String>,
}

impl Standing {
    /// Returns the standing of a replica that was never probed.
    pub fn new(probe: &Probe) -> Standing {
        Standing {
            interval: probe.interval,
            healthy_after: probe.healthy_after.max(1),
            unhealthy_after: probe.unhealthy_after.max(1),
            ready: false,
            probes: 0,
            was_ready: false,
            streak: 0,
            failing: None,
            last_failure: None,
        }
    }

    /// Returns the standing with one more result; the error says why for people.
    pub fn after(self, result: Result<(), String>) -> Standing {
        let passed = result.is_ok();
        let same_as_before = self.probes > 0 && passed == self.failing.is_none();
        let streak = if same_as_before { self.streak.saturating_add(1) } else { 1 };
        let ready = if passed {
            self.ready || streak >= self.healthy_after
        } else {
            self.ready && streak < self.unhealthy_after
        };
        let failing = result.err();
        let last_failure = match (&failing, ready) {
            (Some(failure), _) => Some(failure.clone()),
            (None, true) => None,
            (None, false) => self.last_failure,
        };
        Standing {
            ready,
            streak,
            failing,
            last_failure,
            probes: self.probes.saturating_add(1),
            was_ready: self.was_ready || ready,
            ..self
        }
    }

    /// Returns how long to wait before the next probe.
    pub fn pause(&self) -> Duration {
        match (self.ready, &self.failing, self.was_ready) {
            (true, None, _) => self.interval,
            (true, Some(_), _) | (false, _, true) => self.interval.min(ALARMED_PAUSE),
            (false, _, false) => self.early_pause(),
        }
    }

    fn early_pause(&self) -> Duration {
        // 100 ms × 1.5⁴⁰ is days: the exponent needs no more.
        let exponent = i32::try_from(self.probes.saturating_sub(1).min(40)).unwrap_or(40);
        FIRST_PAUSE.mul_f64(PAUSE_GROWTH.powi(exponent)).min(self.interval)
    }

    /// Returns what the planner is told.
    pub fn shown(&self) -> ProbeStanding {
        ProbeStanding {
            ready: self.ready,
            probes: self.probes,
            last_failure: self.last_failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ProbeCheck;

    fn fresh(interval_ms: u64) -> Standing {
        Standing::new(&Probe {
            check: ProbeCheck::Tcp { port: 80 },
            interval: Duration::from_millis(interval_ms),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
        })
    }

    /// Plays results: `+` passes, `-` fails.
    fn played(results: &str) -> Standing {
        results.chars().fold(fresh(10_000), |standing, result| {
            standing.after(if result == '+' { Ok(()) } else { Err("HTTP 503".to_owned()) })
        })
    }

    #[test]
    fn readiness_takes_successes_in_a_row() {
        let ready_after =
            ["++", "-++", "+-++", "++-", "++--", "++--+", "++--+--", "++---++", "++---+-++"];
        let not_ready_after = ["", "+", "-", "+-+", "+-+-+-", "++---", "++---+", "++---+-+"];
        for results in ready_after {
            assert!(played(results).ready, "{results}");
        }
        for results in not_ready_after {
            assert!(!played(results).ready, "{results}");
        }
    }

    #[test]
    fn the_last_failure_is_told_until_the_replica_is_ready() {
        let told = |results| played(results).shown().last_failure.is_some();
        assert!(told("-") && told("-+") && told("++-") && told("++---+"));
        assert!(!told("") && !told("+") && !told("-++") && !told("++-+"));
    }

    #[test]
    fn every_probe_counts() {
        assert_eq!(played("+-+--").shown().probes, 5);
    }

    #[test]
    fn early_pauses_grow_to_the_interval() {
        let mut standing = fresh(1_000);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            standing = standing.after(Err("connection refused".to_owned()));
            pauses.push(standing.pause().as_millis());
        }
        assert_eq!(pauses, [100, 150, 225, 337, 506, 759, 1_000, 1_000]);
    }

    #[test]
    fn an_interval_below_the_first_pause_is_kept() {
        assert_eq!(fresh(20).after(Ok(())).pause(), Duration::from_millis(20));
    }

    #[test]
    fn a_replica_that_was_ready_and_fails_is_asked_again_within_a_second() {
        assert_eq!(played("++").pause(), Duration::from_secs(10));
        for results in ["++-", "++---", "++----------", "++---+"] {
            assert_eq!(played(results).pause(), Duration::from_secs(1), "{results}");
        }
    }

    #[test]
    fn counts_of_zero_mean_one() {
        let zero = Standing::new(&Probe {
            check: ProbeCheck::Tcp { port: 80 },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy_after: 0,
            unhealthy_after: 0,
        });
        assert!(!zero.ready);
        assert!(zero.clone().after(Ok(())).ready);
        assert!(!zero.after(Ok(())).after(Err("HTTP 500".to_owned())).ready);
    }
}
