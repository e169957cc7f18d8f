//! `secrets:` of a service: which secrets it gets, and as what.
//!
//! By default a secret is a file in `/run/secrets`, as in Compose. With our
//! `environment:` it is a variable, for programs that cannot read files.

use std::collections::HashMap;

use crate::domain::{ContainerSpec, Secret, SecretBytes, SecretFile, release::Mount};

use super::{
    fields::{Fields, NO_REFUSALS, refuse_name},
    reader::{Reader, Text},
    report::shown,
    secrets::Secrets,
    yaml::{Entry, Map, Node, Span, Value},
};

/// Where Compose puts them.
const FOLDER: &str = "/run/secrets";

/// Compose's default: the program need not be root.
const DEFAULT_MODE: u32 = 0o444;

/// The longest variable that Linux hands to a program: MAX_ARG_STRLEN, less the name.
const MAX_VARIABLE_BYTES: usize = 120 * 1024;

/// Whether the service is to run here: only then its secrets must be at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Here,
    NotHere,
}

/// A secret of a service.
struct Grant {
    name: String,
    form: Form,
    span: Span,
}

enum Form {
    File { target: String, uid: Option<u32>, gid: Option<u32>, mode: u32 },
    Variable(String),
}

/// Reads a service's secrets into its specification, of which the environment and
/// the tmpfs mounts are read already.
pub(super) fn read(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    secrets: &mut Secrets,
    wanted: Wanted,
    mounts: &[Mount],
    spec: &mut ContainerSpec,
) {
    let items =
        entry.and_then(|entry| reader.list(&entry.value, "a list of secrets")).unwrap_or_default();
    let mut places = HashMap::new();
    for item in items {
        let Some(grant) = read_grant(reader, item, secrets) else { continue };
        let place = match &grant.form {
            Form::File { target, .. } => target.clone(),
            Form::Variable(variable) => format!("${variable}"),
        };
        if let Some(first) = places.insert(place, grant.span) {
            let message = "another secret of this service is there already";
            reader.refuse_again(grant.span, message, first);
            continue;
        }
        if is_free(reader, &grant, mounts, spec) && wanted == Wanted::Here {
            give(reader, grant, secrets, spec);
        }
    }
}

fn read_grant(reader: &mut Reader<'_>, item: &Node, secrets: &Secrets) -> Option<Grant> {
    if let Value::Map(map) = &item.value {
        return read_long(reader, item, map, secrets);
    }
    let name = reader.text(item, "the name of a secret")?;
    check_name(reader, &name, secrets)?;
    let target = format!("{FOLDER}/{}", name.value);
    let form = Form::File { target, uid: None, gid: None, mode: DEFAULT_MODE };
    Some(Grant { name: name.value, form, span: item.span })
}

/// `{ source, target, uid, gid, mode }` or `{ source, environment }`
fn read_long(reader: &mut Reader<'_>, item: &Node, map: &Map, secrets: &Secrets) -> Option<Grant> {
    let mut fields = Fields::of(map);
    let source = fields.get("source");
    let target_entry = fields.get("target");
    let uid = fields.get("uid");
    let gid = fields.get("gid");
    let mode_entry = fields.get("mode");
    let variable = fields.get("environment");
    let has_slip = fields.has_slip_of("source");
    fields.finish(reader, &NO_REFUSALS);
    let Some(source) = source else {
        if !has_slip {
            let message = "it is not said which secret this is";
            reader.refuse(item.span, message, "add `source: NAME`");
        }
        return None;
    };
    let name = reader.text(&source.value, "the name of a secret")?;
    check_name(reader, &name, secrets)?;
    let form = match variable {
        Some(variable) => {
            if let Some(of_files) =
                [target_entry, uid, gid, mode_entry].into_iter().flatten().next()
            {
                let message = format!("`{}` is of a file, and this is a variable", of_files.key);
                reader.refuse(of_files.key_span, message, "remove it, or remove `environment:`");
                return None;
            }
            Form::Variable(read_variable(reader, variable)?)
        }
        None => {
            let target = match target_entry {
                Some(target) => read_target(reader, target),
                None => Some(format!("{FOLDER}/{}", name.value)),
            };
            let owner = |reader: &mut Reader<'_>, entry: Option<&Entry>| {
                entry.map(|entry| reader.count(&entry.value, 0..=u32::MAX - 1))
            };
            let (uid, gid) = (owner(reader, uid), owner(reader, gid));
            let mode = mode_entry.map(|mode| read_mode(reader, mode));
            Form::File {
                target: target?,
                // What is wrong with them has been said.
                uid: uid.flatten(),
                gid: gid.flatten(),
                mode: mode.flatten().unwrap_or(DEFAULT_MODE),
            }
        }
    };
    Some(Grant { name: name.value, form, span: item.span })
}

fn check_name(reader: &mut Reader<'_>, name: &Text, secrets: &Secrets) -> Option<()> {
    if secrets.declares(&name.value) {
        return Some(());
    }
    let message = format!("the stack has no secret `{}`", name.shown());
    let help = "declare it at the top level: `secrets: { NAME: { file: /path } }`";
    refuse_name(reader, name.span, message, &name.value, secrets.names(), help);
    None
}

fn read_variable(reader: &mut Reader<'_>, entry: &Entry) -> Option<String> {
    let name = reader.text(&entry.value, "a variable's name")?;
    if name.value.is_empty() || name.value.contains(['=', '\0']) {
        let reason = format!("`{}` is not a variable's name", name.shown());
        let help = "write the name of the variable that the program reads";
        reader.refuse_text(&name, "a variable's name", reason, help);
        return None;
    }
    Some(name.value)
}

/// A name is one in `/run/secrets`; a path is taken as it is.
fn read_target(reader: &mut Reader<'_>, entry: &Entry) -> Option<String> {
    let text = reader.text(&entry.value, "a path in the container")?;
    let path = match text.value.starts_with('/') {
        true => text.value.clone(),
        false => format!("{FOLDER}/{}", text.value),
    };
    let mut parts = path.split('/').skip(1);
    if parts.any(|part| part.is_empty() || part == "." || part == "..") {
        let reason = format!("`{}` does not name a file in the container", text.shown());
        let help = "write a name, which stands in /run/secrets then, or a path from `/`";
        reader.refuse_text(&text, "a file in the container", reason, help);
        return None;
    }
    Some(path)
}

/// Reads permission bits. As YAML numbers, `440` and `0440` are not the same in every
/// tool: here they are octal, and written as such.
fn read_mode(reader: &mut Reader<'_>, entry: &Entry) -> Option<u32> {
    let help = "write the bits in octal with a 0 in front: `0440`";
    reader.parsed(&entry.value, "a file's mode", help, |text| {
        let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
        let bits = octal.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match bits.and_then(|digits| u32::from_str_radix(digits, 8).ok()) {
            Some(mode) if mode <= 0o777 => Ok(mode),
            Some(_) | None => Err(format!("`{}` is not a file's mode", shown(text))),
        }
    })
}

/// Refuses a place that the service uses for something else.
fn is_free(reader: &mut Reader<'_>, grant: &Grant, mounts: &[Mount], spec: &ContainerSpec) -> bool {
    match &grant.form {
        Form::File { target, .. } => {
            let is_it = |path: &str| path.trim_end_matches('/') == target;
            let is_taken = mounts.iter().any(|mount| is_it(&mount.target))
                || spec.tmpfs.keys().any(|path| is_it(path));
            if is_taken {
                let message = format!("something is mounted on {} already", shown(target));
                reader.refuse(grant.span, message, "write another `target:`");
            }
            !is_taken
        }
        Form::Variable(variable) => {
            let is_taken = spec.environment.contains_key(variable);
            if is_taken {
                let message = format!("`{}` is in the environment already", shown(variable));
                let help = "keep one of the two; a secret is safer than `environment:`";
                reader.refuse(grant.span, message, help);
            }
            !is_taken
        }
    }
}

fn give(reader: &mut Reader<'_>, grant: Grant, secrets: &mut Secrets, spec: &mut ContainerSpec) {
    let Some(content) = secrets.value(reader, &grant.name) else { return };
    match grant.form {
        Form::File { target, uid, gid, mode } => {
            spec.secrets.insert(target, SecretFile { name: grant.name, content, uid, gid, mode });
        }
        Form::Variable(variable) => match as_variable(&content) {
            Ok(value) => {
                spec.environment.insert(variable, value);
            }
            Err(why) => {
                let message = format!("the secret `{}` cannot be a variable: {why}", grant.name);
                reader.refuse(grant.span, message, "remove `environment:`: a file can hold it");
            }
        },
    }
}

/// Returns the text without the one line break that editors leave at its end.
fn as_variable(content: &SecretBytes) -> Result<Secret, &'static str> {
    let text = std::str::from_utf8(content.reveal()).map_err(|_| "it is not UTF-8")?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    match text {
        _ if text.contains('\0') => Err("it holds a NUL character"),
        _ if text.len() > MAX_VARIABLE_BYTES => Err("it is longer than Linux lets one be"),
        _ => Ok(Secret::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_no_line_break_at_its_end() {
        let variable = |content: &[u8]| as_variable(&SecretBytes::new(content));
        for (content, value) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            assert_eq!(variable(content.as_bytes()), Ok(Secret::new(value)), "{content:?}");
        }
        assert!(variable(b"a\0b").is_err() && variable(b"\xff").is_err());
        assert!(variable(&vec![b'a'; MAX_VARIABLE_BYTES + 1]).is_err());
    }
}
