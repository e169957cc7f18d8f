//! Reads typed values out of the tree, and collects every problem on the way.
//!
//! Each reader returns None where it has noted a problem, so that one mistake is
//! reported once and everything else of the file is still looked at.

use std::{fmt::Display, rc::Rc, time::Duration};

use super::{
    Input,
    fields::nearest,
    interpolate::{Cause, Unfilled, interpolate},
    quantity,
    report::{Flaw, shown},
    yaml::{Entry, Map, Node, Span, Value},
};

/// The most variables of one value that are reported as missing.
const MOST_UNFILLED: usize = 20;

pub(super) struct Reader<'a> {
    pub input: &'a Input<'a>,
    source: &'a str,
    flaws: Vec<Flaw>,
}

/// A scalar with its variables filled in.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub value: String,
    pub span: Span,
    /// As the file has it, for messages.
    written: String,
    /// Whether a variable is part of it: then messages must not show the value.
    filled: bool,
}

impl Text {
    /// Returns the text of a key: keys hold no variables.
    pub fn of_key(entry: &Entry) -> Text {
        let (value, written) = (entry.key.clone(), entry.key.clone());
        Text { value, span: entry.key_span, written, filled: false }
    }

    /// Returns what messages may show.
    pub fn shown(&self) -> String {
        shown(&self.written)
    }
}

/// One of `KEY: value`, `KEY=value` or a bare `KEY`.
pub(super) struct Pair {
    pub key: String,
    pub value: Option<Text>,
    pub span: Span,
    /// The key as messages may show it.
    pub shown: String,
}

impl<'a> Reader<'a> {
    pub fn new(input: &'a Input<'a>, source: &'a str, flaws: Vec<Flaw>) -> Reader<'a> {
        Reader { input, source, flaws }
    }

    pub fn into_flaws(self) -> Vec<Flaw> {
        self.flaws
    }

    pub fn has_flaws(&self) -> bool {
        !self.flaws.is_empty()
    }

    /// Returns a value of what stands at `span` as messages may show it: as it is
    /// written, where a variable may be part of it.
    pub fn shown_at(&self, span: Span, value: &str) -> String {
        match &self.source[span.start..span.end] {
            written if written.contains('$') => shown(written),
            _ => shown(value),
        }
    }

    /// Notes a problem and how to mend it.
    pub fn refuse(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.flaws.push(Flaw::new(span, message, help));
    }

    /// Notes that a text is not what it should be. `reason` is a whole sentence
    /// and may quote the text: it is only shown where no variable is part of it.
    pub fn refuse_text(&mut self, text: &Text, what: &str, reason: impl Display, help: &str) {
        let message = if text.filled {
            format!("`{}`, with its variables filled in, is not {what}", text.shown())
        } else {
            reason.to_string()
        };
        self.refuse(text.span, message, help);
    }

    /// Notes a thing that already stands at `first`.
    pub fn refuse_again(&mut self, span: Span, message: impl Into<String>, first: Span) {
        self.flaws.push(Flaw::again(span, message, first));
    }

    /// Returns the known name that `name` is most likely a slip of. A file that
    /// is wrong throughout gets no more suggestions after a while: they cost
    /// time, and nobody reads that many.
    pub fn suggest<'k>(&self, name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
        const MOST_SUGGESTIONS: usize = 500;
        const MOST_CANDIDATES: usize = 200;
        match self.flaws.len() < MOST_SUGGESTIONS {
            true => nearest(name, known.take(MOST_CANDIDATES)),
            false => None,
        }
    }

    fn refuse_kind(&mut self, node: &Node, expected: &str) {
        self.refuse(
            node.span,
            format!("expected {expected}, found {}", node.kind()),
            format!("write {expected} here"),
        );
    }

    pub fn map<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n Map> {
        match &node.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => {
                self.refuse_kind(node, expected);
                None
            }
        }
    }

    pub fn list<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n [Rc<Node>]> {
        match &node.value {
            Value::List(items) => Some(items),
            Value::Scalar(_) | Value::Map(_) => {
                self.refuse_kind(node, expected);
                None
            }
        }
    }

    /// Reads a scalar as text, its variables filled in.
    pub fn text(&mut self, node: &Node, expected: &str) -> Option<Text> {
        let scalar = match &node.value {
            Value::Scalar(scalar) if !node.is_null() => scalar,
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                self.refuse_kind(node, expected);
                return None;
            }
        };
        match interpolate(&scalar.text, self.input.variables) {
            Ok(value) if value.contains('\0') => {
                self.refuse(node.span, "a text cannot hold a NUL character", "remove it");
                None
            }
            Ok(value) => Some(Text {
                filled: scalar.text.contains('$') && value != scalar.text,
                value,
                span: node.span,
                written: scalar.text.clone(),
            }),
            Err(unfilled) => {
                for part in unfilled.into_iter().take(MOST_UNFILLED) {
                    self.refuse_unfilled(node.span, part);
                }
                None
            }
        }
    }

    fn refuse_unfilled(&mut self, within: Span, Unfilled { fragment, cause }: Unfilled) {
        // A quoted scalar may be escaped, and then the fragment is not found.
        let written = &self.source[within.start..within.end];
        let span = written.find(&fragment).map_or(within, |at| {
            let start = within.start + at;
            Span { start, end: start + fragment.len() }
        });
        match cause {
            Cause::Undefined { name } => self.refuse(
                span,
                format!("the variable `{name}` is not set"),
                format!(
                    "set it in the environment or in an --env-file, or give it a default: `${{{name}:-…}}`"
                ),
            ),
            Cause::Required { name, message } => {
                let said = if message.is_empty() { String::new() } else { format!(": {}", shown(&message)) };
                self.refuse(
                    span,
                    format!("the variable `{name}` is required{said}"),
                    "set it in the environment or in an --env-file",
                );
            }
            Cause::Malformed { reason } => {
                self.refuse(span, reason, "write `${NAME}` for a variable and `$$` for a `$`");
            }
        }
    }

    /// Reads a scalar and parses it; `what` completes "… is not".
    pub fn parsed<T, E: Display>(
        &mut self,
        node: &Node,
        what: &str,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.refuse_text(&text, what, reason, help);
                None
            }
        }
    }

    /// Reads a whole number between two bounds.
    pub fn number(&mut self, node: &Node, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let text = self.text(node, &what)?;
        match text.value.parse::<i64>() {
            Ok(number) if range.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let reason = format!("`{}` is not {what}", text.shown());
                self.refuse_text(&text, &what, reason, &format!("write {what}"));
                None
            }
        }
    }

    pub fn count(&mut self, node: &Node, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let number = self.number(node, i64::from(*range.start())..=i64::from(*range.end()))?;
        u32::try_from(number).ok()
    }

    pub fn port(&mut self, node: &Node) -> Option<u16> {
        self.parsed(node, "a port", "a port is a whole number from 1 to 65535", port)
    }

    pub fn flag(&mut self, node: &Node) -> Option<bool> {
        self.parsed(node, "`true` or `false`", "write `true` or `false`", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("`{}` is neither `true` nor `false`", shown(text))),
        })
    }

    /// Reads a span of time that may be zero.
    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        let help = "write a span of time such as `500ms`, `30s`, `5m` or `1h30m`, at most 30 days";
        self.parsed(node, "a span of time", help, |text| {
            quantity::duration(text).map_err(|reason| format!("`{}`: {reason}", shown(text)))
        })
    }

    /// Reads a span of time that must not be zero.
    pub fn positive_duration(&mut self, node: &Node) -> Option<Duration> {
        let duration = self.duration(node)?;
        if duration.is_zero() {
            self.refuse(
                node.span,
                "zero is no span of time here",
                "write at least `1ms`, or remove the key to get its default",
            );
            return None;
        }
        Some(duration)
    }

    pub fn bytes(&mut self, node: &Node) -> Option<i64> {
        let help = "write a size such as `64k`, `512m` or `2g`";
        self.parsed(node, "a size", help, |text| {
            quantity::bytes(text).map_err(|reason| format!("`{}`: {reason}", shown(text)))
        })
    }

    pub fn positive_bytes(&mut self, node: &Node) -> Option<i64> {
        let bytes = self.bytes(node)?;
        if bytes == 0 {
            self.refuse(node.span, "zero is no size here", "write at least `1`, or remove the key");
            return None;
        }
        Some(bytes)
    }

    /// Reads a list of texts.
    pub fn texts(&mut self, node: &Node, expected: &str) -> Vec<Text> {
        let items = self.list(node, expected).unwrap_or_default();
        items.iter().filter_map(|item| self.text(item, "a text")).collect()
    }

    /// Reads one text or a list of them.
    pub fn text_or_texts(&mut self, node: &Node, expected: &str) -> Vec<Text> {
        match &node.value {
            Value::Scalar(_) => self.text(node, expected).into_iter().collect(),
            Value::List(_) | Value::Map(_) => self.texts(node, expected),
        }
    }

    /// Reads a map, or a list of `KEY=value`: Compose's two ways to write one.
    pub fn pairs(&mut self, node: &Node, expected: &str) -> Vec<Pair> {
        match &node.value {
            Value::Map(map) => {
                map.entries.iter().filter_map(|entry| self.pair_of_entry(entry)).collect()
            }
            Value::List(items) => {
                let pairs: Vec<Pair> =
                    items.iter().filter_map(|item| self.pair_of_text(item)).collect();
                let mut seen = std::collections::HashMap::new();
                for pair in &pairs {
                    if let Some(first) = seen.insert(pair.key.clone(), pair.span) {
                        self.flaws.push(Flaw::duplicate_key(pair.span, &pair.shown, first));
                    }
                }
                pairs
            }
            Value::Scalar(_) => {
                self.refuse_kind(node, expected);
                Vec::new()
            }
        }
    }

    fn pair_of_entry(&mut self, entry: &Entry) -> Option<Pair> {
        let value = match entry.value.is_null() {
            true => None,
            false => Some(self.text(&entry.value, "a text, a number, `true` or `false`")?),
        };
        let shown = shown(&entry.key);
        Some(Pair { key: entry.key.clone(), value, span: entry.key_span, shown })
    }

    fn pair_of_text(&mut self, item: &Node) -> Option<Pair> {
        let text = self.text(item, "`KEY=value`")?;
        let written_key = text.written.split_once('=').map_or(&*text.written, |(key, _)| key);
        let shown = shown(written_key);
        // The key alone: what is shown as being at fault must not be the value.
        let start = text.span.start;
        let span = Span { start, end: (start + written_key.len()).min(text.span.end) };
        Some(match text.value.split_once('=') {
            Some((key, value)) => {
                let (key, value) = (key.to_owned(), value.to_owned());
                Pair { key, value: Some(Text { value, ..text }), span, shown }
            }
            None => Pair { key: text.value, value: None, span, shown },
        })
    }

    /// Reads a command: a list of words, or one text split as a shell would.
    pub fn command(&mut self, node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::List(_) => {
                Some(self.texts(node, "a command").into_iter().map(|text| text.value).collect())
            }
            Value::Scalar(_) | Value::Map(_) => self.parsed(
                node,
                "a command",
                "close the quote, or write the command as a list of words",
                super::shell_words::split,
            ),
        }
    }
}

/// Parses a port: 1 to 65535.
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        Ok(_) | Err(_) => Err(format!("`{}` is not a port", shown(text))),
    }
}
