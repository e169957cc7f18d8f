//! What is written is what is read back, and the right service has a request:
//! both for tables that nobody thought of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use proptest::{collection, option, prelude::*};
use serde_json::Value;

use crate::domain::{
    Backend, Inside, ReleaseId, Route, RouteState, RouteTable, ServiceName, Slot, StackName, Subnet,
};

use super::{
    app::Server,
    dialect::Streams,
    inside,
    lane::{self, Lanes},
    place::Https,
    read::{self, Route as Standing},
    render::{self, Flips},
};

fn a_host() -> impl Strategy<Value = String> {
    // Few labels, so that hosts of different services meet.
    "(a|b|\\*)\\.(x|y|\\*)\\.example"
}

fn a_path() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["/*", "/api/*", "/api/v1/*", "/api/v1", "*.png", "/"])
        .prop_map(str::to_owned)
}

fn a_backend() -> impl Strategy<Value = Backend> {
    let dials = collection::btree_set(any::<SocketAddr>().prop_map(without_zone), 1..4);
    (prop::sample::select(Slot::BOTH.to_vec()), "[0-9a-f]{12}", dials).prop_map(
        |(slot, release, dials)| Backend {
            slot,
            release: ReleaseId::try_from(release).unwrap(),
            dials,
        },
    )
}

fn a_state() -> impl Strategy<Value = RouteState> {
    // None: for the inside only.
    let hosts = collection::vec(a_host(), 0..4);
    let route = (hosts, a_path(), any::<u16>());
    (route, a_backend(), option::of(a_backend()), any::<Duration>()).prop_map(
        |((hosts, path, port), backend, standby, stream_close_delay)| RouteState {
            route: Route { hosts, path, port, preview: None },
            backend,
            standby,
            stream_close_delay,
            inside: None,
        },
    )
}

/// Some of a few bridges, whose gateways are the same for everybody.
fn an_inside(port: u16) -> impl Strategy<Value = Option<Inside>> {
    option::of(collection::btree_set(0..4_u8, 1..4)).prop_map(move |bridges| {
        let bridges = bridges?;
        let gateways = bridges.iter().map(|bridge| Ipv4Addr::from([10, *bridge, 0, 1]));
        Some(Inside {
            listen: gateways.clone().map(|gateway| (gateway, port).into()).collect(),
            from: gateways.map(|gateway| Subnet::around(gateway, 16).unwrap()).collect(),
        })
    })
}

/// The same, where some services are called by name.
fn a_table_with_names() -> impl Strategy<Value = RouteTable> {
    let few_ports = |(mut table, ports): (RouteTable, Vec<u16>)| {
        let ports = ports.into_iter().cycle();
        table.values_mut().zip(ports).for_each(|(state, port)| state.route.port = port);
        let insides: Vec<_> = table.values().map(|state| an_inside(state.route.port)).collect();
        (Just(table), insides)
    };
    let tables = (a_table(), collection::vec(8000..8003_u16, 1..4)).prop_flat_map(few_ports);
    tables.prop_map(|(mut table, insides)| {
        table.values_mut().zip(insides).for_each(|(state, inside)| state.inside = inside);
        table
    })
}

/// An address of a container has no flow label, and no zone.
fn without_zone(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn a_table() -> impl Strategy<Value = RouteTable> {
    let name = "[a-z0-9][a-z0-9_-]{0,6}".prop_map(|text| text.parse::<ServiceName>().unwrap());
    collection::btree_map(name, a_state(), 1..5)
}

fn stack() -> StackName {
    "shop".parse().unwrap()
}

proptest! {
    #[test]
    fn a_table_is_read_back_as_it_was_written(table in a_table()) {
        for https in [Https::Automatic, Https::LeftAsItIs] {
            for streams in [Streams::Outlive, Streams::AreCut] {
                let written = by_admin_api(&table, https, streams);
                let standing = table.clone().into_iter();
                let standing = standing.map(|(name, state)| (name, Standing::Direct(state)));
                prop_assert_eq!(read::routes(&stack(), &written), standing.collect());
            }
        }
    }

    #[test]
    fn lanes_are_read_back_as_they_were_written(table in a_table()) {
        let lanes = lanes_of(&table);
        let written = with_lanes(&table, &lanes);
        let read = read::routes(&stack(), &written);
        prop_assert_eq!(read.len(), table.len());
        for (name, standing) in read {
            let RouteState { route, stream_close_delay, .. } = table[&name].clone();
            let dials = lanes[&name].dials.clone();
            prop_assert_eq!(standing, Standing::Switched { route, stream_close_delay, dials });
        }
    }

    #[test]
    fn names_are_read_back_as_they_were_written_with_an_id_each(table in a_table_with_names()) {
        let by_admin_api = render::handlers(&stack(), &table, Flips::ByAdminApi, Streams::Outlive);
        let lanes = lanes_of(&table);
        let by_file = Flips::BySwitchFile { folder: Path::new("/switch"), lanes: &lanes };
        let by_file = render::handlers(&stack(), &table, by_file, Streams::Outlive);
        let wanted: BTreeMap<ServiceName, Inside> = table
            .iter()
            .filter_map(|(name, state)| Some((name.clone(), state.inside.clone()?)))
            .collect();
        for handlers in [by_admin_api, by_file] {
            let server = inside::server(&stack(), &table, &handlers);
            prop_assert_eq!(server.is_some(), !wanted.is_empty());
            let Some(server) = server else { continue };
            prop_assert_eq!(inside::read(&stack(), Server(&server)), wanted.clone());
            prop_assert_eq!(ids(&server).len(), wanted.len());
        }
    }

    #[test]
    fn no_two_objects_share_an_id(table in a_table()) {
        let written = by_admin_api(&table, Https::Automatic, Streams::Outlive);
        for written in [written, with_lanes(&table, &lanes_of(&table))] {
            let ids = ids(&written);
            prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        }
    }

    #[test]
    fn passive_checks_never_stand_on_a_single_upstream(table in a_table()) {
        let written = by_admin_api(&table, Https::Automatic, Streams::Outlive);
        for written in [written, with_lanes(&table, &lanes_of(&table))] {
            prop_assert_eq!(fewest_checked(&written).filter(|fewest| *fewest < 2), None);
        }
    }

    #[test]
    fn the_most_specific_claim_has_the_request(table in a_table()) {
        let written = by_admin_api(&table, Https::Automatic, Streams::Outlive);
        for host in ["a.x.example", "b.x.example", "a.y.example", "c.z.example"] {
            for path in ["/", "/api/v1", "/api/v1/cart", "/api/v2", "/logo.png", "/about"] {
                let routed = first_match(&written, host, path).map(|service| rank_of(&table[&service], host, path));
                let best = table.values().filter_map(|state| rank_of(state, host, path).map(Some)).min();
                prop_assert_eq!(routed, best, "{} {}", host, path);
            }
        }
    }
}

/// The lanes of a table that has just been written where nothing stood: some
/// services have one lane, some two.
fn lanes_of(table: &RouteTable) -> BTreeMap<ServiceName, Lanes> {
    let settled = |state| lane::settled(state, &Lanes::default(), &BTreeSet::new());
    table.iter().map(|(name, state)| (name.clone(), settled(state))).collect()
}

fn by_admin_api(table: &RouteTable, https: Https, streams: Streams) -> Value {
    let handlers = render::handlers(&stack(), table, Flips::ByAdminApi, streams);
    render::subtree(&stack(), table, &handlers, https)
}

fn with_lanes(table: &RouteTable, lanes: &BTreeMap<ServiceName, Lanes>) -> Value {
    let flips = Flips::BySwitchFile { folder: Path::new("/switch"), lanes };
    let handlers = render::handlers(&stack(), table, flips, Streams::Outlive);
    render::subtree(&stack(), table, &handlers, Https::Automatic)
}

/// The fewest upstreams of any handler with passive checks.
fn fewest_checked(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => items.iter().filter_map(fewest_checked).min(),
        Value::Object(members) => {
            let upstreams = members.get("upstreams").and_then(Value::as_array).map_or(0, Vec::len);
            let own = members.contains_key("health_checks").then_some(upstreams);
            members.values().filter_map(fewest_checked).chain(own).min()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn ids(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(ids).collect(),
        Value::Object(members) => {
            let own = members.get("@id").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(ids)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The service whose route Caddy would take: the first that matches.
fn first_match(subtree: &Value, host: &str, path: &str) -> Option<ServiceName> {
    let routes = subtree["handle"][0]["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| any_matches(&route["match"], host, path))?;
    super::ids::service(&stack(), route["@id"].as_str().unwrap())
}

/// Caddy's rule: of a list of matchers any, of a matcher all of its parts.
fn any_matches(matchers: &Value, host: &str, path: &str) -> bool {
    matchers.as_array().unwrap().iter().any(|matcher| {
        let some = |key: &str, fits: &dyn Fn(&str) -> bool| {
            matcher[key].as_array().unwrap().iter().any(|text| fits(text.as_str().unwrap()))
        };
        some("host", &|pattern| host_fits(pattern, host))
            && some("path", &|pattern| path_fits(pattern, path))
            && (matcher["not"].is_null() || !any_matches(&matcher["not"], host, path))
    })
}

fn host_fits(pattern: &str, host: &str) -> bool {
    pattern.split('.').count() == host.split('.').count()
        && pattern.split('.').zip(host.split('.')).all(|(p, h)| p == "*" || p == h)
}

fn path_fits(pattern: &str, path: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => path.ends_with(suffix),
        (None, Some(prefix)) => path.starts_with(prefix),
        (None, None) => path == pattern,
    }
}

/// How specific the best claim of the service is that matches; less is more.
fn rank_of(state: &RouteState, host: &str, path: &str) -> Option<(usize, bool, usize)> {
    let Route { hosts, path: pattern, .. } = &state.route;
    let wildcards =
        hosts.iter().filter(|own| host_fits(own, host)).map(|own| own.matches('*').count());
    let wildcards = wildcards.min().filter(|_| path_fits(pattern, path))?;
    Some((wildcards, pattern.contains('*'), usize::MAX - pattern.len()))
}
