//! The gatekeeper's desk: each watched gate is measured at its own interval.

use std::collections::BTreeMap;

use crate::domain::{
    GateKey, GateTarget,
    snapshot::{Measured, Measurement},
};

/// Milliseconds until the first measurement of a new target has come out.
const FIRST_ANSWER: i64 = 5;

/// How the measurements of a release's gates come out, one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GateFate {
    #[default]
    Passes,
    Fails,
    /// Nobody answers this many times, then it passes.
    PassesAfter(u32),
    /// It passes this many times, then it fails.
    FailsAfter(u32),
    NeverAnswers,
}

impl GateFate {
    fn measure(self, nth: u32) -> Measurement {
        let passed = || Measurement::Passed("1".to_owned());
        let failed = || Measurement::Failed("0".to_owned());
        let silence = || Measurement::Unanswered("connection refused".to_owned());
        match self {
            GateFate::Passes => passed(),
            GateFate::Fails => failed(),
            GateFate::PassesAfter(count) if nth < count => silence(),
            GateFate::PassesAfter(_) => passed(),
            GateFate::FailsAfter(count) if nth < count => passed(),
            GateFate::FailsAfter(_) => failed(),
            GateFate::NeverAnswers => silence(),
        }
    }
}

#[derive(Clone, Debug)]
struct Watched {
    target: GateTarget,
    next_at: i64,
    count: u32,
    measured: Option<Measured>,
}

/// Lives and dies with the controller's process.
#[derive(Clone, Debug, Default)]
pub struct GateDesk {
    watched: BTreeMap<GateKey, Watched>,
}

impl GateDesk {
    pub fn watch(&mut self, targets: BTreeMap<GateKey, GateTarget>, now: i64) {
        self.watched.retain(|key, watched| targets.get(key) == Some(&watched.target));
        for (key, target) in targets {
            self.watched.entry(key).or_insert_with(|| Watched {
                target,
                next_at: now + FIRST_ANSWER,
                count: 0,
                measured: None,
            });
        }
    }

    pub fn measured(&self) -> BTreeMap<GateKey, Measured> {
        let measured = self.watched.iter();
        measured.filter_map(|(key, it)| Some((key.clone(), it.measured.clone()?))).collect()
    }

    pub fn next_event(&self) -> Option<i64> {
        self.watched.values().map(|watched| watched.next_at).min()
    }

    /// Makes the measurements that are due; returns whether there were any.
    pub fn advance(&mut self, now: i64, fate: impl Fn(&GateTarget) -> GateFate) -> bool {
        let mut news = false;
        for watched in self.watched.values_mut().filter(|watched| watched.next_at <= now) {
            let last = fate(&watched.target).measure(watched.count);
            let before = watched.measured.take();
            let (passed, failed) = before.map_or((0, 0), |before| (before.passed, before.failed));
            let (passed, failed) = match last {
                Measurement::Passed(_) => (passed + 1, failed),
                Measurement::Failed(_) => (passed, failed + 1),
                Measurement::Unanswered(_) => (passed, failed),
            };
            watched.measured = Some(Measured { passed, failed, last });
            watched.count += 1;
            let interval = i64::try_from(watched.target.gate.interval.as_millis());
            watched.next_at = now + interval.unwrap_or(i64::MAX).max(1);
            news = true;
        }
        news
    }
}
