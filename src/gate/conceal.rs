//! What is told of a measurement, without what must not be told (S9).
//!
//! Whoever is asked may send back what it was sent: an error page with the request's
//! headers in it, a value that is the key. So every text that comes from outside is
//! cut to one short line, and hidden altogether where a secret of the question is in
//! it.

use crate::domain::{
    Gate, GateCheck,
    gate::{HttpCheck, HttpTarget},
};

use crate::http::address;

/// The longest text that is told, in characters.
const MAX_CHARS: usize = 200;

/// Whatever is shorter is no secret, and hiding each `1` that stands in one would
/// hide every value.
const SHORTEST_SECRET: usize = 4;

const HIDDEN: &str = "(hidden: it holds a secret of the gate)";

/// What one gate's texts must not hold.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub fn of(gate: &Gate) -> Secrets {
        let mut found = Vec::new();
        match &gate.check {
            GateCheck::Http(HttpCheck { target, headers, .. }) => {
                for value in headers.values() {
                    // `Bearer` and such words are none; each part may be one.
                    found.push(value.reveal().to_owned());
                    found.extend(value.reveal().split([' ', ',', ';', '=']).map(str::to_owned));
                    found.extend(address::decoded_basic(value.reveal()));
                }
                match target {
                    HttpTarget::Url(url) => found.extend(address::secrets(url.reveal())),
                    HttpTarget::Replica { path, .. } => found.extend(address::query_secrets(path)),
                }
            }
            GateCheck::Prometheus { url, .. } => found.extend(address::secrets(url.reveal())),
            // The program may be told, its arguments not.
            GateCheck::Exec { command } => found.extend(command.iter().skip(1).cloned()),
            GateCheck::Job(_) => {}
        }
        found.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
        found.retain(|word| !matches!(word.as_str(), "Basic" | "Bearer"));
        Secrets(found)
    }

    /// Returns `text` as one line of at most `limit` characters, or word of why it is
    /// not told.
    pub fn excerpt(&self, text: &str, limit: usize) -> String {
        let line = one_line(text);
        // Looked for in both: a break within a secret must not save it.
        if self.0.iter().any(|secret| text.contains(secret) || line.contains(&one_line(secret))) {
            return HIDDEN.to_owned();
        }
        match line.char_indices().nth(limit) {
            Some((cut, _)) => format!("{}…", &line[..cut]),
            None => line,
        }
    }

    pub fn in_a_few_words(&self, text: &str) -> String {
        self.excerpt(text, MAX_CHARS)
    }
}

/// Returns the words of a text with one space between them, and nothing that a
/// terminal obeys.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::domain::Secret;

    fn secrets() -> Secrets {
        let headers = BTreeMap::from([
            ("Authorization".to_owned(), Secret::new("Basic cGstbGYtMTpzay1sZi0yMjI=")),
            ("X-Count".to_owned(), Secret::new("1")),
        ]);
        Secrets::of(&Gate {
            check: GateCheck::Http(HttpCheck {
                target: HttpTarget::Url(Secret::new(
                    "https://me%21:pass%20word@a.example/?k=canary&n=1",
                )),
                headers,
                status: None,
                json: None,
            }),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failure_limit: 0,
        })
    }

    #[test]
    fn what_holds_a_secret_is_not_told() {
        for text in [
            "cGstbGYtMTpzay1sZi0yMjI=",
            "got Basic cGstbGYtMTpzay1sZi0yMjI=!",
            "sk-lf-222",
            "pass word",
            "pass\n word",
            "pass%20word",
            "xxcanaryxx",
            "k=canary&n=1",
        ] {
            assert_eq!(secrets().excerpt(text, 80), HIDDEN, "{text}");
        }
    }

    #[test]
    fn everything_else_is_told_in_one_short_line() {
        assert_eq!(secrets().excerpt("1", 80), "1");
        assert_eq!(secrets().excerpt("two\n  words\u{1b}[0m", 80), "two words [0m");
        assert_eq!(secrets().excerpt(&"ä".repeat(100), 80).chars().count(), 81);
    }
}
