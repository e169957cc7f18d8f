//! `networks:` — of the stack, and of a service.

use std::collections::{BTreeSet, HashSet};

use crate::domain::{ServiceName, StackName, release::NetworkAttachment, stack::NetworkSpec};

use super::{
    fields::{Fields, Refusals, refuse_name},
    obey,
    reader::{Reader, Text},
    report::shown,
    resources::{
        DOCKER_NAME, Origin, Resources, is_docker_name, read_labels, read_resources, read_texts,
    },
    yaml::{Entry, Node, Value},
};

/// The key of the network that a service without `networks:` is on.
const DEFAULT: &str = "default";

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
    for (name, span) in networks.written() {
        obey::network(reader, span, name);
    }
    if !networks.declares(DEFAULT) {
        let name = format!("{stack}_{DEFAULT}");
        networks.declare(DEFAULT.to_owned(), name, Origin::Created(NetworkSpec::default()));
    }
    networks
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
    let mut attachments = Vec::new();
    let mut joined = HashSet::new();
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
        if !joined.insert(network.clone()) {
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
