//! What is told of an answer, without what must not be told (S9).
//!
//! Whoever is asked may send back what it was sent: an error page with the request's
//! headers in it, a value that is the key. So every text that comes from outside is
//! cut to one short line, and hidden altogether where a secret of the question is in
//! it.

use super::address;

/// The longest text that is told, in characters.
const MAX_CHARS: usize = 200;

/// Whatever is shorter is no secret, and hiding each `1` that stands in one would
/// hide every value.
const SHORTEST_SECRET: usize = 4;

const HIDDEN: &str = "(hidden: it holds a secret)";

/// What the texts of one question must not hold.
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Takes what a question holds; what is too short to be a secret is left out.
    pub fn new(mut found: Vec<String>) -> Secrets {
        found.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
        found.retain(|word| !matches!(word.as_str(), "Basic" | "Bearer"));
        Secrets(found)
    }

    /// Returns what must not be told of a header's value.
    pub fn of_header(value: &str) -> Vec<String> {
        // `Bearer` and such words are none; each part may be one.
        let mut found = vec![value.to_owned()];
        found.extend(value.split([' ', ',', ';', '=']).map(str::to_owned));
        found.extend(address::decoded_basic(value));
        found
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
