//! `depends_on:` — who must be there before a replica is created.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::domain::{DependsOn, ServiceKind, ServiceName};

use super::{
    fields::{Fields, Refusals, refuse_name},
    reader::{Reader, Text},
    report::shown,
    top::Services,
    yaml::{Entry, Node, Span, Value},
};

const CONDITIONS: [(&str, DependsOn); 3] = [
    ("service_started", DependsOn::ServiceStarted),
    ("service_healthy", DependsOn::ServiceHealthy),
    ("service_completed_successfully", DependsOn::ServiceCompletedSuccessfully),
];

/// What a service waits for, and where the file says so.
pub(super) type WrittenDependencies = BTreeMap<ServiceName, Dependency>;

pub(super) struct Dependency {
    pub condition: DependsOn,
    /// The name, as messages may show it.
    name: Text,
}

impl Dependency {
    /// Returns where the file says it.
    pub fn span(&self) -> Span {
        self.name.span
    }
}

/// Reads a list of names, or a map of names with a condition each.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> WrittenDependencies {
    let mut dependencies = WrittenDependencies::new();
    match &node.value {
        Value::Map(map) => {
            for entry in &map.entries {
                let condition = read_condition(reader, entry);
                add(reader, &mut dependencies, Text::of_key(entry), condition);
            }
        }
        Value::List(_) | Value::Scalar(_) => {
            for text in reader.texts(node, "a list of services, or a map with conditions") {
                add(reader, &mut dependencies, text, Some(DependsOn::ServiceStarted));
            }
        }
    }
    dependencies
}

fn add(
    reader: &mut Reader<'_>,
    dependencies: &mut WrittenDependencies,
    name: Text,
    condition: Option<DependsOn>,
) {
    let Ok(on) = name.value.parse::<ServiceName>() else {
        let reason = format!("`{}` is not a service's name", name.shown());
        reader.refuse_text(&name, "a service's name", reason, "name a service of this file");
        return;
    };
    let Some(condition) = condition else { return };
    let (span, shown) = (name.span, name.shown());
    if let Some(first) = dependencies.insert(on, Dependency { condition, name }) {
        reader.refuse_again(span, format!("`{shown}` stands here a second time"), first.name.span);
    }
}

fn read_condition(reader: &mut Reader<'_>, entry: &Entry) -> Option<DependsOn> {
    if entry.value.is_null() {
        return Some(DependsOn::ServiceStarted);
    }
    let mut fields =
        Fields::of(reader.map(&entry.value, "a map such as `{ condition: service_healthy }`")?);
    let condition = fields.get("condition");
    if let Some(required) = fields.get("required")
        && reader.flag(&required.value) == Some(false)
    {
        let help = "remove it, or the dependency: a service that is not there is never waited for";
        reader.refuse(required.value.span, "an optional dependency is not supported", help);
    }
    if let Some(restart) = fields.get("restart")
        && reader.flag(&restart.value) == Some(true)
    {
        let help = "remove it: a service should reconnect when what it depends on is replaced";
        reader.refuse(restart.value.span, "restarting with a dependency is not supported", help);
    }
    fields.finish(reader, &Refusals { later: &[], never: &[] });
    let Some(condition) = condition else { return Some(DependsOn::ServiceStarted) };
    let text = reader.text(&condition.value, "a condition")?;
    let found = CONDITIONS.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        let names = CONDITIONS.map(|(name, _)| name);
        let message = format!("unknown condition `{}`", text.shown());
        let help = format!("a condition is one of {}", names.join(", "));
        refuse_name(reader, text.span, message, &text.value, names.into_iter(), help);
    }
    found.map(|(_, condition)| *condition)
}

/// Checks what must be true of the dependencies of a stack together: every name
/// is a service, every condition can come true, nothing waits for itself.
pub(super) fn check(reader: &mut Reader<'_>, services: &Services) {
    for read in services.values().flatten() {
        for (name, Dependency { condition, name: written }) in &read.depends_on {
            match services.get(name) {
                None => refuse_name(
                    reader,
                    written.span,
                    format!("there is no service `{}`", written.shown()),
                    name.as_str(),
                    services.keys().map(ServiceName::as_str),
                    "name a service of this file, or remove it",
                ),
                Some(None) => {}
                Some(Some(on)) => {
                    check_condition(reader, name, on.kind, *condition, written.span);
                }
            }
        }
    }
    check_cycles(reader, services);
}

fn check_condition(
    reader: &mut Reader<'_>,
    name: &ServiceName,
    kind: ServiceKind,
    condition: DependsOn,
    span: Span,
) {
    match (condition, kind) {
        (DependsOn::ServiceCompletedSuccessfully, ServiceKind::LongRunning) => reader.refuse(
            span,
            format!("`{name}` is meant to keep running, so it never completes"),
            format!(
                "give `{name}` `restart: \"no\"` if it runs once, or wait for `service_healthy`"
            ),
        ),
        (DependsOn::ServiceHealthy, ServiceKind::OneShot) => reader.refuse(
            span,
            format!("`{name}` runs once, so it never becomes healthy"),
            "wait for `service_completed_successfully`",
        ),
        (DependsOn::ServiceStarted, ServiceKind::LongRunning | ServiceKind::OneShot)
        | (DependsOn::ServiceHealthy, ServiceKind::LongRunning)
        | (DependsOn::ServiceCompletedSuccessfully, ServiceKind::OneShot) => {}
    }
}

fn check_cycles(reader: &mut Reader<'_>, services: &Services) {
    let mut settled = BTreeSet::new();
    for start in services.keys() {
        // Depth first, without recursion: a file may chain thousands.
        let mut path: Vec<(&ServiceName, Vec<(&ServiceName, Span)>)> = Vec::new();
        let mut on_path = HashSet::new();
        if !settled.contains(start) {
            path.push((start, waits_for(services, start)));
            on_path.insert(start);
        }
        while let Some((name, open)) = path.last_mut() {
            let name = *name;
            let Some((next, span)) = open.pop() else {
                settled.insert(name);
                on_path.remove(name);
                path.pop();
                continue;
            };
            if on_path.contains(next) {
                let mut names: Vec<&str> = path
                    .iter()
                    .map(|(waiting, _)| waiting.as_str())
                    .skip_while(|waiting| *waiting != next.as_str())
                    .collect();
                names.push(next.as_str());
                reader.refuse(
                    span,
                    format!("services wait for one another: {}", shown(&names.join(" → "))),
                    "remove one of these dependencies",
                );
            } else if !settled.contains(next) && services.contains_key(next) {
                path.push((next, waits_for(services, next)));
                on_path.insert(next);
            }
        }
    }
}

fn waits_for<'s>(services: &'s Services, name: &ServiceName) -> Vec<(&'s ServiceName, Span)> {
    let read = services.get(name).and_then(Option::as_ref);
    read.map(|read| read.depends_on.iter().map(|(on, it)| (on, it.name.span)).rev().collect())
        .unwrap_or_default()
}
