//! The prober's desk: each watched replica is probed on its own schedule.

use std::collections::BTreeMap;

use crate::{
    domain::{ContainerId, Probe, snapshot::ProbeStanding},
    ports::ProbeTarget,
};

/// Milliseconds until the first probe of a new target has answered.
const FIRST_ANSWER: i64 = 3;
const FIRST_PAUSE: i64 = 100;

#[derive(Clone, Debug)]
struct Watched {
    target: ProbeTarget,
    next_at: i64,
    pause: i64,
    passes: u32,
    failures: u32,
    standing: ProbeStanding,
}

/// Lives and dies with the controller's process.
#[derive(Clone, Debug, Default)]
pub struct ProbeDesk {
    watched: BTreeMap<ContainerId, Watched>,
}

impl ProbeDesk {
    pub fn watch(&mut self, targets: BTreeMap<ContainerId, ProbeTarget>, now: i64) {
        self.watched.retain(|id, watched| targets.get(id) == Some(&watched.target));
        for (id, target) in targets {
            self.watched.entry(id).or_insert_with(|| Watched {
                target,
                next_at: now + FIRST_ANSWER,
                pause: FIRST_PAUSE,
                passes: 0,
                failures: 0,
                standing: ProbeStanding { ready: false, probes: 0, last_failure: None },
            });
        }
    }

    pub fn standings(&self) -> BTreeMap<ContainerId, ProbeStanding> {
        let probed = self.watched.iter().filter(|(_, watched)| watched.standing.probes > 0);
        probed.map(|(id, watched)| (id.clone(), watched.standing.clone())).collect()
    }

    pub fn next_event(&self) -> Option<i64> {
        self.watched.values().map(|watched| watched.next_at).min()
    }

    /// Makes the probes that are due; returns whether one changed a standing in
    /// a way that a pass would want to know of.
    pub fn advance(
        &mut self,
        now: i64,
        mut passes: impl FnMut(&ContainerId, &ProbeTarget) -> bool,
    ) -> bool {
        let mut news = false;
        for (id, watched) in &mut self.watched {
            if watched.next_at > now {
                continue;
            }
            let before = (watched.standing.ready, watched.standing.probes.min(1));
            watched.note(passes(id, &watched.target));
            news |= before != (watched.standing.ready, watched.standing.probes.min(1));
            let interval = millis(watched.target.probe.interval);
            watched.next_at = now
                + if watched.standing.ready {
                    interval
                } else {
                    let pause = watched.pause.min(interval).max(1);
                    watched.pause = watched.pause.saturating_mul(2);
                    pause
                };
        }
        news
    }
}

impl Watched {
    fn note(&mut self, passed: bool) {
        let Probe { healthy_after, unhealthy_after, .. } = self.target.probe;
        self.standing.probes += 1;
        if passed {
            self.passes += 1;
            self.failures = 0;
            if self.passes >= healthy_after {
                self.standing.ready = true;
                self.standing.last_failure = None;
            }
        } else {
            self.passes = 0;
            self.failures += 1;
            self.standing.last_failure = Some("connection refused".to_owned());
            if self.failures >= unhealthy_after {
                self.standing.ready = false;
                self.pause = FIRST_PAUSE;
            }
        }
    }
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
