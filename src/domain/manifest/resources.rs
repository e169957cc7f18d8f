//! What networks and volumes of the top level have in common: a key in the
//! file, a name in Docker, and who makes them.

use std::collections::BTreeMap;

use crate::domain::StackName;

use super::{
    fields::{Fields, NO_REFUSALS, Refusals},
    reader::Reader,
    report::shown,
    yaml::{Entry, Node, Span, Value},
};

/// Networks or volumes by their key in the file, and which of them are used:
/// one that nobody uses is not created, as in Compose.
pub(super) struct Resources<S> {
    by_key: BTreeMap<String, Resource<S>>,
    /// Docker's name of each that the file declares, and where it does.
    written: Vec<(String, Span)>,
}

struct Resource<S> {
    /// Docker's name.
    name: String,
    origin: Origin<S>,
    used: bool,
}

/// Who makes a network or volume.
pub(super) enum Origin<S> {
    Created(S),
    External,
}

/// What a stack's services need of networks or volumes, by Docker's name.
pub(super) struct Declared<S> {
    pub created: BTreeMap<String, S>,
    pub external: Vec<String>,
}

impl<S> Resources<S> {
    pub fn new() -> Resources<S> {
        Resources { by_key: BTreeMap::new(), written: Vec::new() }
    }

    pub fn declare(&mut self, key: String, name: String, origin: Origin<S>) {
        self.by_key.insert(key, Resource { name, origin, used: false });
    }

    pub fn declares(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Returns Docker's name of a declared one, and marks it as used.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let resource = self.by_key.get_mut(key)?;
        resource.used = true;
        Some(resource.name.clone())
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// Returns Docker's name of each that the file declares, and where it does.
    pub fn written(&self) -> impl Iterator<Item = (&str, Span)> {
        self.written.iter().map(|(name, span)| (name.as_str(), *span))
    }

    /// Returns those that are used.
    pub fn used(self) -> Declared<S> {
        let mut declared = Declared { created: BTreeMap::new(), external: Vec::new() };
        for resource in self.by_key.into_values().filter(|resource| resource.used) {
            match resource.origin {
                Origin::Created(spec) => {
                    declared.created.insert(resource.name, spec);
                }
                Origin::External => declared.external.push(resource.name),
            }
        }
        declared.external.sort();
        declared.external.dedup();
        declared
    }
}

/// Reads `networks:` or `volumes:` of the top level. `read_spec` asks for the
/// keys that are the resource's own.
pub(super) fn read_resources<S: Default + PartialEq>(
    reader: &mut Reader<'_>,
    stack: &StackName,
    node: Option<&Node>,
    what: &str,
    read_spec: impl Fn(&mut Reader<'_>, &mut Fields<'_>) -> (S, &'static Refusals),
) -> Resources<S> {
    let mut resources = Resources::new();
    let map = node.and_then(|node| reader.map(node, &format!("a map of {what}")));
    let mut names = BTreeMap::new();
    for entry in map.map(|map| &map.entries[..]).unwrap_or_default() {
        if !is_docker_name(&entry.key) {
            let message = format!("`{}` is not a name that Docker takes", shown(&entry.key));
            reader.refuse(entry.key_span, message, DOCKER_NAME);
            continue;
        }
        let (name, origin) = read_resource(reader, stack, entry, &read_spec);
        resources.written.push((name.clone(), entry.key_span));
        if let Some(first) = names.insert(name.clone(), entry.key_span) {
            let message =
                format!("`{}` is the same in Docker as another of the {what}", shown(&entry.key));
            reader.refuse_again(entry.key_span, message, first);
        }
        resources.declare(entry.key.clone(), name, origin);
    }
    resources
}

fn read_resource<S: Default + PartialEq>(
    reader: &mut Reader<'_>,
    stack: &StackName,
    entry: &Entry,
    read_spec: impl Fn(&mut Reader<'_>, &mut Fields<'_>) -> (S, &'static Refusals),
) -> (String, Origin<S>) {
    let own_name = format!("{stack}_{}", entry.key);
    if entry.value.is_null() {
        return (own_name, Origin::Created(S::default()));
    }
    let Some(map) = reader.map(&entry.value, "nothing, or a map") else {
        return (own_name, Origin::External);
    };
    let mut fields = Fields::of(map);
    let mut name = fields.get("name").and_then(|it| read_name(reader, &it.value));
    let external = fields.get("external");
    let is_external = external.is_some_and(|it| match &it.value.value {
        // Compose's older way: `external: { name: … }`.
        Value::Map(map) => {
            let mut fields = Fields::of(map);
            let older = fields.get("name").and_then(|it| read_name(reader, &it.value));
            fields.finish(reader, &NO_REFUSALS);
            name = name.take().or(older);
            true
        }
        Value::Scalar(_) | Value::List(_) => reader.flag(&it.value) == Some(true),
    });
    let (spec, refusals) = read_spec(reader, &mut fields);
    fields.finish(reader, refusals);
    if !is_external {
        return (name.unwrap_or(own_name), Origin::Created(spec));
    }
    if spec != S::default() {
        let message = "what is external already exists, so nothing can be said of how to make it";
        reader.refuse(entry.key_span, message, "keep `external:` and `name:` only");
    }
    (name.unwrap_or_else(|| entry.key.clone()), Origin::External)
}

fn read_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    reader.parsed(node, "a name that Docker takes", DOCKER_NAME, |text| {
        match is_docker_name(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("`{}` is not a name that Docker takes", shown(text))),
        }
    })
}

pub(super) const DOCKER_NAME: &str =
    "a name has letters, digits, `_`, `.` and `-`, the first a letter or digit";

/// Docker's own rule for names of volumes; those of networks are alike.
pub(super) fn is_docker_name(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Reads a map of texts, or a list of `KEY=value`.
pub(super) fn read_texts(reader: &mut Reader<'_>, entry: &Entry) -> BTreeMap<String, String> {
    let pairs = reader.pairs(&entry.value, "a map, or a list of `KEY=value`");
    pairs
        .into_iter()
        .map(|it| (it.key, it.value.map(|text| text.value).unwrap_or_default()))
        .collect()
}

/// Reads labels. Those that begin with `quaymaster.` say what is ours to change
/// and remove (S4), so nobody else may write them.
pub(super) fn read_labels(reader: &mut Reader<'_>, entry: &Entry) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for pair in reader.pairs(&entry.value, "a map, or a list of `KEY=value`") {
        if pair.key.starts_with("quaymaster.") {
            let message = "labels that begin with `quaymaster.` are the controller's own";
            reader.refuse(pair.span, message, "choose another name");
        } else if pair.key.is_empty() {
            reader.refuse(pair.span, "this label has no name", "write `name: value`");
        } else {
            labels.insert(pair.key, pair.value.map(|text| text.value).unwrap_or_default());
        }
    }
    labels
}
