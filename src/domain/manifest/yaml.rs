//! YAML text to a tree whose every node knows where it stands.
//!
//! Built from the parser's events rather than through serde, because serde stops
//! at the first error and forgets positions; here every problem of a file is
//! found in one go. Hostile input is bounded: depth, and what aliases expand to.
//! No interpretation: what a scalar means is the reader's to say.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use serde_saphyr::granit_parser::{
    self, ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle,
};

use super::report::{Flaw, shown};

/// How deep a file may nest, aliases followed.
const MAX_DEPTH: usize = 32;

/// How many nodes all aliases of a file may stand for together.
const MAX_ALIASED_NODES: usize = 50_000;

/// A range of bytes of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub span: Span,
    pub value: Value,
    /// Whether the node carries an anchor, so that an alias may repeat it.
    pub anchored: bool,
    /// How many nodes this is, aliases counted as what they stand for.
    weight: usize,
    /// How many collections are nested in it, itself included.
    height: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Map),
}

/// A scalar as it is written: numbers and booleans are kept as text, so that
/// `1.10` stays `1.10` where a text is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub text: String,
    pub quoted: bool,
}

#[derive(Debug)]
pub(super) struct Map {
    pub entries: Vec<Entry>,
    pub layout: Layout,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Rc<Node>,
}

/// How a map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One `key: value` a line.
    Block,
    /// `{ key: value }`.
    Flow,
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    /// Returns whether this is `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar)
            if !scalar.quoted && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Says what the node is, for `expected …, found …`.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Returns the one document of `source`, or None after a flaw that leaves no
/// tree. Flaws that leave one, such as a duplicate key, are added too.
pub(super) fn read(source: &str, flaws: &mut Vec<Flaw>) -> Option<Rc<Node>> {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(source, options) {
        let step = match event {
            Ok((event, span)) => builder.take(event, bytes(span, source), flaws),
            Err(error) => Err(syntax_flaw(&error, source)),
        };
        if let Err(flaw) = step {
            flaws.push(flaw);
            return None;
        }
    }
    if builder.root.is_none() {
        flaws.push(empty_file());
    }
    builder.root.filter(|root| {
        if root.is_null() {
            flaws.push(empty_file());
        }
        !root.is_null()
    })
}

fn empty_file() -> Flaw {
    Flaw::new(
        Span { start: 0, end: 0 },
        "the file is empty",
        "an empty file never means \"remove everything\"; a stack has at least `name:` and `services:`",
    )
}

fn bytes(span: granit_parser::Span, source: &str) -> Span {
    let offset = |marker: granit_parser::Marker| {
        marker.byte_offset().unwrap_or(source.len()).min(source.len())
    };
    let start = offset(span.start);
    Span { start, end: offset(span.end).max(start) }
}

fn syntax_flaw(error: &ScanError, source: &str) -> Flaw {
    let at = error.marker().byte_offset().unwrap_or(source.len()).min(source.len());
    let span = Span { start: at, end: at };
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(span);
    }
    let line_start = source[..at].rfind('\n').map_or(0, |line_break| line_break + 1);
    let line = source[line_start..].lines().next().unwrap_or_default();
    let help = if line.contains("${") {
        "put quotes around a `${…}` that stands inside `{ }` or `[ ]`"
    } else if line.contains(": >") || line.contains(": !=") {
        "a condition stands in quotes: `\">= 1\"`"
    } else {
        "look at the indentation, and put quotes around values with `: `, ` #` or a leading special character"
    };
    Flaw::new(span, format!("this is not YAML: {}", error.kind()), help)
}

/// A collection that has begun and not ended.
enum Open {
    List {
        items: Vec<Rc<Node>>,
    },
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Span)>,
        seen: HashMap<String, Span>,
        layout: Layout,
    },
}

struct Frame {
    start: usize,
    anchor: usize,
    open: Open,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    aliased_nodes: usize,
    documents: usize,
    root: Option<Rc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span, flaws: &mut Vec<Flaw>) -> Result<(), Flaw> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Flaw::new(
                        span,
                        "a second document begins here",
                        "a file holds one stack: give the other one a file of its own",
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                refuse_tag(tag, span)?;
                let quoted = style != ScalarStyle::Plain
                    || tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let value = Value::Scalar(Scalar { text: text.into_owned(), quoted });
                self.complete(value, span, anchor, flaws)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.open(Open::List { items: Vec::new() }, span, anchor)
            }
            Event::MappingStart(style, anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                let layout = match style {
                    StructureStyle::Block => Layout::Block,
                    StructureStyle::Flow => Layout::Flow,
                };
                let open =
                    Open::Map { entries: Vec::new(), key: None, seen: HashMap::new(), layout };
                self.open(open, span, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span, flaws),
            Event::Alias(id) => self.alias(id, span, flaws),
            // The parser's enum is open to later events; these carry no content.
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open, span: Span, anchor: usize) -> Result<(), Flaw> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.stack.push(Frame { start: span.start, anchor, open });
        Ok(())
    }

    fn close(&mut self, span: Span, flaws: &mut Vec<Flaw>) -> Result<(), Flaw> {
        let Frame { start, anchor, open } =
            self.stack.pop().expect("the parser balances starts and ends");
        let value = match open {
            Open::List { items } => Value::List(items),
            Open::Map { entries, layout, .. } => {
                Value::Map(Map { entries: merged(entries, flaws), layout })
            }
        };
        self.complete(value, Span { start, end: span.end.max(start) }, anchor, flaws)
    }

    fn alias(&mut self, id: usize, span: Span, flaws: &mut Vec<Flaw>) -> Result<(), Flaw> {
        let Some(target) = self.anchors.get(&id).cloned() else {
            return Err(Flaw::new(
                span,
                "an alias stands inside what it repeats",
                "write the value out here",
            ));
        };
        self.aliased_nodes = self.aliased_nodes.saturating_add(target.weight);
        if self.aliased_nodes > MAX_ALIASED_NODES {
            return Err(Flaw::new(
                span,
                format!("the aliases of this file stand for more than {MAX_ALIASED_NODES} values"),
                "write the values out, or split the file",
            ));
        }
        if self.stack.len() + target.height > MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.place(target, span, flaws)
    }

    fn complete(
        &mut self,
        value: Value,
        span: Span,
        anchor: usize,
        flaws: &mut Vec<Flaw>,
    ) -> Result<(), Flaw> {
        let (weight, height) = size(&value);
        let node = Rc::new(Node { span, value, anchored: anchor != 0, weight, height });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node, span, flaws)
    }

    /// Puts a finished node where it belongs: `span` is where it is written, an
    /// alias's own place rather than its target's.
    fn place(&mut self, node: Rc<Node>, span: Span, flaws: &mut Vec<Flaw>) -> Result<(), Flaw> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let (entries, key, seen) = match &mut frame.open {
            Open::List { items } => {
                items.push(node);
                return Ok(());
            }
            Open::Map { entries, key, seen, .. } => (entries, key, seen),
        };
        let Some((name, key_span)) = key.take() else {
            let Value::Scalar(scalar) = &node.value else {
                return Err(Flaw::new(
                    span,
                    format!("a key must be a plain text, not {}", node.kind()),
                    "put quotes around a key that begins with `[` or `{`",
                ));
            };
            *key = Some((scalar.text.clone(), span));
            return Ok(());
        };
        match seen.get(&name) {
            Some(first) => flaws.push(Flaw::duplicate_key(key_span, &name, *first)),
            None => {
                seen.insert(name.clone(), key_span);
                entries.push(Entry { key: name, key_span, value: node });
            }
        }
        Ok(())
    }
}

fn refuse_tag(tag: Option<&granit_parser::Tag>, span: Span) -> Result<(), Flaw> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(Flaw::new(
            span,
            format!("the tag `{}` means nothing here", shown(&tag.original())),
            match tag.original().starts_with("!=") {
                true => "a condition stands in quotes: `\"!= 1\"`",
                false => "remove the tag",
            },
        )),
        Some(_) | None => Ok(()),
    }
}

fn too_deep(span: Span) -> Flaw {
    Flaw::new(
        span,
        format!("the file nests deeper than {MAX_DEPTH} levels"),
        "nothing in a stack needs that: look at the indentation and the brackets",
    )
}

fn size(value: &Value) -> (usize, usize) {
    let total = |children: &mut dyn Iterator<Item = &Rc<Node>>| {
        children.fold((1_usize, 1_usize), |(weight, height), child| {
            (weight.saturating_add(child.weight), height.max(child.height + 1))
        })
    };
    match value {
        Value::Scalar(_) => (1, 0),
        Value::List(items) => total(&mut items.iter()),
        Value::Map(map) => total(&mut map.entries.iter().map(|entry| &entry.value)),
    }
}

/// Resolves `<<`: what a map says itself wins over what it merges, and an
/// earlier merged map over a later one (YAML 1.1's merge type, as Compose).
fn merged(mut entries: Vec<Entry>, flaws: &mut Vec<Flaw>) -> Vec<Entry> {
    let Some(position) = entries.iter().position(|entry| entry.key == "<<") else {
        return entries;
    };
    let merge = entries.remove(position);
    let sources: Vec<&Rc<Node>> = match &merge.value.value {
        Value::Map(_) => vec![&merge.value],
        Value::List(items) => items.iter().collect(),
        Value::Scalar(_) => Vec::new(),
    };
    let maps: Vec<&Map> = sources
        .iter()
        .filter_map(|node| match &node.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        })
        .collect();
    if maps.len() != sources.len() || maps.is_empty() {
        flaws.push(Flaw::new(
            merge.key_span,
            "`<<` merges a map or a list of maps only",
            "write `<<: *anchor` with an anchor that stands on a map",
        ));
    }
    let mut seen: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for entry in maps.into_iter().flat_map(|map| &map.entries) {
        if seen.insert(entry.key.clone()) {
            entries.push(entry.clone());
        }
    }
    entries
}
