//! `hosts:` of a service — on which hosts it runs, where one file serves several.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{HostIdentity, host_identity};

use super::{
    reader::{Reader, Text},
    route::is_host,
    top::Services,
    yaml::{Entry, Span, Value},
};

/// A host runs the service if any of these fits it.
#[derive(Debug)]
pub(super) struct WrittenHosts {
    selectors: BTreeSet<Selector>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Selector {
    Name(String),
    /// All of these.
    Labels(BTreeMap<String, String>),
}

const HELP: &str = "write a host's name such as `edge-1`, or a label such as `role=worker`";

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<WrittenHosts> {
    let mut selectors = BTreeSet::new();
    let is_empty = match &entry.value.value {
        Value::Map(map) => {
            let mut labels = BTreeMap::new();
            for entry in &map.entries {
                labels.extend(read_label(reader, entry));
            }
            selectors.insert(Selector::Labels(labels));
            map.entries.is_empty()
        }
        Value::List(items) => {
            for text in reader.texts(&entry.value, "a list of hosts") {
                selectors.extend(read_selector(reader, &text));
            }
            items.is_empty()
        }
        Value::Scalar(_) => {
            let text = reader.text(&entry.value, "a host, or a list of them");
            selectors.extend(text.and_then(|text| read_selector(reader, &text)));
            false
        }
    };
    if is_empty {
        let help = "name one, or remove the key: then every host runs the service";
        reader.refuse(entry.key_span, "no host would run this service", help);
    }
    Some(WrittenHosts { selectors, span: entry.key_span })
}

fn read_selector(reader: &mut Reader<'_>, text: &Text) -> Option<Selector> {
    if text.value.contains('=') {
        return match host_identity::label(&text.value) {
            Ok(label) => Some(Selector::Labels(BTreeMap::from([label]))),
            Err(bad) => {
                let reason = format!("`{}`: {bad}", text.shown());
                reader.refuse_text(text, "a label of a host", reason, HELP);
                None
            }
        };
    }
    match is_host(&text.value) {
        Ok(()) => Some(Selector::Name(text.value.clone())),
        Err(reason) => {
            let message = format!("`{}` is not a host's name: {reason}", text.shown());
            reader.refuse_text(text, "a host's name", message, HELP);
            None
        }
    }
}

fn read_label(reader: &mut Reader<'_>, entry: &Entry) -> Option<(String, String)> {
    let text = reader.text(&entry.value, "a label's value")?;
    let label = host_identity::label(&format!("{}={}", entry.key, text.value));
    if let Err(bad) = &label {
        reader.refuse_text(&text, "a label's value", bad, HELP);
    }
    label.ok()
}

impl WrittenHosts {
    pub fn include(&self, host: &HostIdentity) -> bool {
        self.selectors.iter().any(|selector| match selector {
            Selector::Name(name) => *name == host.name,
            Selector::Labels(labels) => {
                labels.iter().all(|(key, value)| host.labels.get(key) == Some(value))
            }
        })
    }
}

/// Returns whether a service runs on every host that another runs on. None is every
/// host.
fn covers(all: Option<&WrittenHosts>, some: Option<&WrittenHosts>) -> bool {
    match (all, some) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(all), Some(some)) => some.selectors.is_subset(&all.selectors),
    }
}

/// Returns whether one host may run both. Whether a host has a label is not known
/// here, so only different names keep services apart.
pub(super) fn may_meet(one: Option<&WrittenHosts>, other: Option<&WrittenHosts>) -> bool {
    let names = |hosts: &WrittenHosts| -> Option<BTreeSet<String>> {
        let names = hosts.selectors.iter().map(|selector| match selector {
            Selector::Name(name) => Some(name.clone()),
            Selector::Labels(_) => None,
        });
        names.collect()
    };
    match (one.and_then(names), other.and_then(names)) {
        (Some(one), Some(other)) => !one.is_disjoint(&other),
        (None, _) | (_, None) => true,
    }
}

/// Checks what must be true of the hosts of a stack's services together.
pub(super) fn check(reader: &mut Reader<'_>, services: &Services) {
    for (name, read) in services.iter().filter_map(|(name, read)| Some((name, read.as_ref()?))) {
        for (on, dependency) in &read.depends_on {
            let Some(Some(other)) = services.get(on) else { continue };
            if !covers(other.hosts.as_ref(), read.hosts.as_ref()) {
                reader.refuse(
                    dependency.span(),
                    format!("`{on}` does not run on every host that `{name}` runs on"),
                    format!("give `{on}` the same `hosts:`, or none"),
                );
            }
        }
    }
    check_groups(reader, services);
}

/// Nobody can promote together what different hosts run.
fn check_groups(reader: &mut Reader<'_>, services: &Services) {
    let mut first = BTreeMap::new();
    for (name, read) in services.iter().filter_map(|(name, read)| Some((name, read.as_ref()?))) {
        let Some(group) = &read.rollout_group else { continue };
        let hosts = read.hosts.as_ref().map(|hosts| &hosts.selectors);
        let (other, of_other) = *first.entry(&group.name).or_insert((name, hosts));
        if hosts != of_other {
            reader.refuse(
                group.span,
                format!("`{other}` of the same group has other `hosts:`"),
                "services that are promoted together run on the same hosts",
            );
        }
    }
}
