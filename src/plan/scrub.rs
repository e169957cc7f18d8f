//! Log lines without the values that nobody may see (S9): a program that cannot start
//! likes to print what it was given.

use std::ops::Range;

use crate::domain::{
    Secret,
    said::{Edge, SaidLine},
};

/// A shorter variable is hardly a secret: to hide `8080` and `true` would blot out half of
/// a log.
const SHORTEST_VARIABLE: usize = 6;

/// The same of what the file declares as a secret.
const SHORTEST_SECRET: usize = 4;

const HIDDEN: &str = "(hidden)";

/// Stands in a line for bytes that were no text, such as half of a character.
const NO_TEXT: char = char::REPLACEMENT_CHARACTER;

/// Returns a line without these values, nor what a cut left of one.
pub fn scrub(line: &SaidLine, secrets: &[Secret], variables: &[Secret]) -> String {
    let secrets = secrets.iter().map(|value| (value, SHORTEST_SECRET));
    let values = secrets.chain(variables.iter().map(|value| (value, SHORTEST_VARIABLE)));
    let mut hidden = Vec::new();
    for (value, shortest) in values {
        // A log has a value of several lines, a key for one, line by line.
        let whole = std::iter::once(value.reveal());
        for value in whole.chain(value.reveal().lines().map(str::trim)) {
            if value.len() >= shortest {
                mark(line, value, shortest, &mut hidden);
            }
        }
    }
    without(&line.text, hidden)
}

/// Adds where a value stands, also where it overlaps itself, and what is left of it where
/// the line is cut.
fn mark(line: &SaidLine, value: &str, shortest: usize, hidden: &mut Vec<Range<usize>>) {
    let text = line.text.as_str();
    let first = value.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(value)) {
        hidden.push(from + at..from + at + value.len());
        from += at + first;
    }
    if line.ends == Edge::Cut {
        let known = text.trim_end_matches(NO_TEXT).as_bytes();
        let ends_with = |length: &usize| known.ends_with(&value.as_bytes()[..*length]);
        if let Some(length) = (1..=value.len().min(known.len())).rev().find(ends_with) {
            hidden.push(known.len() - length..text.len());
        }
    }
    if line.begins == Edge::Cut {
        let known = text.trim_start_matches(NO_TEXT);
        let skipped = text.len() - known.len();
        // Only perhaps is it cut there: a letter or two are as likely the line's own.
        let lengths = shortest..=value.len().min(known.len());
        let begins_with = |length: &usize| {
            known.as_bytes().starts_with(&value.as_bytes()[value.len() - *length..])
        };
        if let Some(length) = lengths.rev().find(begins_with) {
            hidden.push(0..skipped + length);
        }
        // Out of the middle of a long one.
        let known = known.trim_end_matches(NO_TEXT);
        if line.ends == Edge::Cut && known.len() >= shortest && value.contains(known) {
            hidden.push(0..text.len());
        }
    }
}

/// Returns a text with each run of hidden bytes replaced. What overlaps is one run, so
/// that no value leaves the rest of another.
fn without(text: &str, mut hidden: Vec<Range<usize>>) -> String {
    hidden.sort_by_key(|range| range.start);
    let mut shown = String::new();
    let mut until = 0;
    for range in hidden {
        if range.start >= until {
            shown.push_str(text.get(until..range.start).unwrap_or_default());
            shown.push_str(HIDDEN);
        }
        until = until.max(range.end);
    }
    shown.push_str(text.get(until..).unwrap_or_default());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(line: &SaidLine, values: &[&str]) -> String {
        let values: Vec<Secret> = values.iter().map(|&value| Secret::new(value)).collect();
        scrub(line, &values, &[])
    }

    fn cut(text: &str, begins: Edge, ends: Edge) -> SaidLine {
        SaidLine { text: text.to_owned(), begins, ends }
    }

    #[test]
    fn no_part_of_a_value_is_left_by_a_cut() {
        let value = ["hunter2-and-more"];
        let ends = |text: &str| scrubbed(&cut(text, Edge::Whole, Edge::Cut), &value);
        assert_eq!(ends("key=hunter2-and"), "key=(hidden)");
        assert_eq!(ends("key=h"), "key=(hidden)");
        assert_eq!(ends("key=hunter2\u{fffd}"), "key=(hidden)");
        assert_eq!(ends("key=hunter3"), "key=hunter3");
        let begins = |text: &str| scrubbed(&cut(text, Edge::Cut, Edge::Whole), &value);
        assert_eq!(begins("and-more was refused"), "(hidden) was refused");
        assert_eq!(begins("\u{fffd}-more was refused"), "(hidden) was refused");
        assert_eq!(begins("error: no"), "error: no");
        assert_eq!(scrubbed(&cut("ter2-and", Edge::Cut, Edge::Cut), &value), "(hidden)");
        let whole = SaidLine::whole("and-more hunter2-and");
        assert_eq!(scrubbed(&whole, &value), "and-more hunter2-and");
    }

    #[test]
    fn a_value_leaves_no_rest_of_another_that_it_overlaps() {
        let line = SaidLine::whole("x hunter2xyz y");
        assert_eq!(scrubbed(&line, &["hunter2", "r2xyz"]), "x (hidden) y");
        assert_eq!(scrubbed(&line, &["hunter2", "hunter2xyz"]), "x (hidden) y");
        assert_eq!(scrubbed(&SaidLine::whole("abcabcabc"), &["abcabc"]), "(hidden)");
        let cut = cut("hunter2xyz", Edge::Whole, Edge::Cut);
        assert_eq!(scrubbed(&cut, &["hunter2", "r2xyzabc"]), "(hidden)");
        assert_eq!(scrubbed(&SaidLine::whole("ä äöü"), &["äöü"]), "ä (hidden)");
    }

    #[test]
    fn a_declared_secret_may_be_shorter_than_a_variable() {
        let value = [Secret::new("1234")];
        let line = SaidLine::whole("pin 1234");
        assert_eq!(scrub(&line, &value, &[]), "pin (hidden)");
        assert_eq!(scrub(&line, &[], &value), "pin 1234");
    }
}
