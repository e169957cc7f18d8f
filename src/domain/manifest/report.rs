//! What is wrong with a file, for people and for machines.
//!
//! A report shows the line at fault. So that no secret gets into a log that way
//! (S9), the values of environment variables and the like are blotted out of
//! every line that is shown, and messages never hold what a variable stands for.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};
use serde::Serialize;

use super::{
    fields::nearest,
    yaml::{Entry, Node, Span, Value},
};

/// The most problems that one report lists.
const MAX_PROBLEMS: usize = 50;

/// The longest piece of a line that is shown, in characters.
const EXCERPT_CHARACTERS: usize = 100;

/// The longest piece of the file that a message quotes, in characters.
const QUOTED_CHARACTERS: usize = 60;

/// Keys whose values may be secret, wherever they stand.
const SECRET_KEYS: [&str; 8] =
    ["environment", "headers", "driver_opts", "options", "header", "url", "secrets", TEMPLATE];

/// A text of any form: of one that is no YAML, no piece is a key.
const TEMPLATE: &str = "template";

/// What is in the name of a key that somebody keeps a secret under, though there is no
/// such key.
const TELLING_NAMES: [&str; 6] =
    ["password", "passwd", "secret", "token", "credential", "private_key"];

/// What is told at an address that is a secret.
const RECEIVERS: [&str; 4] = ["notify", "slack", "discord", "webhook"];

/// Those of them that hold a list at most by mistake: what stands right below, as
/// deep, is another key.
const NEVER_LISTS: [&str; 3] = ["header", "url", TEMPLATE];

/// A problem as it is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flaw {
    span: Span,
    message: String,
    help: Help,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Help {
    Said(String),
    /// The same thing stands there already.
    FirstAt(Span),
}

impl Flaw {
    pub fn new(span: Span, message: impl Into<String>, help: impl Into<String>) -> Flaw {
        Flaw { span, message: message.into(), help: Help::Said(help.into()) }
    }

    /// The flaw of a thing that already stands at `first`.
    pub fn again(span: Span, message: impl Into<String>, first: Span) -> Flaw {
        Flaw { span, message: message.into(), help: Help::FirstAt(first) }
    }

    pub fn duplicate_key(span: Span, key: &str, first: Span) -> Flaw {
        Flaw::again(span, format!("the key `{}` stands here a second time", shown(key)), first)
    }
}

/// Everything that is wrong with a file. `Display` renders it as plain text:
/// for each problem `file:line:column`, the line, a caret and the mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    file: String,
    problems: Vec<Problem>,
    /// How many more problems there are than are listed.
    unlisted: usize,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub message: String,
    /// How to mend it.
    pub help: String,
    #[serde(skip)]
    excerpt: Excerpt,
}

/// The piece of a line that is shown, and which bytes of it are at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    start: usize,
    length: usize,
}

impl Report {
    /// `tree` is what could be read of `source`, if anything.
    pub(super) fn new(
        file: &str,
        source: &str,
        tree: Option<&Node>,
        mut flaws: Vec<Flaw>,
    ) -> Report {
        flaws.sort();
        flaws.dedup();
        let unlisted = flaws.len().saturating_sub(MAX_PROBLEMS);
        let mut hidden = Vec::new();
        if let Some(tree) = tree {
            hide_secrets(tree, source, &mut hidden);
        }
        let lines = Lines::of(source);
        flaws.truncate(MAX_PROBLEMS);
        let problems = flaws
            .iter()
            .map(|flaw| {
                let at = lines.position(flaw.span.start);
                let help = match &flaw.help {
                    Help::Said(help) => help.clone(),
                    Help::FirstAt(first) => {
                        let first = lines.position(first.start).line;
                        format!("the first one is on line {first}: keep one of the two")
                    }
                };
                let excerpt = match tree {
                    Some(_) => lines.excerpt(&at, flaw.span, &hidden),
                    None => lines.excerpt(&at, flaw.span, lines.guess_hidden(&at).as_slice()),
                };
                Problem {
                    line: at.line,
                    column: at.column,
                    message: flaw.message.clone(),
                    help,
                    excerpt,
                }
            })
            .collect();
        Report { file: file.to_owned(), problems, unlisted }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns what is wrong, in the order of the file; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the report with colours and lines drawn, for a terminal.
    pub fn graphical(&self) -> String {
        self.rendered(GraphicalTheme::unicode())
    }

    fn rendered(&self, theme: GraphicalTheme) -> String {
        let handler = GraphicalReportHandler::new_themed(theme)
            .without_cause_chain()
            .with_links(false)
            .with_context_lines(0)
            .with_width(110);
        let mut text = String::new();
        for problem in &self.problems {
            handler
                .render_report(&mut text, &Shown { file: &self.file, problem })
                .expect("writing to a string does not fail");
            text.push('\n');
        }
        if self.unlisted > 0 {
            text.push_str(&format!("and {} more\n", self.unlisted));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = ThemeCharacters::ascii();
        characters.error = "error:".to_owned();
        let theme = GraphicalTheme { characters, styles: ThemeStyles::none() };
        // Trailing spaces are an artefact of drawing.
        let text = self.rendered(theme);
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Report {}

/// Returns `text` fit for a message: short, and nothing that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED_CHARACTERS).map(printable).collect();
    if text.chars().nth(QUOTED_CHARACTERS).is_some() {
        quoted.push('…');
    }
    quoted
}

fn printable(character: char) -> char {
    let reorders_text = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || reorders_text { '?' } else { character }
}

/// Adds the spans of every value under a key that may hold secrets.
fn hide_secrets(node: &Node, source: &str, hidden: &mut Vec<Span>) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter().for_each(|item| hide_secrets(item, source, hidden)),
        Value::Map(map) => {
            for entry in &map.entries {
                if let ("secrets", Value::Map(secrets)) = (&*entry.key, &entry.value.value) {
                    hide_declared(&secrets.entries, source, hidden);
                } else if may_be_secret(entry) {
                    hide_values(&entry.value, source, hidden);
                } else if RECEIVERS.contains(&&*entry.key) {
                    hide_addresses(&entry.value, source, hidden);
                } else {
                    hide_secrets(&entry.value, source, hidden);
                }
            }
        }
    }
}

/// Where a map belongs, a text is the address that somebody took for it.
fn hide_addresses(node: &Node, source: &str, hidden: &mut Vec<Span>) {
    match &node.value {
        Value::Scalar(_) => hide_values(node, source, hidden),
        Value::List(items) => items.iter().for_each(|item| hide_addresses(item, source, hidden)),
        Value::Map(_) => hide_secrets(node, source, hidden),
    }
}

/// Of declared secrets, paths may be seen.
fn hide_declared(secrets: &[Entry], source: &str, hidden: &mut Vec<Span>) {
    for secret in secrets {
        match &secret.value.value {
            Value::Map(map) => map
                .entries
                .iter()
                .filter(|entry| !matches!(&*entry.key, "file" | "age_file"))
                .for_each(|entry| hide_values(&entry.value, source, hidden)),
            Value::Scalar(_) | Value::List(_) => hide_values(&secret.value, source, hidden),
        }
    }
}

fn may_be_secret(entry: &Entry) -> bool {
    // A service's list of secrets holds their names.
    let holds_names = entry.key == "secrets" && matches!(entry.value.value, Value::List(_));
    let key = entry.key.to_lowercase();
    let is_telling = || TELLING_NAMES.iter().any(|name| key.contains(name));
    // Misspelt, it holds the same.
    let is_meant = || key == "env" || nearest(&key, SECRET_KEYS.into_iter()).is_some();
    !holds_names && (is_telling() || is_meant())
}

fn hide_values(node: &Node, source: &str, hidden: &mut Vec<Span>) {
    match &node.value {
        Value::Scalar(_) => {
            // The span of a block goes on to where the next key stands.
            let written = source[node.span.start..node.span.end].trim_end();
            hidden.push(Span { start: node.span.start, end: node.span.start + written.len() });
        }
        Value::Map(map) => {
            map.entries.iter().for_each(|entry| hide_values(&entry.value, source, hidden));
        }
        Value::List(items) => {
            for item in items {
                // Of `KEY=value`, the key may be seen.
                let written = &source[item.span.start..item.span.end];
                match (&item.value, written.find('=')) {
                    (Value::Scalar(_), Some(equals)) => {
                        let start = item.span.start + equals + 1;
                        hidden.push(Span { start, end: item.span.end });
                    }
                    (Value::Scalar(_) | Value::List(_) | Value::Map(_), _) => {
                        hide_values(item, source, hidden);
                    }
                }
            }
        }
    }
}

struct Lines<'s> {
    source: &'s str,
    starts: Vec<usize>,
}

/// Where a byte stands.
struct Position {
    line: usize,
    column: usize,
    /// The bytes of its line, without the line break.
    line_span: Span,
}

impl<'s> Lines<'s> {
    fn of(source: &'s str) -> Lines<'s> {
        let breaks = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Lines { source, starts }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let line_span = self.line_span(line);
        let before = &self.source[line_span.start..offset.min(self.source.len())];
        Position { line, column: before.chars().count() + 1, line_span }
    }

    fn line_span(&self, line: usize) -> Span {
        let start = self.starts[line - 1];
        let end = self.starts.get(line).map_or(self.source.len(), |next| next - 1);
        let text = &self.source[start..end];
        Span { start, end: start + text.trim_end_matches('\r').len() }
    }

    /// Returns what is shown of the line of `at`: a window around the fault,
    /// with everything blotted out that may be secret. Of a value, only a piece that is
    /// at fault, such as a variable in it, is no secret.
    fn excerpt(&self, at: &Position, fault: Span, hidden: &[Span]) -> Excerpt {
        let window = self.window(at, fault);
        // A file may hold very many secrets; few stand in the window.
        let near: Vec<&Span> = hidden
            .iter()
            .filter(|span| span.start < window.end && window.start < span.end)
            .collect();
        let within = |span: &Span, offset: usize| (span.start..span.end).contains(&offset);
        let is_piece_of = |span: &Span| {
            let length = |span: &Span| span.end - span.start;
            span.start <= fault.start && fault.end <= span.end && length(&fault) < length(span)
        };
        let mut text = String::with_capacity(window.end - window.start);
        for (index, character) in self.source[window.start..window.end].char_indices() {
            let offset = window.start + index;
            let is_at_fault = within(&fault, offset);
            let hides = |span: &Span| within(span, offset) && !(is_at_fault && is_piece_of(span));
            let secret = near.iter().any(|span| hides(span));
            let shown = match character {
                '\t' => '\t',
                _ if secret => '*',
                _ => printable(character),
            };
            // As many bytes as before, so that offsets stay true.
            match shown == character {
                true => text.push(character),
                false => text.extend(std::iter::repeat_n(shown, character.len_utf8())),
            }
        }
        let start = fault.start.clamp(window.start, window.end);
        let end = fault.end.clamp(start, window.end);
        if start == window.end {
            // So that a caret has something to stand under.
            text.push(' ');
        }
        Excerpt { text, start: start - window.start, length: (end - start).max(1) }
    }

    /// Cuts the bytes around a fault out of a long line.
    fn window(&self, at: &Position, fault: Span) -> Span {
        let line = at.line_span;
        let fault_start = fault.start.clamp(line.start, line.end);
        let is_long = self.source[line.start..line.end].chars().nth(EXCERPT_CHARACTERS).is_some();
        let before = &self.source[line.start..fault_start];
        let start = match before.char_indices().rev().nth(EXCERPT_CHARACTERS / 2) {
            Some((from, _)) if is_long => line.start + from,
            Some(_) | None => line.start,
        };
        let shown = &self.source[start..line.end];
        let length = shown.char_indices().nth(EXCERPT_CHARACTERS).map_or(shown.len(), |(at, _)| at);
        Span { start, end: start + length }
    }

    /// Without a tree (the file is not YAML), goes by indentation: under a key
    /// that may hold secrets, everything after the first `:` or `=` is hidden.
    fn guess_hidden(&self, at: &Position) -> Option<Span> {
        let text = |line: usize| {
            let span = self.line_span(line);
            &self.source[span.start..span.end]
        };
        let after_key =
            |text: &str, key: &&str| Some(text.find(&format!("{key}:"))? + key.len() + 1);
        let own = text(at.line);
        if let Some(after) = SECRET_KEYS.iter().filter_map(|key| after_key(own, key)).min() {
            return Some(Span { start: at.line_span.start + after, end: at.line_span.end });
        }
        // A tab may stand for any number of spaces, and is often what is at fault.
        let indent = |text: &str| {
            let indent = &text[..text.len() - text.trim_start().len()];
            if indent.contains('\t') { usize::MAX } else { indent.len() }
        };
        let mut within = indent(own);
        for line in (1..at.line).rev() {
            let above = text(line);
            // As deep counts too: a list may stand right below its key.
            if above.trim().is_empty() || indent(above) > within {
                continue;
            }
            let is_deeper = indent(above) < within;
            let mut keys = SECRET_KEYS.iter().filter(|key| is_deeper || !NEVER_LISTS.contains(key));
            if let Some(key) = keys.find(|key| after_key(above, key).is_some()) {
                let separator = own.find([':', '=']).filter(|_| *key != TEMPLATE);
                let after = separator.map_or(0, |separator| separator + 1);
                return Some(Span { start: at.line_span.start + after, end: at.line_span.end });
            }
            within = indent(above);
            if within == 0 {
                break;
            }
        }
        None
    }
}

/// A problem as miette draws one.
#[derive(Debug)]
struct Shown<'r> {
    file: &'r str,
    problem: &'r Problem,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.problem.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Excerpt { start, length, .. } = self.problem.excerpt;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, start, length))))
    }
}

impl SourceCode for Shown<'_> {
    /// There is one line to show, whatever is asked for.
    fn read_span<'a>(
        &'a self,
        _span: &SourceSpan,
        _lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = &self.problem.excerpt.text;
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            text.as_bytes(),
            SourceSpan::from((0, text.len())),
            self.problem.line - 1,
            self.problem.column - 1,
            1,
        )))
    }
}
