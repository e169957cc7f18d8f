//! `volumes:` and `tmpfs:` — of the stack, and of a service.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
};

use crate::domain::{
    StackName,
    release::{Mount, MountSource},
    stack::VolumeSpec,
};

use super::{
    fields::{Fields, NO_REFUSALS, Refusals, refuse_name},
    obey,
    reader::{Reader, Text},
    resources::{Resources, is_docker_name, read_labels, read_resources, read_texts},
    yaml::{Entry, Map, Node, Value},
};

const VOLUME_REFUSALS: Refusals = NO_REFUSALS;

const MOUNT_HELP: &str =
    "write `data:/path` for a named volume, `./folder:/path:ro` for a folder of the host";

const MOUNT_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("image", "use a named volume or a folder of the host"),
        ("cluster", "remove it: it is for Swarm"),
    ],
};

/// Reads the top level's volumes.
pub(super) fn read_declared(
    reader: &mut Reader<'_>,
    stack: &StackName,
    node: Option<&Node>,
) -> Resources<VolumeSpec> {
    read_resources(reader, stack, node, "volumes", |reader, fields| {
        let written = (fields.get("driver"), fields.get("driver_opts"));
        let spec = VolumeSpec {
            driver: fields
                .get("driver")
                .and_then(|it| reader.text(&it.value, "a driver's name"))
                .map(|text| text.value),
            driver_opts: fields
                .get("driver_opts")
                .map(|it| read_texts(reader, it))
                .unwrap_or_default(),
            labels: fields.get("labels").map(|it| read_labels(reader, it)).unwrap_or_default(),
        };
        obey::volume(reader, written, &spec);
        (spec, &VOLUME_REFUSALS)
    })
}

/// Reads a service's volumes, in the order they are written.
pub(super) fn read(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    volumes: &mut Resources<VolumeSpec>,
) -> Vec<Mount> {
    let items =
        entry.and_then(|entry| reader.list(&entry.value, "a list of volumes")).unwrap_or_default();
    let mut mounts = Vec::new();
    let mut targets = HashMap::new();
    for item in items {
        let read = match &item.value {
            Value::Map(map) => read_long(reader, item, map, volumes),
            Value::Scalar(_) | Value::List(_) => {
                reader.text(item, "a volume").and_then(|text| read_short(reader, &text, volumes))
            }
        };
        let Some(mount) = read else { continue };
        if let MountSource::Bind(path) = &mount.source {
            let access = obey::access(mount.read_only);
            obey::bind_mount(reader, item.span, Path::new(path), access);
        }
        let target = mount.target.trim_end_matches('/').to_owned();
        if let Some(first) = targets.insert(target, item.span) {
            reader.refuse_again(item.span, "something is mounted on this path already", first);
        }
        mounts.push(mount);
    }
    mounts
}

/// `[SOURCE:]TARGET[:MODE]`
fn read_short(
    reader: &mut Reader<'_>,
    text: &Text,
    volumes: &mut Resources<VolumeSpec>,
) -> Option<Mount> {
    let parts: Vec<&str> = text.value.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => {
            let reason = format!("`{}` is not a volume", text.shown());
            reader.refuse_text(text, "a volume", reason, MOUNT_HELP);
            return None;
        }
    };
    let mut read_only = false;
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            // The last three mean something on a Mac only.
            "rw" | "consistent" | "cached" | "delegated" => {}
            _ => {
                let reason = format!("`{}` has an option that is not supported", text.shown());
                let help = "known options are `ro` and `rw`";
                reader.refuse_text(text, "a volume with known options", reason, help);
                return None;
            }
        }
    }
    let target = read_target(reader, text, target)?;
    let source = match source {
        None => MountSource::Anonymous,
        Some(source) if is_path(source) => MountSource::Bind(read_host_path(reader, text, source)?),
        Some(key) => MountSource::Volume(take(reader, text, key, volumes)?),
    };
    Some(Mount { source, target, read_only })
}

/// `{ type, source, target, … }`
fn read_long(
    reader: &mut Reader<'_>,
    node: &Node,
    map: &Map,
    volumes: &mut Resources<VolumeSpec>,
) -> Option<Mount> {
    let mut fields = Fields::of(map);
    let kind = fields.get("type");
    let source = fields.get("source").and_then(|it| reader.text(&it.value, "a source"));
    let target = fields.get("target");
    let read_only = fields.get("read_only").and_then(|it| reader.flag(&it.value)) == Some(true);
    let (bind, volume, tmpfs) = (fields.get("bind"), fields.get("volume"), fields.get("tmpfs"));
    // Means something on a Mac only.
    fields.get("consistency");
    fields.finish(reader, &MOUNT_REFUSALS);
    for (entry, known) in [(bind, "create_host_path"), (volume, "nocopy")] {
        if let Some(entry) = entry {
            check_options(reader, entry, known);
        }
    }
    let target = match target {
        Some(target) => {
            let text = reader.text(&target.value, "a path in the container")?;
            read_target(reader, &text, &text.value)
        }
        None => {
            reader.refuse(node.span, "this volume has no `target`", "add `target: /path`");
            None
        }
    };
    let kind = match kind {
        Some(kind) => reader.text(&kind.value, "a kind of volume")?,
        None => {
            let help = "add `type: volume`, `type: bind` or `type: tmpfs`";
            reader.refuse(node.span, "this volume has no `type`", help);
            return None;
        }
    };
    let source = match (kind.value.as_str(), source) {
        ("volume", Some(key)) => MountSource::Volume(take(reader, &key, &key.value, volumes)?),
        ("volume", None) => MountSource::Anonymous,
        ("bind", Some(path)) => MountSource::Bind(read_host_path(reader, &path, &path.value)?),
        ("bind", None) => {
            reader.refuse(node.span, "this bind has no `source`", "add `source: ./folder`");
            return None;
        }
        ("tmpfs", None) => MountSource::Tmpfs {
            size_bytes: match tmpfs {
                Some(tmpfs) => read_tmpfs_size(reader, tmpfs)?,
                None => None,
            },
        },
        ("tmpfs", Some(source)) => {
            reader.refuse(source.span, "a tmpfs has no source", "remove `source:`");
            return None;
        }
        _ => {
            let reason = format!("`{}` is not a kind of volume that is supported", kind.shown());
            let help = "write `volume`, `bind` or `tmpfs`";
            reader.refuse_text(&kind, "a kind of volume", reason, help);
            return None;
        }
    };
    Some(Mount { source, target: target?, read_only })
}

/// Accepts the one option that means what Docker does anyway.
fn check_options(reader: &mut Reader<'_>, entry: &Entry, known: &'static str) {
    let Some(map) = reader.map(&entry.value, "a map of options") else { return };
    let mut fields = Fields::of(map);
    let option = fields.get(known);
    fields.finish(reader, &NO_REFUSALS);
    let Some(option) = option else { return };
    let wanted = known == "create_host_path";
    if reader.flag(&option.value).is_some_and(|flag| flag != wanted) {
        let message = format!("`{known}: {}` is not supported", !wanted);
        reader.refuse(option.value.span, message, "remove it");
    }
}

fn read_tmpfs_size(reader: &mut Reader<'_>, entry: &Entry) -> Option<Option<i64>> {
    let mut fields = Fields::of(reader.map(&entry.value, "a map such as `{ size: 64m }`")?);
    let size = fields.get("size");
    const MODE: Refusals = Refusals {
        later: &[],
        never: &[("mode", "use the short form: `tmpfs: \"/path:mode=1770\"`")],
    };
    fields.finish(reader, &MODE);
    match size {
        Some(size) => reader.bytes(&size.value).map(Some),
        None => Some(None),
    }
}

fn take(
    reader: &mut Reader<'_>,
    text: &Text,
    key: &str,
    volumes: &mut Resources<VolumeSpec>,
) -> Option<String> {
    if let Some(name) = volumes.take(key) {
        return Some(name);
    }
    if !is_docker_name(key) {
        let reason = format!("`{}` names neither a volume nor a path of the host", text.shown());
        reader.refuse_text(text, "a volume", reason, MOUNT_HELP);
        return None;
    }
    refuse_name(
        reader,
        text.span,
        format!("there is no volume for `{}`", text.shown()),
        key,
        volumes.keys(),
        "declare it at the top level under `volumes:`, or write `./` before a folder of the host",
    );
    // Goes on as if it were declared: what else is wrong should show too.
    Some(key.to_owned())
}

fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~'])
}

/// Returns the absolute path on the host; relative ones start at the folder of
/// the file.
fn read_host_path(reader: &mut Reader<'_>, text: &Text, source: &str) -> Option<String> {
    if source.starts_with('~') || !is_path(source) {
        let reason = format!(
            "`{}`: whose home `~` is, or where this path starts, is not plain",
            text.shown()
        );
        let help = "write the path from `/`, or from `./` for the folder of this file";
        reader.refuse_text(text, "a path of the host", reason, help);
        return None;
    }
    let joined = resolved(&reader.input.base_dir.join(source));
    Some(joined.to_string_lossy().into_owned())
}

/// Resolves `.` and `..` by the text of the path alone.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    plain
}

fn read_target(reader: &mut Reader<'_>, text: &Text, target: &str) -> Option<String> {
    if target.starts_with('/') && target.trim_end_matches('/').len() > 1 {
        return Some(target.to_owned());
    }
    let reason = format!("`{}` does not name an absolute path in the container", text.shown());
    reader.refuse_text(text, "a volume", reason, MOUNT_HELP);
    None
}

/// Reads `tmpfs:`: a path, or a list, each with options after a colon.
pub(super) fn read_tmpfs(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
) -> BTreeMap<String, String> {
    let texts = entry
        .map(|entry| reader.text_or_texts(&entry.value, "a path or a list of paths"))
        .unwrap_or_default();
    let mut tmpfs = BTreeMap::new();
    for text in texts {
        let (path, options) = text.value.split_once(':').unwrap_or((&text.value, ""));
        if let Some(path) = read_target(reader, &text, path) {
            tmpfs.insert(path, options.to_owned());
        }
    }
    tmpfs
}
