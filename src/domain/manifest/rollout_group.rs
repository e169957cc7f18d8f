//! `rollout_group:` — services that are promoted together, or none of them is.

use std::collections::BTreeMap;

use crate::domain::ServiceName;

use super::{
    reader::Reader,
    top::Services,
    yaml::{Entry, Span},
};

/// The group of a service, and where the file names it.
pub(super) struct WrittenGroup {
    pub name: ServiceName,
    pub span: Span,
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<WrittenGroup> {
    let help = "lower-case letters, digits, `-` and `_`, at most 63, the first a letter or digit";
    let name = reader.parsed(&entry.value, "a group's name", help, str::parse::<ServiceName>)?;
    Some(WrittenGroup { name, span: entry.value.span })
}

/// Checks what must be true of the groups of a stack: nobody is alone in one.
pub(super) fn check(reader: &mut Reader<'_>, services: &Services) {
    let mut groups: BTreeMap<&ServiceName, Vec<Span>> = BTreeMap::new();
    for group in services.values().flatten().filter_map(|read| read.rollout_group.as_ref()) {
        groups.entry(&group.name).or_default().push(group.span);
    }
    let names: Vec<&str> = groups.keys().map(|name| name.as_str()).collect();
    for (name, spans) in &groups {
        if let [alone] = spans[..] {
            let others = names.iter().copied().filter(|other| *other != name.as_str());
            let help = match reader.suggest(name.as_str(), others) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "give others the same `rollout_group:`, or remove it".to_owned(),
            };
            reader.refuse(alone, "nobody else is in this group", help);
        }
    }
}
