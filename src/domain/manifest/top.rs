//! The top level of the file, and what must be true of its services together.

use std::{collections::BTreeMap, rc::Rc};

use crate::domain::{ServiceName, Stack, StackName, Telling};

use super::{
    AllowDeleteAll, commit_status, depends_on,
    fields::{Fields, NO_REFUSALS, Refusals},
    hosts, images, networks, probe, proxy,
    reader::Reader,
    report::shown,
    resources::Declared,
    rollout, rollout_group, route, secrets,
    service::{self, Defaults, Surroundings},
    telling,
    yaml::{Entry, Node, Span},
};

const REFUSALS: Refusals = Refusals {
    later: &["failover"],
    never: &[
        ("rollout_group", "write it in each service of the group"),
        ("hosts", "write it in each service that is for some hosts only"),
        ("slots", "write it in the service whose slots run elsewhere"),
        ("standby", "write it in the service"),
        ("configs", "bind-mount a file instead: `volumes: [\"./app.conf:/etc/app.conf:ro\"]`"),
        ("include", "write the services into this file; YAML anchors and `<<` save repetition"),
        ("models", "run the model as a service of its own"),
    ],
};

pub(super) fn read(reader: &mut Reader<'_>, tree: &Rc<Node>) -> Option<Stack> {
    let map = reader.map(tree, "a map with `name:` and `services:`")?;
    let mut fields = Fields::of(map);
    let name = read_name(reader, fields.get("name"), tree.span);
    if let Some(version) = fields.get("version") {
        check_version(reader, version);
    }
    let proxy_entry = fields.get("proxy");
    let proxy = proxy_entry.and_then(|entry| proxy::read(reader, &entry.value));
    let images = fields.get("images").and_then(|entry| images::read(reader, &entry.value));
    let receivers = fields.get("notify").map(|entry| telling::read(reader, entry));
    let status = fields.get("commit_status").and_then(|entry| commit_status::read(reader, entry));
    let defaults = fields.get("defaults").map(|entry| read_defaults(reader, &entry.value));

    // Without a name the rest is read all the same, for its own mistakes.
    let stack_name = name.clone().unwrap_or_else(|| "unnamed".parse().expect("a plain name"));
    let mut networks =
        networks::read_declared(reader, &stack_name, fields.get("networks").map(|it| &*it.value));
    let mut volumes = super::mounts::read_declared(
        reader,
        &stack_name,
        fields.get("volumes").map(|entry| &*entry.value),
    );
    let mut secrets = secrets::read_declared(reader, fields.get("secrets"));
    let services = fields.get("services");
    fields.finish(reader, &REFUSALS);

    let read = read_services(
        reader,
        services,
        tree.span,
        &mut Surroundings {
            defaults: &defaults.unwrap_or_default(),
            networks: &mut networks,
            volumes: &mut volumes,
            secrets: &mut secrets,
        },
    );
    depends_on::check(reader, &read);
    rollout_group::check(reader, &read);
    hosts::check(reader, &read);
    route::check_all(reader, &read, proxy_entry.is_some());
    if reader.has_flaws() {
        return None;
    }

    let (here, others): (Vec<_>, Vec<_>) = read
        .into_iter()
        .filter_map(|(name, read)| Some((name, read?)))
        .partition(|(_, read)| is_for_this_host(reader, read));
    if here.is_empty() && !others.is_empty() && reader.input.allow_delete_all == AllowDeleteAll::No
    {
        reader.refuse(
            others.iter().filter_map(|(_, read)| Some(read.hosts.as_ref()?.span)).min()?,
            format!("no service of the file is for this host ({})", reader.input.host),
            "this would remove every container of the stack; name the host in `hosts:`, or pass --host-name and --host-label; if it is meant, --allow-delete-all",
        );
        return None;
    }

    let Declared { created: networks, external: external_networks } = networks.used();
    let Declared { created: volumes, external: external_volumes } = volumes.used();
    // A host whose part of the file has no route needs no Caddy.
    let has_routes = here.iter().any(|(_, read)| read.route.is_some());
    let proxy = proxy.filter(|_| has_routes || others.is_empty());
    Some(Stack {
        name: name?,
        // A text does not know which commit it is of: its source does.
        commit: None,
        proxy,
        services: here.into_iter().filter_map(|(name, read)| Some((name, read.service?))).collect(),
        on_other_hosts: others.into_iter().map(|(name, _)| name).collect(),
        networks,
        volumes,
        external_networks,
        external_volumes,
        images: images.unwrap_or_default(),
        signatures: reader.input.policy.map(|it| it.rules.signatures.clone()).unwrap_or_default(),
        telling: Telling {
            host: reader.input.host.name.clone(),
            commit: None,
            receivers: receivers.unwrap_or_default(),
            status,
        },
    })
}

fn is_for_this_host(reader: &Reader<'_>, read: &service::Read) -> bool {
    read.hosts.as_ref().is_none_or(|hosts| hosts.include(reader.input.host))
}

fn read_name(reader: &mut Reader<'_>, entry: Option<&Entry>, top: Span) -> Option<StackName> {
    let help = "lower-case letters, digits, `-` and `_`, at most 63, the first a letter or digit";
    match entry {
        Some(entry) => reader.parsed(&entry.value, "a stack's name", help, str::parse::<StackName>),
        None => {
            let folder = reader.input.base_dir.file_name().and_then(|name| name.to_str());
            let example = folder.filter(|name| name.parse::<StackName>().is_ok()).unwrap_or("shop");
            reader.refuse(
                Span { start: top.start, end: top.start },
                "the stack has no `name`",
                format!("add `name: {example}`: it marks the containers that are this stack's own"),
            );
            None
        }
    }
}

/// `version:` has long been without a meaning in Compose; a version of the file
/// format that Compose never had is a mistake.
fn check_version(reader: &mut Reader<'_>, entry: &Entry) {
    let Some(version) = reader.text(&entry.value, "a Compose version such as \"3.8\"") else {
        return;
    };
    let (major, minor) = version.value.split_once('.').unwrap_or((&version.value, "0"));
    let minor_is_number = !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(major, "2" | "3") || !minor_is_number {
        let reason = format!("`{}` is not a version of the Compose file format", version.shown());
        reader.refuse_text(
            &version,
            "a version of the Compose file format",
            reason,
            "remove `version:`: it has no effect, in Compose neither",
        );
    }
}

fn read_defaults(reader: &mut Reader<'_>, node: &Node) -> Defaults {
    let mut defaults = Defaults::default();
    let Some(map) = reader.map(node, "a map with `rollout:` or `probe:`") else {
        return defaults;
    };
    let mut fields = Fields::of(map);
    if let Some(entry) = fields.get("rollout") {
        defaults.rollout = rollout::read(reader, &entry.value);
    }
    if let Some(entry) = fields.get("probe") {
        defaults.probe = probe::read_default(reader, &entry.value);
    }
    fields.finish(reader, &NO_REFUSALS);
    defaults
}

/// Every service by its name; None for one that is no map at all.
pub(super) type Services = BTreeMap<ServiceName, Option<service::Read>>;

fn read_services(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    top: Span,
    surroundings: &mut Surroundings<'_>,
) -> Services {
    let mut services = Services::new();
    let entries = match entry {
        Some(entry) => reader.map(&entry.value, "a map of services").map(|map| &map.entries[..]),
        None => Some(&[][..]),
    };
    let Some(entries) = entries else { return services };
    if entries.is_empty() && reader.input.allow_delete_all == AllowDeleteAll::No {
        reader.refuse(
            entry.map_or(Span { start: top.start, end: top.start }, |entry| entry.key_span),
            "the stack has no services",
            "this would remove every container of the stack; if that is meant, pass --allow-delete-all",
        );
    }
    for entry in entries {
        let name = match entry.key.parse::<ServiceName>() {
            Ok(name) => name,
            Err(reason) => {
                reader.refuse(
                    entry.key_span,
                    format!("`{}` is not a service's name: {reason}", shown(&entry.key)),
                    "rename the service",
                );
                continue;
            }
        };
        let read = service::read(reader, &name, entry, surroundings);
        services.insert(name, read);
    }
    services
}
