//! `quaymaster flip` on a local file: writes a service's `slot:` into the text,
//! and leaves every other byte as it is.

use crate::domain::{ServiceName, Slot};

use super::yaml::{self, Entry, Layout, Map, Node, Value};

/// Why a file's slot could not be edited in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotNotEdited {
    #[error("the file is not valid YAML; `quaymaster validate` says where")]
    Unreadable,
    #[error("the file has no service `{0}`")]
    NoSuchService(ServiceName),
    #[error(
        "what the file says of `{0}` is shared with others by a YAML alias or anchor; edit its `slot:` by hand"
    )]
    Shared(ServiceName),
    #[error("the slot of `{0}` comes from a variable; change the variable")]
    Variable(ServiceName),
}

/// Returns `text` with `slot:` of `service` set to `slot`: replaced where it
/// stands, else inserted as the first key of the service.
pub fn with_slot(text: &str, service: &ServiceName, slot: Slot) -> Result<String, SlotNotEdited> {
    let tree = read(text).ok_or(SlotNotEdited::Unreadable)?;
    let missing = || SlotNotEdited::NoSuchService(service.clone());
    let shared = || SlotNotEdited::Shared(service.clone());
    let services = map_of(&tree).and_then(|map| map.get("services")).ok_or_else(missing)?;
    let declared =
        map_of(&services.value).and_then(|map| map.get(service.as_str())).ok_or_else(missing)?;
    let keys = map_of(&declared.value).ok_or_else(missing)?;
    if is_elsewhere(services) || is_elsewhere(declared) || declared.value.anchored {
        return Err(shared());
    }
    // A merged `slot` belongs to others too, so the service gets one of its own.
    let own_slot = keys.get("slot").filter(|entry| declared_in(declared, entry));
    let edited = match own_slot {
        Some(entry) if is_elsewhere(entry) || entry.value.anchored => return Err(shared()),
        Some(entry) => match &entry.value.value {
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                return Err(SlotNotEdited::Variable(service.clone()));
            }
            Value::Scalar(_) => replaced(text, entry, slot),
            Value::List(_) | Value::Map(_) => return Err(SlotNotEdited::Unreadable),
        },
        None => inserted(text, keys, declared, slot).ok_or_else(shared)?,
    };
    // Trust nothing that was spliced: it must read back as meant.
    let reread = read(&edited);
    let written = reread.as_deref().and_then(|tree| {
        map_of(&map_of(&map_of(tree)?.get("services")?.value)?.get(service.as_str())?.value)?
            .get("slot")
            .map(
                |entry| matches!(&entry.value.value, Value::Scalar(it) if it.text == slot.as_str()),
            )
    });
    if written == Some(true) { Ok(edited) } else { Err(shared()) }
}

fn read(text: &str) -> Option<std::rc::Rc<Node>> {
    let mut flaws = Vec::new();
    yaml::read(text, &mut flaws).filter(|_| flaws.is_empty())
}

fn map_of(node: &Node) -> Option<&Map> {
    match &node.value {
        Value::Map(map) => Some(map),
        Value::Scalar(_) | Value::List(_) => None,
    }
}

/// Returns whether the value is an alias: what it repeats stands further up.
fn is_elsewhere(entry: &Entry) -> bool {
    entry.value.span.start < entry.key_span.start
}

/// Returns whether a key was written in the service itself and not merged.
fn declared_in(service: &Entry, key: &Entry) -> bool {
    key.key_span.start > service.key_span.start
}

fn replaced(text: &str, entry: &Entry, slot: Slot) -> String {
    let span = entry.value.span;
    if span.start < span.end {
        return format!("{}{slot}{}", &text[..span.start], &text[span.end..]);
    }
    // `slot:` with nothing after it.
    let colon = text[entry.key_span.end..].find(':').map_or(0, |at| at + 1);
    let at = entry.key_span.end + colon;
    format!("{} {slot}{}", &text[..at], &text[at..])
}

fn inserted(text: &str, keys: &Map, service: &Entry, slot: Slot) -> Option<String> {
    match keys.layout {
        Layout::Flow => {
            let brace = service.value.span.start;
            let inside = text[brace..].strip_prefix('{')?;
            let separator = if inside.trim_start().starts_with('}') { "" } else { "," };
            let at = brace + 1;
            Some(format!("{} slot: {slot}{separator}{}", &text[..at], &text[at..]))
        }
        Layout::Block => {
            // The first thing written in the service, be it a key or `<<`.
            let first = service.value.span.start;
            let line = text[..first].rfind('\n').map_or(0, |at| at + 1);
            let indent = &text[line..first];
            if !indent.bytes().all(|byte| byte == b' ') {
                return None;
            }
            let newline = if text[..line].ends_with("\r\n") { "\r\n" } else { "\n" };
            Some(format!("{}{indent}slot: {slot}{newline}{}", &text[..line], &text[line..]))
        }
    }
}
