//! How fast something that failed is tried again: a function of attempts and time.

use std::time::Duration;

use crate::domain::{Timestamp, memory::Attempts, snapshot::FailureKind};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Returns the pause after `count` failures in a row: half a second, doubled
/// each time, at most a minute.
pub fn pause(count: u32) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

/// Returns when the next try may start.
pub fn next_try(attempts: &Attempts) -> Timestamp {
    let asked = match attempts.failure.kind {
        FailureKind::RateLimited { retry_after } => retry_after.unwrap_or(LONGEST_PAUSE),
        FailureKind::Transient
        | FailureKind::Refused
        | FailureKind::NoSuchImage
        | FailureKind::NameTaken => Duration::ZERO,
    };
    attempts.last_at + pause(attempts.count).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_slows_to_a_minute() {
        let pauses: Vec<u64> = (1..=9).map(|n| pause(n).as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    }
}
