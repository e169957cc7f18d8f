//! `networks:` — of the stack, and of a service.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ServiceName, StackName, release::NetworkAttachment, stack::NetworkSpec};

use super::{
    fields::{Fields, NO_REFUSALS, Refusals, refuse_name},
    reader::{Reader, Text},
    report::shown,
    yaml::{Entry, Node, Value},
};

/// The key of the network that a service without `networks:` is on.
const DEFAULT: &str = "default";

/// Networks or volumes by their key in the file, and which of them are used:
/// one that nobody uses is not created, as in Compose.
pub(super) struct Resources<S> {
    by_key: BTreeMap<String, Resource<S>>,
}

struct Resource<S> {
    /// Docker's name.
    name: String,
    origin: Origin<S>,
    used: bool,
}

/// Who makes a network or volume.
pub(super) enum Origin<S> {
    Created(S),
    External,
}

/// What a stack's services need of networks or volumes, by Docker's name.
pub(super) struct Declared<S> {
    pub created: BTreeMap<String, S>,
    pub external: Vec<String>,
}

impl<S> Resources<S> {
    pub fn new() -> Resources<S> {
        Resources { by_key: BTreeMap::new() }
    }

    pub fn declare(&mut self, key: String, name: String, origin: Origin<S>) {
        self.by_key.insert(key, Resource { name, origin, used: false });
    }

    fn declares(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Returns Docker's name of a declared one, and marks it as used.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let resource = self.by_key.get_mut(key)?;
        resource.used = true;
        Some(resource.name.clone())
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.by_key.keys().map(String::as_str)
    }

    /// Returns those that are used.
    pub fn used(self) -> Declared<S> {
        let mut declared = Declared { created: BTreeMap::new(), external: Vec::new() };
        for resource in self.by_key.into_values().filter(|resource| resource.used) {
            match resource.origin {
                Origin::Created(spec) => {
                    declared.created.insert(resource.name, spec);
                }
                Origin::External => declared.external.push(resource.name),
            }
        }
        declared.external.sort();
        declared.external.dedup();
        declared
    }
}

const NETWORK_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[("attachable", "remove it: it is for Swarm"), ("enable_ipv4", "remove it")],
};

const IPAM_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("gateway", "remove it: Docker takes the subnet's first address"),
        ("ip_range", "remove it: addresses come from the whole subnet"),
        ("aux_addresses", "remove it"),
        ("options", "remove it"),
    ],
};

/// Reads the top level's networks; the default one is always among them.
pub(super) fn read_declared(
    reader: &mut Reader<'_>,
    stack: &StackName,
    node: Option<&Node>,
) -> Resources<NetworkSpec> {
    let mut networks = read_resources(reader, stack, node, "networks", |reader, fields| {
        let spec = NetworkSpec {
            driver: fields
                .get("driver")
                .and_then(|it| reader.text(&it.value, "a driver's name"))
                .map(|text| text.value),
            driver_opts: fields
                .get("driver_opts")
                .map(|it| read_texts(reader, it))
                .unwrap_or_default(),
            internal: fields.get("internal").and_then(|it| reader.flag(&it.value)) == Some(true),
            enable_ipv6: fields.get("enable_ipv6").and_then(|it| reader.flag(&it.value))
                == Some(true),
            labels: fields.get("labels").map(|it| read_labels(reader, it)).unwrap_or_default(),
            subnets: fields
                .get("ipam")
                .map(|it| read_subnets(reader, &it.value))
                .unwrap_or_default(),
        };
        (spec, &NETWORK_REFUSALS)
    });
    if !networks.declares(DEFAULT) {
        let name = format!("{stack}_{DEFAULT}");
        networks.declare(DEFAULT.to_owned(), name, Origin::Created(NetworkSpec::default()));
    }
    networks
}

/// Reads `networks:` or `volumes:` of the top level. `read_spec` asks for the
/// keys that are the resource's own.
pub(super) fn read_resources<S: Default + PartialEq>(
    reader: &mut Reader<'_>,
    stack: &StackName,
    node: Option<&Node>,
    what: &str,
    read_spec: impl Fn(&mut Reader<'_>, &mut Fields<'_>) -> (S, &'static Refusals),
) -> Resources<S> {
    let mut resources = Resources::new();
    let map = node.and_then(|node| reader.map(node, &format!("a map of {what}")));
    let mut names = BTreeMap::new();
    for entry in map.map(|map| &map.entries[..]).unwrap_or_default() {
        if !is_docker_name(&entry.key) {
            let message = format!("`{}` is not a name that Docker takes", shown(&entry.key));
            reader.refuse(entry.key_span, message, DOCKER_NAME);
            continue;
        }
        let (name, origin) = read_resource(reader, stack, entry, &read_spec);
        if let Some(first) = names.insert(name.clone(), entry.key_span) {
            let message =
                format!("`{}` is the same in Docker as another of the {what}", shown(&entry.key));
            reader.refuse_again(entry.key_span, message, first);
        }
        resources.declare(entry.key.clone(), name, origin);
    }
    resources
}

fn read_resource<S: Default + PartialEq>(
    reader: &mut Reader<'_>,
    stack: &StackName,
    entry: &Entry,
    read_spec: impl Fn(&mut Reader<'_>, &mut Fields<'_>) -> (S, &'static Refusals),
) -> (String, Origin<S>) {
    let own_name = format!("{stack}_{}", entry.key);
    if entry.value.is_null() {
        return (own_name, Origin::Created(S::default()));
    }
    let Some(map) = reader.map(&entry.value, "nothing, or a map") else {
        return (own_name, Origin::External);
    };
    let mut fields = Fields::of(map);
    let mut name = fields.get("name").and_then(|it| read_name(reader, &it.value));
    let external = fields.get("external");
    let is_external = external.is_some_and(|it| match &it.value.value {
        // Compose's older way: `external: { name: … }`.
        Value::Map(map) => {
            let mut fields = Fields::of(map);
            let older = fields.get("name").and_then(|it| read_name(reader, &it.value));
            fields.finish(reader, &NO_REFUSALS);
            name = name.take().or(older);
            true
        }
        Value::Scalar(_) | Value::List(_) => reader.flag(&it.value) == Some(true),
    });
    let (spec, refusals) = read_spec(reader, &mut fields);
    fields.finish(reader, refusals);
    if !is_external {
        return (name.unwrap_or(own_name), Origin::Created(spec));
    }
    if spec != S::default() {
        let message = "what is external already exists, so nothing can be said of how to make it";
        reader.refuse(entry.key_span, message, "keep `external:` and `name:` only");
    }
    (name.unwrap_or_else(|| entry.key.clone()), Origin::External)
}

fn read_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    reader.parsed(node, "a name that Docker takes", DOCKER_NAME, |text| {
        match is_docker_name(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("`{}` is not a name that Docker takes", shown(text))),
        }
    })
}

const DOCKER_NAME: &str =
    "a name has letters, digits, `_`, `.` and `-`, the first a letter or digit";

/// Docker's own rule for names of volumes; those of networks are alike.
pub(super) fn is_docker_name(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Reads a map of texts, or a list of `KEY=value`.
pub(super) fn read_texts(reader: &mut Reader<'_>, entry: &Entry) -> BTreeMap<String, String> {
    let pairs = reader.pairs(&entry.value, "a map, or a list of `KEY=value`");
    pairs
        .into_iter()
        .map(|it| (it.key, it.value.map(|text| text.value).unwrap_or_default()))
        .collect()
}

/// Reads labels. Those that begin with `quaymaster.` say what is ours to change
/// and remove (S4), so nobody else may write them.
pub(super) fn read_labels(reader: &mut Reader<'_>, entry: &Entry) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for pair in reader.pairs(&entry.value, "a map, or a list of `KEY=value`") {
        if pair.key.starts_with("quaymaster.") {
            let message = "labels that begin with `quaymaster.` are the controller's own";
            reader.refuse(pair.span, message, "choose another name");
        } else if pair.key.is_empty() {
            reader.refuse(pair.span, "this label has no name", "write `name: value`");
        } else {
            labels.insert(pair.key, pair.value.map(|text| text.value).unwrap_or_default());
        }
    }
    labels
}

fn read_subnets(reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    let Some(map) = reader.map(node, "a map such as `{ config: [{ subnet: 172.28.0.0/16 }] }`")
    else {
        return Vec::new();
    };
    let mut fields = Fields::of(map);
    let config = fields.get("config");
    let driver = fields.get("driver");
    fields.finish(reader, &IPAM_REFUSALS);
    if let Some(driver) = driver
        && let Some(text) = reader.text(&driver.value, "`default`")
        && text.value != "default"
    {
        reader.refuse(text.span, "only Docker's own `default` driver is supported", "remove it");
    }
    let items =
        config.and_then(|it| reader.list(&it.value, "a list of subnets")).unwrap_or_default();
    let mut subnets = Vec::new();
    for item in items {
        let Some(map) = reader.map(item, "a map such as `{ subnet: 172.28.0.0/16 }`") else {
            continue;
        };
        let mut fields = Fields::of(map);
        let subnet = fields.get("subnet").and_then(|it| {
            reader.parsed(&it.value, "a subnet", "write a subnet such as `172.28.0.0/16`", |text| {
                match is_subnet(text) {
                    true => Ok(text.to_owned()),
                    false => Err(format!("`{}` is not a subnet", shown(text))),
                }
            })
        });
        fields.finish(reader, &IPAM_REFUSALS);
        subnets.extend(subnet);
    }
    subnets
}

fn is_subnet(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<std::net::IpAddr>(), bits.parse::<u8>()) {
        (Ok(std::net::IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(std::net::IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

const ATTACHMENT_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("ipv4_address", "remove it: two releases cannot both have one address"),
        ("ipv6_address", "remove it: two releases cannot both have one address"),
        ("mac_address", "remove it: two releases cannot both have one address"),
        ("link_local_ips", "remove it"),
        ("priority", "remove it: networks are joined in the order they are written"),
        ("gw_priority", "remove it"),
        ("driver_opts", "remove it"),
        ("interface_name", "remove it"),
    ],
};

/// Reads the networks of a service, in the order they are written: the proxy
/// reaches its replicas on the first.
pub(super) fn read_attachments(
    reader: &mut Reader<'_>,
    service: &ServiceName,
    entry: Option<&Entry>,
    networks: &mut Resources<NetworkSpec>,
) -> Vec<NetworkAttachment> {
    let mut attachments: Vec<NetworkAttachment> = Vec::new();
    let Some(entry) = entry else {
        let network = networks.take(DEFAULT).expect("the default network is always declared");
        return vec![NetworkAttachment { network, aliases: BTreeSet::from([service.to_string()]) }];
    };
    for (key, mut aliases) in written_attachments(reader, entry) {
        let Some(network) = networks.take(&key.value) else {
            let name = key.shown();
            let help = format!("declare it at the top level: `networks: {{ {name}: {{}} }}`");
            let message = format!("there is no network `{name}`");
            refuse_name(reader, key.span, message, &key.value, networks.keys(), help);
            continue;
        };
        aliases.insert(service.to_string());
        if attachments.iter().any(|it| it.network == network) {
            reader.refuse(key.span, "the service is on this network already", "name it once");
            continue;
        }
        attachments.push(NetworkAttachment { network, aliases });
    }
    attachments
}

fn written_attachments(reader: &mut Reader<'_>, entry: &Entry) -> Vec<(Text, BTreeSet<String>)> {
    let mut written = Vec::new();
    match &entry.value.value {
        Value::Map(map) => {
            for entry in &map.entries {
                written.push((Text::of_key(entry), read_aliases(reader, entry)));
            }
        }
        Value::List(_) | Value::Scalar(_) => {
            for text in reader.texts(&entry.value, "a list of networks, or a map of them") {
                written.push((text, BTreeSet::new()));
            }
        }
    }
    let is_empty = match &entry.value.value {
        Value::Map(map) => map.entries.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Scalar(_) => false,
    };
    if is_empty {
        let help = "remove the key to be on the stack's own network";
        reader.refuse(entry.key_span, "the service is on no network at all", help);
    }
    written
}

fn read_aliases(reader: &mut Reader<'_>, entry: &Entry) -> BTreeSet<String> {
    if entry.value.is_null() {
        return BTreeSet::new();
    }
    let Some(map) = reader.map(&entry.value, "nothing, or a map with `aliases:`") else {
        return BTreeSet::new();
    };
    let mut fields = Fields::of(map);
    let aliases = fields.get("aliases");
    fields.finish(reader, &ATTACHMENT_REFUSALS);
    let texts = aliases.map(|it| reader.texts(&it.value, "a list of names")).unwrap_or_default();
    let mut names = BTreeSet::new();
    for text in texts {
        if is_docker_name(&text.value) {
            names.insert(text.value);
        } else {
            let reason = format!("`{}` is not a name on a network", text.shown());
            reader.refuse_text(&text, "a name on a network", reason, DOCKER_NAME);
        }
    }
    names
}
