//! What the clients saw, counted.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::client::Outcome;

/// So many failures are kept with their words; all are counted.
const MAX_FAILURES_KEPT: usize = 20;

pub struct Tally {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    failed: u64,
    reconnects: u64,
    /// By the first two words of the answer, `VERSION SLOT`.
    answers: BTreeMap<String, Answers>,
    failures: Vec<Failure>,
}

/// When the first and the last request with this answer were sent.
struct Answers {
    count: u64,
    first_ms: u128,
    last_ms: u128,
}

struct Failure {
    after_ms: u128,
    what: String,
}

impl Tally {
    pub fn new() -> Tally {
        Tally { began: Instant::now(), counts: Mutex::default() }
    }

    /// Counts one request that was sent at `asked`.
    pub fn note(&self, asked: Instant, outcome: Outcome) {
        let sent_ms = asked.duration_since(self.began).as_millis();
        let mut counts = self.lock();
        counts.requests += 1;
        counts.reconnects += u64::from(outcome.reconnected);
        let what = match outcome.answer {
            Ok(answer) if answer.status == 200 => {
                let label = label(&answer.body);
                let seen = counts.answers.entry(label).or_insert(Answers {
                    count: 0,
                    first_ms: sent_ms,
                    last_ms: sent_ms,
                });
                seen.count += 1;
                seen.first_ms = seen.first_ms.min(sent_ms);
                seen.last_ms = seen.last_ms.max(sent_ms);
                return;
            }
            Ok(answer) => format!("status {}", answer.status),
            Err(why) => why.to_string(),
        };
        counts.failed += 1;
        if counts.failures.len() < MAX_FAILURES_KEPT {
            counts.failures.push(Failure { after_ms: sent_ms, what });
        }
    }

    pub fn failed(&self) -> u64 {
        self.lock().failed
    }

    /// Returns everything as one line of JSON.
    pub fn json(&self) -> String {
        let counts = self.lock();
        let answers = counts.answers.iter().map(|(label, seen)| {
            let Answers { count, first_ms, last_ms } = seen;
            format!(
                r#"{}:{{"count":{count},"first_ms":{first_ms},"last_ms":{last_ms}}}"#,
                quoted(label)
            )
        });
        let failures = counts.failures.iter().map(|failure| {
            format!(r#"{{"after_ms":{},"what":{}}}"#, failure.after_ms, quoted(&failure.what))
        });
        format!(
            r#"{{"requests":{},"failed":{},"reconnects":{},"ms":{},"answers":{{{}}},"failures":[{}]}}"#,
            counts.requests,
            counts.failed,
            counts.reconnects,
            self.began.elapsed().as_millis(),
            answers.collect::<Vec<_>>().join(","),
            failures.collect::<Vec<_>>().join(","),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Returns a JSON string: too little is needed here for a whole JSON crate.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_and_controls_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
