//! What a container may use: `deploy.resources`, `ulimits`, `logging`.

use std::collections::BTreeMap;

use crate::domain::release::{Logging, Resources};

use super::{
    fields::{Fields, NO_REFUSALS, Refusals, refuse_name},
    quantity,
    reader::Reader,
    report::shown,
    resources::read_texts,
    yaml::{Entry, Node, Value},
};

const DEPLOY_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("mode", "remove it: it is for Swarm; `replicas:` says how many run here"),
        ("update_config", "remove it; how a release replaces another is `rollout:`"),
        ("rollback_config", "remove it; see `rollout.auto_revert`"),
        ("restart_policy", "write `restart:` in the service"),
        ("placement", "remove it: it is for Swarm"),
        ("endpoint_mode", "remove it: it is for Swarm"),
        ("labels", "write `labels:` in the service"),
    ],
};

const RESOURCE_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("devices", "devices of the host cannot be given to a container yet"),
        ("generic_resources", "remove it: it is for Swarm"),
    ],
};

/// The most replicas of one service on one host.
const MAX_REPLICAS: u32 = 100;

/// Docker's names of limits.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// What `deploy:` says.
pub(super) struct Deploy<'n> {
    pub replicas: u32,
    /// Where the number of replicas stands, if it does.
    pub written: Option<&'n Entry>,
    pub resources: Resources,
}

pub(super) fn read_deploy<'n>(reader: &mut Reader<'_>, entry: Option<&'n Entry>) -> Deploy<'n> {
    let mut deploy = Deploy { replicas: 1, written: None, resources: Resources::default() };
    let map = entry.and_then(|it| reader.map(&it.value, "a map such as `{ replicas: 2 }`"));
    let Some(map) = map else { return deploy };
    let mut fields = Fields::of(map);
    deploy.written = fields.get("replicas");
    if let Some(entry) = deploy.written {
        deploy.replicas = read_replicas(reader, &entry.value).unwrap_or(1);
    }
    if let Some(resources) = fields.get("resources") {
        deploy.resources = read_resources(reader, &resources.value).unwrap_or_default();
    }
    fields.finish(reader, &DEPLOY_REFUSALS);
    deploy
}

fn read_replicas(reader: &mut Reader<'_>, node: &Node) -> Option<u32> {
    let replicas = reader.count(node, 0..=MAX_REPLICAS)?;
    if replicas == 0 {
        let help = "remove the service from the file to stop it; its volumes stay";
        reader.refuse(node.span, "a service has at least one replica", help);
        return None;
    }
    Some(replicas)
}

fn read_resources(reader: &mut Reader<'_>, node: &Node) -> Option<Resources> {
    let mut fields = Fields::of(reader.map(node, "a map with `limits:` or `reservations:`")?);
    let limits = fields.get("limits").map(|it| read_amounts(reader, &it.value));
    let reservations = fields.get("reservations").map(|it| read_amounts(reader, &it.value));
    fields.finish(reader, &NO_REFUSALS);
    let limits = limits.flatten().unwrap_or_default();
    let reservations = reservations.flatten().unwrap_or_default();
    if let (Some(reserved), Some(limit)) = (reservations.memory_bytes, limits.memory_bytes)
        && reserved > limit
    {
        let help = "make the limit larger, or the reservation smaller";
        reader.refuse(node.span, "more memory is reserved than the limit allows", help);
    }
    // One host has nothing to reserve CPUs or processes from: as in Compose,
    // these two are for Swarm and say nothing here.
    Some(Resources {
        cpu_limit_milli: limits.cpu_milli,
        memory_limit_bytes: limits.memory_bytes,
        memory_reservation_bytes: reservations.memory_bytes,
        pids_limit: limits.pids,
    })
}

#[derive(Default)]
struct Amounts {
    cpu_milli: Option<u64>,
    memory_bytes: Option<i64>,
    pids: Option<i64>,
}

fn read_amounts(reader: &mut Reader<'_>, node: &Node) -> Option<Amounts> {
    let mut fields = Fields::of(reader.map(node, "a map such as `{ cpus: 0.5, memory: 512m }`")?);
    let amounts = Amounts {
        cpu_milli: fields.get("cpus").and_then(|it| {
            reader.parsed(&it.value, "a number of CPUs", "write a number such as `0.5`", |text| {
                quantity::milli_cpus(text).map_err(|reason| format!("`{}`: {reason}", shown(text)))
            })
        }),
        memory_bytes: fields.get("memory").and_then(|it| reader.positive_bytes(&it.value)),
        pids: fields.get("pids").and_then(|it| reader.number(&it.value, -1..=4_194_304)),
    };
    fields.finish(reader, &RESOURCE_REFUSALS);
    Some(amounts)
}

/// Reads a number, or `{ soft, hard }`, for each limit.
pub(super) fn read_ulimits(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
) -> BTreeMap<String, (i64, i64)> {
    let map = entry.and_then(|it| reader.map(&it.value, "a map such as `{ nofile: 65536 }`"));
    let mut ulimits = BTreeMap::new();
    for entry in map.map(|map| &map.entries[..]).unwrap_or_default() {
        if !ULIMITS.contains(&entry.key.as_str()) {
            refuse_name(
                reader,
                entry.key_span,
                format!("Docker knows no limit `{}`", shown(&entry.key)),
                &entry.key,
                ULIMITS.into_iter(),
                format!("known limits are {}", ULIMITS.join(", ")),
            );
        } else if let Some(limit) = read_ulimit(reader, &entry.value) {
            ulimits.insert(entry.key.clone(), limit);
        }
    }
    ulimits
}

fn read_ulimit(reader: &mut Reader<'_>, node: &Node) -> Option<(i64, i64)> {
    const ANY: std::ops::RangeInclusive<i64> = -1..=i64::MAX;
    let map = match &node.value {
        Value::Map(map) => map,
        Value::Scalar(_) | Value::List(_) => {
            return reader.number(node, ANY).map(|limit| (limit, limit));
        }
    };
    let mut fields = Fields::of(map);
    let (soft, hard) = (fields.get("soft"), fields.get("hard"));
    fields.finish(reader, &NO_REFUSALS);
    let (Some(soft), Some(hard)) = (soft, hard) else {
        reader.refuse(node.span, "a limit has `soft` and `hard`", "write both, or one number");
        return None;
    };
    let (soft_limit, hard_limit) =
        (reader.number(&soft.value, ANY)?, reader.number(&hard.value, ANY)?);
    // -1 is no limit at all.
    if hard_limit != -1 && (soft_limit == -1 || soft_limit > hard_limit) {
        reader.refuse(soft.value.span, "the soft limit is above the hard one", "lower it");
        return None;
    }
    Some((soft_limit, hard_limit))
}

pub(super) fn read_logging(reader: &mut Reader<'_>, entry: &Entry) -> Option<Logging> {
    let mut fields = Fields::of(reader.map(&entry.value, "a map such as `{ driver: local }`")?);
    let driver = fields.get("driver").and_then(|it| reader.text(&it.value, "a driver's name"));
    let options = fields.get("options").map(|it| read_texts(reader, it)).unwrap_or_default();
    fields.finish(reader, &NO_REFUSALS);
    Some(Logging { driver: driver.map(|text| text.value), options })
}
