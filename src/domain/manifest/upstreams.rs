//! `slots:` — a service that runs elsewhere: its two slots are addresses, and only
//! the traffic between them is ours.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use crate::domain::{
    ContainerSpec, ImageRef, Probe, Service, ServiceKind, ServiceName, Slot, SlotChoice, Strategy,
    release::RestartPolicy,
};

use super::{
    depends_on::WrittenDependencies,
    fields::{Fields, NO_REFUSALS},
    gates::{self, Place},
    hosts,
    probe::{self, HealthcheckDeclared, Subject},
    reader::{Reader, Text},
    rollout, rollout_group,
    route::{self, ReadRoute, RoutePort},
    service::{self, Defaults, Read},
    unsupported,
    yaml::{Entry, Map, Value},
};

/// The most addresses of one slot.
const MAX_UPSTREAMS: usize = 16;

/// What only a service that runs here has.
const OF_CONTAINERS: [&str; 32] = [
    "image",
    "standby",
    "depends_on",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "volumes",
    "networks",
    "ports",
    "expose",
    "healthcheck",
    "restart",
    "user",
    "working_dir",
    "stop_signal",
    "stop_grace_period",
    "deploy",
    "logging",
    "labels",
    "extra_hosts",
    "ulimits",
    "cap_add",
    "cap_drop",
    "read_only",
    "tmpfs",
    "init",
    "shm_size",
    "security_opt",
    "secrets",
    "build",
    "container_name",
];

type Upstreams = BTreeMap<Slot, BTreeSet<SocketAddr>>;

pub(super) fn read(
    reader: &mut Reader<'_>,
    name: &ServiceName,
    map: &Map,
    slots: &Entry,
    defaults: &Defaults,
) -> Read {
    let mut fields = Fields::of(map);
    fields.get("slots");
    let upstreams = read_slots(reader, slots);
    let slot = read_active(reader, slots, fields.get("slot"));
    let first =
        upstreams.as_ref().zip(slot).and_then(|(upstreams, slot)| first_of(upstreams, slot));
    let port = first.map(|address| address.port());
    let route_entry = fields.get("route");
    let route = route_entry
        .and_then(|it| route::read(reader, it, RoutePort::Upstreams(port.unwrap_or_default())));
    check_route(reader, slots, route_entry, route.as_ref());
    let probe = read_probe(reader, fields.get("probe"), defaults, port);
    let written = fields.get("rollout").map(|it| rollout::read(reader, &it.value));
    let written = written.unwrap_or_default();
    let rollout_group = fields.get("rollout_group").and_then(|it| rollout_group::read(reader, it));
    let hosts = fields.get("hosts").and_then(|it| hosts::read(reader, it));
    for key in OF_CONTAINERS {
        if let Some(entry) = fields.get_or_null(key) {
            let help = "remove it, or `slots:` to run the service here";
            let message = format!("`{key}` is not for a service that runs elsewhere");
            reader.refuse(entry.key_span, message, help);
        }
    }
    fields.finish(reader, &unsupported::OF_A_SERVICE);

    if let Some((Strategy::Rolling | Strategy::Recreate, span)) = written.strategy {
        let help = "remove `strategy:`: the two slots are all there is to choose from";
        reader.refuse(span, "a service that runs elsewhere is always blue-green", help);
    }
    let rollout = written.or(defaults.rollout.clone()).complete(
        reader,
        Strategy::BlueGreen,
        std::time::Duration::ZERO,
        &gates::Subject { service: name, image: None, route_port: port, place: Place::Elsewhere },
    );
    let parts = upstreams.zip(slot).zip(first).zip(probe).zip(route.as_ref());
    let service = parts.and_then(|((((upstreams, slot), first), probe), route)| {
        Some(Service {
            name: name.clone(),
            image: as_image(first)?,
            slot: SlotChoice::Declared(slot),
            kind: ServiceKind::LongRunning,
            replicas: u32::try_from(upstreams.get(&slot)?.len()).ok()?,
            route: Some(route.route.clone()),
            probe,
            spec: ContainerSpec {
                route_port: Some(first.port()),
                restart: RestartPolicy::No,
                ..ContainerSpec::default()
            },
            depends_on: BTreeMap::new(),
            rollout,
            rollout_group: rollout_group.as_ref().map(|group| group.name.clone()),
            standby: None,
            upstreams: Some(upstreams),
        })
    });
    Read {
        service,
        kind: ServiceKind::LongRunning,
        route,
        depends_on: WrittenDependencies::new(),
        rollout_group,
        hosts,
    }
}

fn first_of(upstreams: &Upstreams, slot: Slot) -> Option<SocketAddr> {
    upstreams.get(&slot)?.first().copied()
}

/// Reads the addresses of both slots.
fn read_slots(reader: &mut Reader<'_>, entry: &Entry) -> Option<Upstreams> {
    let example = "a map such as `{ blue: { upstreams: [\"10.0.0.4:80\"] }, green: … }`";
    let mut fields = Fields::of(reader.map(&entry.value, example)?);
    let written = [(Slot::Blue, fields.get("blue")), (Slot::Green, fields.get("green"))];
    fields.finish(reader, &NO_REFUSALS);
    let mut seen = HashMap::new();
    let mut upstreams = Upstreams::new();
    for (slot, written) in written {
        let Some(written) = written else {
            let help = "name the addresses of both: `blue:` and `green:`";
            reader.refuse(entry.key_span, format!("`slots` does not say where {slot} is"), help);
            continue;
        };
        let mut addresses = BTreeSet::new();
        for text in read_texts(reader, written) {
            let Some(address) = read_address(reader, &text) else { continue };
            if let Some(first) = seen.insert(address, text.span) {
                let message = format!("`{}` stands here a second time", text.shown());
                reader.refuse_again(text.span, message, first);
            }
            addresses.insert(address);
        }
        if !addresses.is_empty() {
            upstreams.insert(slot, addresses);
        }
    }
    // Whatever is missing has been refused.
    (upstreams.len() == 2).then_some(upstreams)
}

fn read_texts(reader: &mut Reader<'_>, slot: &Entry) -> Vec<Text> {
    let example = "a map such as `{ upstreams: [\"10.0.0.4:80\"] }`";
    let Some(map) = reader.map(&slot.value, example) else { return Vec::new() };
    let mut fields = Fields::of(map);
    let upstreams = fields.get("upstreams");
    let is_misspelt = fields.has_slip_of("upstreams");
    fields.finish(reader, &NO_REFUSALS);
    let Some(upstreams) = upstreams else {
        if !is_misspelt {
            reader.refuse(
                slot.key_span,
                "this slot has no `upstreams`",
                format!("write {example}"),
            );
        }
        return Vec::new();
    };
    let items = reader.list(&upstreams.value, "a list of addresses").unwrap_or_default();
    if let Some(beyond) = items.get(MAX_UPSTREAMS) {
        let message = format!("a slot has at most {MAX_UPSTREAMS} upstreams");
        reader.refuse(beyond.span, message, "put a load balancer before them, and name that");
        return Vec::new();
    }
    if items.is_empty() && matches!(upstreams.value.value, Value::List(_)) {
        reader.refuse(upstreams.value.span, "this slot has no upstreams", "name at least one");
    }
    items.iter().filter_map(|item| reader.text(item, "an address")).collect()
}

fn read_address(reader: &mut Reader<'_>, text: &Text) -> Option<SocketAddr> {
    let parsed = text.value.parse::<SocketAddr>().ok();
    let address = parsed.filter(|it| it.port() != 0 && !it.ip().is_unspecified());
    if address.is_none() {
        let reason = format!("`{}` is not an address and its port", text.shown());
        let help = "write `10.0.0.4:80` or `[fd00::4]:80`; a host name is not looked up";
        reader.refuse_text(text, "an address and its port", reason, help);
    }
    address
}

/// Reads which slot is active: nobody else can say it of a service that no container
/// tells anything of.
fn read_active(reader: &mut Reader<'_>, slots: &Entry, slot: Option<&Entry>) -> Option<Slot> {
    let help = "write `slot: blue` or `slot: green`: the one that gets the traffic";
    let Some(entry) = slot else {
        reader.refuse(slots.key_span, "this service does not say which slot is active", help);
        return None;
    };
    match service::read_slot(reader, entry)? {
        SlotChoice::Declared(slot) => Some(slot),
        SlotChoice::Auto => {
            let message = "nobody can choose the slot of a service that runs elsewhere";
            reader.refuse(entry.value.span, message, help);
            None
        }
    }
}

fn check_route(
    reader: &mut Reader<'_>,
    slots: &Entry,
    entry: Option<&Entry>,
    route: Option<&ReadRoute>,
) {
    let help = "add `route: { host: shop.example.com }`";
    match (entry, route) {
        (None, _) => {
            let message = "a service that runs elsewhere has no `route`, so nothing is to be done";
            reader.refuse(slots.key_span, message, help);
        }
        (Some(entry), Some(route)) if route.route.hosts.is_empty() => {
            let message = "a service that runs elsewhere is called from outside only";
            reader.refuse(entry.key_span, message, help);
        }
        (Some(_), _) => {}
    }
}

fn read_probe(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    defaults: &Defaults,
    port: Option<u16>,
) -> Option<Probe> {
    if let Some(entry) = entry
        && !asks_addresses(reader, entry)
    {
        return None;
    }
    let kind = ServiceKind::LongRunning;
    // Without an address there is a problem already; the port is any.
    let route_port = Some(port.unwrap_or(1));
    let subject = Subject { kind, route_port, healthcheck: HealthcheckDeclared::No };
    probe::read(reader, entry, defaults.probe, subject)
}

/// Returns whether a probe asks what can be asked of an address.
fn asks_addresses(reader: &mut Reader<'_>, entry: &Entry) -> bool {
    let help = "write `http:` or `tcp:`, or remove it: then each upstream has to take a connection";
    let nothing_runs = "nothing of this service runs here";
    let map = match &entry.value.value {
        Value::Map(map) => map,
        Value::Scalar(_) | Value::List(_) => {
            reader.refuse(entry.value.span, nothing_runs, help);
            return false;
        }
    };
    let mut is_fine = true;
    for key in ["exec", "docker"] {
        if let Some(entry) = map.get(key) {
            reader.refuse(entry.key_span, nothing_runs, help);
            is_fine = false;
        }
    }
    for key in ["http", "tcp"] {
        if let Some(Value::Map(asked)) = map.get(key).map(|entry| &entry.value.value)
            && let Some(port) = asked.get("port")
        {
            reader.refuse(port.key_span, "each upstream is asked at its own port", "remove it");
            is_fine = false;
        }
    }
    is_fine
}

/// Returns a reference that reads as the address, since that is what tells two
/// versions of such a service apart.
fn as_image(address: SocketAddr) -> Option<ImageRef> {
    let host = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        // A reference has no brackets and no empty parts.
        IpAddr::V6(ip) => ip.segments().map(|segment| format!("{segment:x}")).join("-"),
    };
    format!("{host}:{}", address.port()).parse().ok()
}
