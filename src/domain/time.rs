//! The one notion of time that decisions use.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A point on the controller's own clock, in milliseconds.
///
/// It only ever runs forward and knows no date: setting the host's clock a year
/// ahead or back moves no deadline. It counts from the host's boot, so a stored
/// value is only comparable after [`crate::domain::Memory::rebase`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time that has passed since `earlier`; zero if it lies ahead.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The moment of a pass: what decisions count with, and what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub at: Timestamp,
    /// Wall-clock milliseconds since 1970. Never decides anything.
    pub unix_ms: i64,
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Duration) -> Timestamp {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, span: Duration) -> Timestamp {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1000, (self.0 % 1000).abs())
    }
}

/// Returns a span as people write it in the file: `450ms`, `12s`, `3m`, `1h30m`.
pub fn human(span: Duration) -> String {
    let total = span.as_secs();
    if total == 0 {
        return format!("{}ms", span.as_millis());
    }
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let parts = [(hours, "h"), (minutes, "m"), (seconds, "s")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_they_are_written() {
        let written = [(450, "450ms"), (12_000, "12s"), (180_000, "3m"), (5_400_000, "1h30m")];
        for (millis, text) in written {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn an_earlier_now_is_no_time_passed() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
