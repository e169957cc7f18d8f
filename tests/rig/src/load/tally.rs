//! What the clients of one kind noticed, counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// So many different reasons are kept; what has another one is counted all the same.
const MAX_REASONS_KEPT: usize = 20;

/// A reason is told in so many characters.
const MAX_REASON_CHARS: usize = 120;

/// What became of one request, stream or WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Right,
    Failed(String),
    Cut(String),
    Goodbye,
}

/// What each of them means: `benches/README.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
    pub cut: u64,
    pub goodbyes: u64,
    /// Why something failed, was dropped or cut, and how often.
    pub reasons: BTreeMap<String, u64>,
}

#[derive(Default)]
pub struct Tally {
    counts: Mutex<Counts>,
}

impl Tally {
    /// Counts one that was sent, by its end: none can be counted and lost.
    pub fn note(&self, outcome: Outcome) {
        let mut counts = self.lock();
        counts.sent += 1;
        match outcome {
            Outcome::Right => {}
            Outcome::Failed(why) => {
                counts.failed += 1;
                counts.keep(&format!("failed: {why}"));
            }
            Outcome::Cut(why) => {
                counts.cut += 1;
                counts.keep(&format!("cut: {why}"));
            }
            Outcome::Goodbye => counts.goodbyes += 1,
        }
    }

    /// Counts a connection that the other side ended.
    pub fn dropped(&self, why: &str) {
        let mut counts = self.lock();
        counts.dropped += 1;
        counts.keep(&format!("dropped: {why}"));
    }

    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Returns whether nothing was failed, dropped, cut or told goodbye.
    pub fn is_spotless(&self) -> bool {
        self.failed == 0 && self.dropped == 0 && self.cut == 0 && self.goodbyes == 0
    }

    fn keep(&mut self, reason: &str) {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        if self.reasons.len() < MAX_REASONS_KEPT || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}
