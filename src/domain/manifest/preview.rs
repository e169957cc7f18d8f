//! `route.preview:` — how the idle slot is looked at before it is promoted.

use crate::domain::Preview;

use super::{
    fields::{Fields, NO_REFUSALS},
    headers::is_name,
    reader::{Reader, Text},
    route::check_host_pattern,
    yaml::{Entry, Span, Value},
};

/// A preview, and where the file says it.
pub(super) struct ReadPreview {
    pub preview: Preview,
    pub span: Span,
    /// Its host, if it is one.
    pub host: Option<Text>,
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<ReadPreview> {
    let span = entry.key_span;
    let (host, header) = match &entry.value.value {
        Value::Map(map) => {
            let mut fields = Fields::of(map);
            let (host, header) = (fields.get("host"), fields.get("header"));
            let is_misspelt = fields.has_slip_of("host") || fields.has_slip_of("header");
            fields.finish(reader, &NO_REFUSALS);
            if host.is_none() && header.is_none() {
                if !is_misspelt {
                    let help = "write `host: preview.example.com`, or `header: X-Preview`";
                    reader.refuse(span, "this names no preview", help);
                }
                return None;
            }
            (host.map(|it| &*it.value), header)
        }
        Value::Scalar(_) | Value::List(_) => (Some(&*entry.value), None),
    };
    match (host, header) {
        (Some(node), None) => {
            let text = reader.text(node, "a host name")?;
            if let Err((reason, help)) = check_host_pattern(&text.value) {
                let message = format!("`{}` is not a host name: {reason}", text.shown());
                reader.refuse_text(&text, "a host name", message, &help);
                return None;
            }
            Some(ReadPreview { preview: Preview::Host(text.value.clone()), span, host: Some(text) })
        }
        (None, Some(header)) => {
            let preview = read_header(reader, header)?;
            Some(ReadPreview { preview, span, host: None })
        }
        (Some(_), Some(header)) => {
            let help = "keep one of `host` and `header`";
            reader.refuse(header.key_span, "a preview is told by one thing", help);
            None
        }
        (None, None) => None,
    }
}

/// Reads a header's name, or `{ name: value }`. A value may be what keeps others
/// out, so no message quotes it.
fn read_header(reader: &mut Reader<'_>, entry: &Entry) -> Option<Preview> {
    let (name, value, span) = match &entry.value.value {
        Value::Map(map) => {
            let [only] = &map.entries[..] else {
                let help = "write `header: { X-Preview: \"1\" }`";
                reader.refuse(entry.key_span, "a preview is told by one header", help);
                return None;
            };
            let value = reader.text(&only.value, "a header's value")?.value;
            (only.key.clone(), Some(value), only.key_span)
        }
        Value::Scalar(_) | Value::List(_) => {
            let name = reader.text(&entry.value, "a header's name")?;
            (name.value, None, entry.value.span)
        }
    };
    // Caddy would read `*` as anything and `{…}` as a placeholder.
    let plain = |c: char| !c.is_control() && !"*{}".contains(c);
    let is_value = |value: &String| !value.is_empty() && value.chars().all(plain);
    if !is_name(&name) || !value.as_ref().is_none_or(is_value) {
        let help = "a name has letters, digits and `-`; a value has one line, and no `*` and `{}`";
        reader.refuse(span, "this is not a header to tell a preview by", help);
        return None;
    }
    Some(Preview::Header { name, value })
}
