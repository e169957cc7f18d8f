//! A route table as Caddy's JSON.
//!
//! One top-level route per stack holds everything, so that all changes of a
//! pass are one write and one `@id` finds it:
//!
//! ```text
//! quaymaster-STACK            match: all our hosts
//! └ subroute
//!   ├ quaymaster-STACK.api    match: host, path; terminal
//!   │ └ …api.green.RELEASE…   to the active release, by admin API
//!   └ quaymaster-STACK.web    …
//!     └ …web.switch…          by switch file: the first that matches
//!       ├ file web.2+standby  to lane 2, what it cannot take to lane 1
//!       ├ file web.2          to lane 2      (or web.2+standby, see `switch`)
//!       ├ file web.1          to lane 1
//!       └                     to lane 1, what it cannot take to lane 2
//! ```
//!
//! The top-level route is not terminal: a request for one of our hosts with a
//! path that no service has goes on to the routes behind ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};

use crate::domain::{
    Backend, Preview, RouteState, RouteTable, ServiceName, StackName, memory::Placement,
};

use super::{
    dialect::Streams,
    forward::Manner,
    ids::{self, Destination, Label},
    lane::{Dials, Lane, Lanes, Sign, Standby},
    place::Https,
    precedence::{self, Ordered},
};

/// What decides which release answers.
#[derive(Clone, Copy, Debug)]
pub enum Flips<'a> {
    /// The configuration itself.
    ByAdminApi,
    /// A file in this folder; the configuration has these lanes.
    BySwitchFile { folder: &'a Path, lanes: &'a BTreeMap<ServiceName, Lanes> },
}

/// Returns the handler of each service.
pub fn handlers<'a>(
    stack: &StackName,
    table: &'a RouteTable,
    flips: Flips<'_>,
    streams: Streams,
) -> BTreeMap<&'a ServiceName, Value> {
    let handler = |(name, state)| (name, handler(stack, name, state, flips, streams));
    table.iter().map(handler).collect()
}

/// Returns the stack's top-level route, with these handlers. The table is not
/// empty.
pub fn subtree(
    stack: &StackName,
    table: &RouteTable,
    handlers: &BTreeMap<&ServiceName, Value>,
    https: Https,
) -> Value {
    let routes: Vec<Value> = precedence::order(table)
        .iter()
        .map(|ordered| service_route(stack, ordered, &handlers[ordered.service]))
        .collect();
    json!({
        "@id": ids::of_stack(stack),
        "match": [our_hosts(table, https)],
        "handle": [{ "handler": "subroute", "routes": routes }],
    })
}

/// Returns the matcher of all our hosts. Automatic HTTPS gets certificates for
/// the hosts of a top-level matcher, and for those only; where it must not, the
/// same matcher is wrapped so that it does not see them.
fn our_hosts(table: &RouteTable, https: Https) -> Value {
    let hosts: BTreeSet<&String> = table.values().flat_map(|state| &state.route.hosts).collect();
    let hosts = json!({ "host": hosts });
    match https {
        Https::Automatic => hosts,
        Https::LeftAsItIs => json!({ "not": [{ "not": [hosts] }] }),
    }
}

fn service_route(stack: &StackName, ordered: &Ordered<'_>, handler: &Value) -> Value {
    let path = &ordered.state.route.path;
    let matches = ordered.runs.iter().map(|run| {
        let mut matcher = json!({ "host": run.hosts, "path": [path] });
        if let Some(Preview::Header { name, value }) = &ordered.state.route.preview {
            // Without a value the header has only to be there.
            let values: Vec<&String> = value.iter().collect();
            matcher["header"] = json!({ name: values });
        }
        if !run.except.is_empty() {
            let except = run.except.iter();
            matcher["not"] =
                except.map(|claim| json!({ "host": [claim.host], "path": [claim.path] })).collect();
        }
        matcher
    });
    json!({
        "@id": ids::of_service(stack, ordered.service),
        "match": matches.collect::<Vec<_>>(),
        "handle": [handler],
        "terminal": true,
    })
}

fn handler(
    stack: &StackName,
    service: &ServiceName,
    state: &RouteState,
    flips: Flips<'_>,
    streams: Streams,
) -> Value {
    let manner = Manner { streams, stream_close_delay: state.stream_close_delay };
    let (to, mut handler) = match flips {
        Flips::ByAdminApi => {
            let active = placement_of(&state.backend);
            let standby = state.standby.as_ref().map(placement_of);
            let handler = match &state.standby {
                Some(standby) => manner.with_standby(&state.backend.dials, &standby.dials),
                None => manner.to(&state.backend.dials),
            };
            (Destination::Release { active, standby }, handler)
        }
        Flips::BySwitchFile { folder, lanes } => {
            let dials = &lanes[service].dials;
            (Destination::Switch, switch(stack, service, folder, dials, manner))
        }
    };
    let label = Label { to, port: state.route.port, stream_close_delay: state.stream_close_delay };
    handler["@id"] = json!(ids::of_handler(stack, service, &label));
    handler
}

/// Returns the handler that leaves the choice between the lanes to a file. With
/// one lane there is nothing to choose. The second route looks for both names of
/// its lane, for requests that a flip within the lane overtakes (`switch`).
pub fn switch(
    stack: &StackName,
    service: &ServiceName,
    folder: &Path,
    dials: &Dials,
    manner: Manner,
) -> Value {
    let alone = |lane: Lane| {
        let mut handler = manner.to(dials.get(lane));
        handler["@id"] = json!(ids::of_lane(stack, service, lane));
        handler
    };
    let routes = match (dials.one.is_empty(), dials.two.is_empty()) {
        (_, true) => vec![json!({ "handle": [alone(Lane::One)] })],
        (true, false) => vec![json!({ "handle": [alone(Lane::Two)] })],
        (false, false) => {
            let found = |lane: Lane, standby: Standby| {
                let name = Sign { lane, standby }.file_name(service);
                json!({ "file": { "root": folder, "try_files": [name] } })
            };
            let two_catches = found(Lane::Two, Standby::Catches);
            let two = found(Lane::Two, Standby::Rests);
            let one = found(Lane::One, Standby::Rests);
            let [two_then_one, one_then_two] = [Lane::Two, Lane::One]
                .map(|lane| manner.with_standby(dials.get(lane), dials.get(lane.other())));
            vec![
                json!({ "match": [two_catches], "handle": [two_then_one], "terminal": true }),
                json!({ "match": [two, two_catches], "handle": [alone(Lane::Two)], "terminal": true }),
                json!({ "match": [one], "handle": [alone(Lane::One)], "terminal": true }),
                json!({ "handle": [one_then_two] }),
            ]
        }
    };
    json!({ "handler": "subroute", "routes": routes })
}

fn placement_of(backend: &Backend) -> Placement {
    Placement { slot: backend.slot, release: backend.release.clone() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::domain::{ReleaseId, Route, Slot};

    use super::*;

    fn state(hosts: &[&str], path: &str, dials: &[&str]) -> RouteState {
        RouteState {
            route: Route {
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                path: path.to_owned(),
                port: 8001,
                preview: None,
            },
            backend: Backend {
                slot: Slot::Green,
                release: ReleaseId::try_from("0123456789ab".to_owned()).unwrap(),
                dials: dials.iter().map(|dial| dial.parse().unwrap()).collect(),
            },
            standby: None,
            stream_close_delay: Duration::from_secs(30),
            inside: None,
        }
    }

    fn table(services: &[(&str, RouteState)]) -> RouteTable {
        services.iter().map(|(name, state)| (name.parse().unwrap(), state.clone())).collect()
    }

    fn by_admin_api(
        stack: &StackName,
        table: &RouteTable,
        https: Https,
        streams: Streams,
    ) -> Value {
        subtree(stack, table, &handlers(stack, table, Flips::ByAdminApi, streams), https)
    }

    #[test]
    fn a_table_has_this_shape() {
        let stack = "shop".parse().unwrap();
        let web = state(
            &["shop.example", "www.shop.example"],
            "/*",
            &["10.0.0.2:8001", "[fd00::2]:8001"],
        );
        let table = table(&[("web", web)]);
        let written = by_admin_api(&stack, &table, Https::Automatic, Streams::Outlive);
        let expected = json!({
            "@id": "quaymaster-shop",
            "match": [{ "host": ["shop.example", "www.shop.example"] }],
            "handle": [{ "handler": "subroute", "routes": [{
                "@id": "quaymaster-shop.web",
                "match": [{ "host": ["shop.example", "www.shop.example"], "path": ["/*"] }],
                "handle": [{
                    "@id": "quaymaster-shop.web.green.0123456789ab.8001.30s",
                    "handler": "reverse_proxy",
                    "upstreams": [{ "dial": "10.0.0.2:8001" }, { "dial": "[fd00::2]:8001" }],
                    "load_balancing": {
                        "selection_policy": { "policy": "least_conn" },
                        "try_duration": "5s",
                        "try_interval": "100ms",
                    },
                    "stream_close_delay": "30s",
                    "transport": {
                        "protocol": "http",
                        "dial_timeout": "1s",
                        "keep_alive": {
                            "idle_timeout": "4s",
                            "max_idle_conns_per_host": 32,
                            "probe_interval": "30s",
                        },
                    },
                }],
                "terminal": true,
            }] }],
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn a_service_without_a_host_matches_nothing() {
        let stack = "shop".parse().unwrap();
        let table = table(&[("web", state(&[], "/*", &["10.0.0.2:8001"]))]);
        let written = by_admin_api(&stack, &table, Https::Automatic, Streams::Outlive);
        let nothing = json!([{ "host": [], "path": ["/*"] }]);
        assert_eq!(written["handle"][0]["routes"][0]["match"], nothing);
        assert_eq!(written["match"], json!([{ "host": [] }]));
    }

    #[test]
    fn a_switch_has_this_shape() {
        let (stack, service) = ("shop".parse().unwrap(), "web".parse().unwrap());
        let dial = |text: &str| BTreeSet::from([text.parse().unwrap()]);
        let dials = Dials { one: dial("10.0.0.2:80"), two: dial("10.0.0.3:80") };
        let delay = Duration::from_secs(30);
        let manner = Manner { streams: Streams::Outlive, stream_close_delay: delay };
        let alone = |lane: &BTreeSet<_>, id: &str| {
            let mut handler = manner.to(lane);
            handler["@id"] = json!(id);
            handler
        };
        let found = |name: &str| json!({ "file": { "root": "/switch", "try_files": [name] } });
        let expected = json!({ "handler": "subroute", "routes": [
            { "match": [found("web.2+standby")], "terminal": true,
              "handle": [manner.with_standby(&dials.two, &dials.one)] },
            { "match": [found("web.2"), found("web.2+standby")], "terminal": true,
              "handle": [alone(&dials.two, "quaymaster-shop.web.2")] },
            { "match": [found("web.1")], "terminal": true,
              "handle": [alone(&dials.one, "quaymaster-shop.web.1")] },
            { "handle": [manner.with_standby(&dials.one, &dials.two)] },
        ] });
        assert_eq!(switch(&stack, &service, Path::new("/switch"), &dials, manner), expected);

        let single = Dials { one: BTreeSet::new(), ..dials.clone() };
        let expected = json!({ "handler": "subroute", "routes": [
            { "handle": [alone(&dials.two, "quaymaster-shop.web.2")] },
        ] });
        assert_eq!(switch(&stack, &service, Path::new("/switch"), &single, manner), expected);
    }

    #[test]
    fn hosts_are_hidden_from_automatic_https_where_it_must_not_act() {
        let stack = "shop".parse().unwrap();
        let table = table(&[("web", state(&["shop.example"], "/*", &["10.0.0.2:8001"]))]);
        let written = by_admin_api(&stack, &table, Https::LeftAsItIs, Streams::AreCut);
        assert_eq!(
            written["match"],
            json!([{ "not": [{ "not": [{ "host": ["shop.example"] }] }] }])
        );
        assert!(!written.to_string().contains("stream_close_delay"));
    }

    #[test]
    fn a_route_leaves_out_what_a_later_one_claims_more_exactly() {
        let stack = "shop".parse().unwrap();
        let api = state(&["shop.example", "*.shop.example"], "/api/*", &["10.0.0.2:8001"]);
        let admin = state(&["admin.shop.example"], "/*", &["10.0.0.3:8001"]);
        let table = table(&[("admin", admin), ("api", api)]);
        let written = by_admin_api(&stack, &table, Https::Automatic, Streams::Outlive);
        let routes = &written["handle"][0]["routes"];
        assert_eq!(routes[0]["@id"], "quaymaster-shop.api");
        assert_eq!(
            routes[0]["match"],
            json!([
                { "host": ["shop.example"], "path": ["/api/*"] },
                { "host": ["*.shop.example"], "path": ["/api/*"],
                  "not": [{ "host": ["admin.shop.example"], "path": ["/*"] }] },
            ])
        );
    }
}
