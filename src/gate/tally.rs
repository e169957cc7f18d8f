//! How measurements add up, and which of them a decision may hang on.

use std::mem::discriminant;

use crate::domain::snapshot::{Measured, Measurement};

/// Returns the count with one more measurement. One without an answer counts for
/// neither side.
pub(super) fn after(before: Option<Measured>, last: Measurement) -> Measured {
    let (passed, failed) = before.map_or((0, 0), |before| (before.passed, before.failed));
    let (more_passed, more_failed) = match &last {
        Measurement::Passed(_) => (1, 0),
        Measurement::Failed(_) => (0, 1),
        Measurement::Unanswered(_) => (0, 0),
    };
    Measured {
        passed: passed.saturating_add(more_passed),
        failed: failed.saturating_add(more_failed),
        last,
    }
}

/// Returns whether a decision may hang on this measurement: the first, each that
/// failed, and each that came out otherwise than the one before. A gate that goes on
/// passing wakes nobody.
pub(super) fn is_news(before: Option<&Measured>, last: &Measurement) -> bool {
    let is_failure = matches!(last, Measurement::Failed(_));
    is_failure || before.is_none_or(|before| discriminant(&before.last) != discriminant(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays measurements (`+` passed, `-` failed, `?` unanswered); returns the count
    /// and which were news.
    fn played(measurements: &str) -> (u32, u32, String) {
        let mut measured = None;
        let mut news = String::new();
        for letter in measurements.chars() {
            let measurement = match letter {
                '+' => Measurement::Passed("HTTP 200".to_owned()),
                '-' => Measurement::Failed("HTTP 404".to_owned()),
                _ => Measurement::Unanswered("no answer".to_owned()),
            };
            news.push(if is_news(measured.as_ref(), &measurement) { '!' } else { '.' });
            measured = Some(after(measured, measurement));
        }
        let measured = measured.expect("something was played");
        (measured.passed, measured.failed, news)
    }

    #[test]
    fn every_answer_counts_and_silence_does_not() {
        assert_eq!(played("+-?+--?").0, 2);
        assert_eq!(played("+-?+--?").1, 3);
    }

    #[test]
    fn what_stays_as_it_was_is_no_news_unless_it_fails() {
        assert_eq!(played("+++").2, "!..");
        assert_eq!(played("---").2, "!!!");
        assert_eq!(played("???+").2, "!..!");
        assert_eq!(played("+?++-+").2, "!!!.!!");
    }
}
