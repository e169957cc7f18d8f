//! `secrets:` of the stack: where each value comes from.
//!
//! The names and meanings are the Compose Specification's, without what only Swarm
//! can do; `age` and `age_file` are ours. A value is only asked for where a service
//! of this host uses it: the others of the file may be on other hosts.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use crate::domain::{SecretBytes, policy::MountAccess};

use super::{
    Holds, MAX_SECRET_BYTES, Undecrypted,
    fields::{Fields, Refusals},
    mounts::resolved,
    obey,
    reader::{Reader, Text},
    report::shown,
    resources::{DOCKER_NAME, is_docker_name},
    yaml::{Entry, Span, Value},
};

const FORMS: &str = "`file`, `environment`, `age` or `age_file`";

const REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        (
            "external",
            "remove it: it is for Swarm; write `file: /path/on/the/host` for what is kept outside of the repository",
        ),
        ("name", "remove it: it is for Swarm; a service says `target:` to have another name"),
        ("driver", "remove it: it is for Swarm"),
        ("driver_opts", "remove it: it is for Swarm"),
        ("template_driver", "remove it: it is for Swarm"),
        ("labels", "remove it: it is for Swarm"),
        (
            "content",
            "a secret in the clear is no secret: encrypt it (`age:`), or keep it outside (`file:`, `environment:`)",
        ),
        (
            "value",
            "a secret in the clear is no secret: encrypt it (`age:`), or keep it outside (`file:`, `environment:`)",
        ),
    ],
};

/// The secrets of the top level, by name.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<String, Declared>);

struct Declared {
    /// None if something is wrong with it, which has been said.
    origin: Option<Origin>,
    /// What it came to, once it was asked for; None if it cannot be had.
    value: Option<Option<SecretBytes>>,
}

enum Origin {
    File(Text),
    Variable(Text),
    /// The text, and where its key stands: the text may be a secret that somebody
    /// forgot to encrypt, so nothing points at it.
    Age {
        armored: Text,
        key: Span,
    },
    AgeFile(Text),
}

/// Reads the top level's secrets, and asks for no value.
pub(super) fn read_declared(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Secrets {
    let map = entry.and_then(|entry| match &entry.value.value {
        Value::Map(map) => Some(map),
        Value::Scalar(_) | Value::List(_) => {
            let help = "write `secrets: { db_password: { file: ./db_password } }`";
            reader.refuse(entry.key_span, "expected a map of secrets", help);
            None
        }
    });
    let mut secrets = BTreeMap::new();
    for entry in map.map(|map| &map.entries[..]).unwrap_or_default() {
        if !is_docker_name(&entry.key) {
            let message = format!("`{}` is not a secret's name", shown(&entry.key));
            reader.refuse(entry.key_span, message, DOCKER_NAME);
            continue;
        }
        let origin = read_origin(reader, entry);
        secrets.insert(entry.key.clone(), Declared { origin, value: None });
    }
    Secrets(secrets)
}

fn read_origin(reader: &mut Reader<'_>, entry: &Entry) -> Option<Origin> {
    let name = shown(&entry.key);
    let Value::Map(map) = &entry.value.value else {
        // Never at the value: it may be the secret itself.
        let message = format!("it is not said where the secret `{name}` comes from");
        reader.refuse(entry.key_span, message, format!("write a map with {FORMS}"));
        return None;
    };
    let mut fields = Fields::of(map);
    let file = fields.get("file");
    let variable = fields.get("environment");
    let age = fields.get("age");
    let age_file = fields.get("age_file");
    let written: Vec<&Entry> = [file, variable, age, age_file].into_iter().flatten().collect();
    let other_keys = map.entries.len() > written.len();
    fields.finish(reader, &REFUSALS);
    match written[..] {
        [] => {
            // What is there instead is refused as a key already.
            if !other_keys {
                let message = format!("it is not said where the secret `{name}` comes from");
                reader.refuse(entry.key_span, message, format!("write {FORMS}"));
            }
            return None;
        }
        [_] => {}
        [_, second, ..] => {
            let message = format!("the secret `{name}` has one value, and comes from one place");
            reader.refuse(second.key_span, message, format!("keep one of {FORMS}"));
            return None;
        }
    }
    if let Some(file) = file {
        let path = reader.text(&file.value, "a file's path")?;
        let at = Path::new(&path.value);
        // Whoever may not mount a file of the host may not have it as a secret either.
        if at.is_absolute() {
            obey::bind_mount(reader, path.span, &resolved(at), MountAccess::ReadOnly);
        }
        return Some(Origin::File(path));
    }
    if let Some(variable) = variable {
        return Some(Origin::Variable(reader.text(&variable.value, "a variable's name")?));
    }
    if let Some(age) = age {
        let Value::Scalar(_) = &age.value.value else {
            let help = "write `age: |` and below it, indented, what `age --armor` prints";
            reader.refuse(age.key_span, "expected a text that `age` made", help);
            return None;
        };
        let armored = reader.text(&age.value, "a text that `age` made")?;
        return Some(Origin::Age { armored, key: age.key_span });
    }
    Some(Origin::AgeFile(reader.text(&age_file?.value, "a file's path")?))
}

impl Secrets {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn declares(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns a secret's value. That it cannot be had is said once, however many
    /// services want it.
    pub fn value(&mut self, reader: &mut Reader<'_>, name: &str) -> Option<SecretBytes> {
        let declared = self.0.get_mut(name)?;
        if let Some(known) = &declared.value {
            return known.clone();
        }
        let value = declared.origin.as_ref().and_then(|origin| obtain(reader, name, origin));
        declared.value = Some(value.clone());
        value
    }
}

fn obtain(reader: &mut Reader<'_>, name: &str, origin: &Origin) -> Option<SecretBytes> {
    let (content, span) = match origin {
        Origin::File(path) => (read_file(reader, path, Holds::ThePlainSecret)?, path.span),
        Origin::Variable(variable) => {
            let Some(value) = (reader.input.variables)(&variable.value) else {
                reader.refuse(
                    variable.span,
                    format!("the variable `{}` is not set", variable.shown()),
                    "set it in the environment or in an --env-file",
                );
                return None;
            };
            (value.into_bytes(), variable.span)
        }
        Origin::Age { armored, key } => {
            (decrypt(reader, *key, name, armored.value.as_bytes())?, *key)
        }
        Origin::AgeFile(path) => {
            let encrypted = read_file(reader, path, Holds::AnEncryptedOne)?;
            (decrypt(reader, path.span, name, &encrypted)?, path.span)
        }
    };
    if content.is_empty() {
        // As in Swarm, which takes 1 to 500 KiB.
        let help = "give it a value; a service that needs none does not name it";
        reader.refuse(span, format!("the secret `{name}` is empty"), help);
        return None;
    }
    if content.len() > MAX_SECRET_BYTES {
        let message = format!("the secret `{name}` has more than {MAX_SECRET_BYTES} bytes");
        reader.refuse(span, message, "mount what is that large as a volume");
        return None;
    }
    Some(SecretBytes::new(content))
}

fn read_file(reader: &mut Reader<'_>, path: &Text, holds: Holds) -> Option<Vec<u8>> {
    let name = path.shown();
    let Some(at) = located(&path.value) else {
        let message = format!("`{name}` lies outside the folder of the desired-state file");
        let help = "put it beside the file, or write the path on the host from `/`";
        reader.refuse(path.span, message, help);
        return None;
    };
    match reader.input.vault.read(&at, holds) {
        Ok(content) => Some(content),
        Err(why) => {
            reader.refuse(path.span, format!("`{name}`: {why}"), why.mend());
            None
        }
    }
}

fn decrypt(reader: &mut Reader<'_>, span: Span, name: &str, encrypted: &[u8]) -> Option<Vec<u8>> {
    let decrypted: Result<Vec<u8>, Undecrypted> = reader.input.vault.decrypt(encrypted);
    match decrypted {
        Ok(content) => Some(content),
        Err(why) => {
            reader.refuse(span, format!("the secret `{name}`: {why}"), why.mend());
            None
        }
    }
}

/// Returns a path of the host as it is, and a relative one with `.` and `..` resolved
/// unless it leads out of the folder, or its home is anybody's guess.
fn located(written: &str) -> Option<PathBuf> {
    let path = Path::new(written);
    if path.is_absolute() {
        return Some(path.to_owned());
    }
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) if part != "~" => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            Component::Normal(_)
            | Component::ParentDir
            | Component::RootDir
            | Component::Prefix(_) => return None,
        }
    }
    (!inside.as_os_str().is_empty()).then_some(inside)
}
