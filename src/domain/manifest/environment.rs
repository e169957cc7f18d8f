//! `environment:` and `env_file:` — merged into what a container gets.

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
};

use crate::domain::Secret;

use super::{
    MAX_FILE_BYTES,
    env_file::read_env_file,
    fields::{Fields, Refusals},
    reader::{Reader, Text},
    yaml::{Entry, Node, Value},
};

/// Files first, in their order, then what the service itself says; the later
/// wins, as in Compose.
pub(super) fn read(
    reader: &mut Reader<'_>,
    env_file: Option<&Entry>,
    environment: Option<&Entry>,
) -> BTreeMap<String, Secret> {
    let mut variables = BTreeMap::new();
    for file in env_file.map(|entry| listed(reader, &entry.value)).unwrap_or_default() {
        variables.extend(read_file(reader, &file).unwrap_or_default());
    }
    let pairs = environment
        .map(|entry| reader.pairs(&entry.value, "a map, or a list of `KEY=value`"))
        .unwrap_or_default();
    for pair in pairs {
        if pair.key.is_empty() || pair.key.contains(['=', '\0']) {
            reader.refuse(pair.span, "this is not a variable's name", "write `KEY: value`");
            continue;
        }
        let value = match pair.value {
            Some(text) => Some(text.value),
            None => (reader.input.variables)(&pair.key),
        };
        match value {
            Some(value) if !value.contains('\0') => {
                variables.insert(pair.key, value);
            }
            Some(_) => {
                reader.refuse(pair.span, "a variable cannot hold a NUL character", "remove it")
            }
            None => reader.refuse(
                pair.span,
                format!("`{}` has no value here, and the variable is not set", pair.shown),
                "set it in the environment or in an --env-file; an empty value is written `\"\"`",
            ),
        }
    }
    variables.into_iter().map(|(key, value)| (key, Secret::new(value))).collect()
}

struct EnvFile {
    path: Text,
    presence: Presence,
}

/// Whether a file that is missing is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// Reads a path, or a list of paths and `{ path, required }`.
fn listed(reader: &mut Reader<'_>, node: &Node) -> Vec<EnvFile> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(|item| one(reader, item)).collect(),
        Value::Scalar(_) | Value::Map(_) => one(reader, node).into_iter().collect(),
    }
}

fn one(reader: &mut Reader<'_>, node: &Node) -> Option<EnvFile> {
    let Value::Map(map) = &node.value else {
        let path = reader.text(node, "a file's path")?;
        return Some(EnvFile { path, presence: Presence::Required });
    };
    const FORMAT: Refusals = Refusals {
        later: &[],
        never: &[("format", "remove it, and put single quotes around values that hold a `$`")],
    };
    let mut fields = Fields::of(map);
    let path = fields.get("path");
    let required = fields.get("required").and_then(|entry| reader.flag(&entry.value));
    fields.finish(reader, &FORMAT);
    let Some(path) = path else {
        reader.refuse(node.span, "the file has no `path`", "add `path: ./app.env`");
        return None;
    };
    let presence = if required == Some(false) { Presence::Optional } else { Presence::Required };
    Some(EnvFile { path: reader.text(&path.value, "a file's path")?, presence })
}

fn read_file(reader: &mut Reader<'_>, file: &EnvFile) -> Option<BTreeMap<String, String>> {
    let name = file.path.shown();
    let Some(path) = inside(reader.input.base_dir, Path::new(&file.path.value)) else {
        reader.refuse(
            file.path.span,
            format!("`{name}` lies outside the folder of the desired-state file"),
            "put the file beside it; for secrets from elsewhere use --env-file and `${NAME}`",
        );
        return None;
    };
    let refuse = |reader: &mut Reader<'_>, reason: String, help: &str| {
        reader.refuse(file.path.span, format!("`{name}`: {reason}"), help);
    };
    let bytes = match (reader.input.read_file)(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if file.presence == Presence::Required {
                let help = "create it, or write `{ path: …, required: false }`";
                refuse(reader, "there is no such file".to_owned(), help);
            }
            return None;
        }
        Err(error) => {
            refuse(reader, error.to_string(), "make it a file that the controller may read");
            return None;
        }
    };
    if bytes.len() > MAX_FILE_BYTES {
        refuse(reader, format!("it has more than {MAX_FILE_BYTES} bytes"), "name the right file");
        return None;
    }
    let Ok(text) = String::from_utf8(bytes) else {
        refuse(reader, "it is not UTF-8".to_owned(), "save it as UTF-8");
        return None;
    };
    match read_env_file(&text, reader.input.variables) {
        Ok(variables) => Some(variables),
        Err(bad) => {
            refuse(reader, bad.to_string(), "each line is `KEY=value`, empty or a `#` comment");
            None
        }
    }
}

/// Returns `path` relative to `base` with `.` and `..` resolved, unless it
/// leads out of it. Symbolic links are for whoever opens the file.
fn inside(base: &Path, path: &Path) -> Option<PathBuf> {
    let relative = if path.is_absolute() { path.strip_prefix(base).ok()? } else { path };
    let mut inside = PathBuf::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !inside.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!inside.as_os_str().is_empty()).then_some(inside)
}
