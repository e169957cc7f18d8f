//! A route table as Caddy's JSON.
//!
//! One top-level route per stack holds everything, so that all flips of a pass
//! are one write and one `@id` finds it:
//!
//! ```text
//! quaymaster-STACK            match: all our hosts
//! └ subroute
//!   ├ quaymaster-STACK.api    match: host, path; terminal
//!   │ └ …api.green.RELEASE…   reverse_proxy to the active slot's replicas
//!   └ quaymaster-STACK.web    …
//! ```
//!
//! The top-level route is not terminal: a request for one of our hosts with a
//! path that no service has goes on to the routes behind ours.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::domain::{RouteState, RouteTable, ServiceName, StackName};

use super::{
    dialect::Streams,
    ids::{self, Berth},
    place::Https,
    precedence::{self, Ordered},
};

/// The field that Caddy before 2.7 refuses.
pub const STREAM_CLOSE_DELAY: &str = "stream_close_delay";

/// The longest span that Caddy can hold: Go counts nanoseconds in 63 bits.
const LONGEST_SPAN: Duration = Duration::from_secs(i64::MAX as u64 / 1_000_000_000);

/// Returns the stack's top-level route. The table is not empty.
pub fn subtree(stack: &StackName, table: &RouteTable, https: Https, streams: Streams) -> Value {
    let routes: Vec<Value> = precedence::order(table)
        .iter()
        .map(|ordered| service_route(stack, ordered, streams))
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

fn service_route(stack: &StackName, ordered: &Ordered<'_>, streams: Streams) -> Value {
    let path = &ordered.state.route.path;
    let matches = ordered.runs.iter().map(|run| {
        let mut matcher = json!({ "host": run.hosts, "path": [path] });
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
        "handle": [reverse_proxy(stack, ordered.service, ordered.state, streams)],
        "terminal": true,
    })
}

fn reverse_proxy(
    stack: &StackName,
    service: &ServiceName,
    state: &RouteState,
    streams: Streams,
) -> Value {
    let berth = Berth {
        slot: state.backend.slot,
        release: state.backend.release.clone(),
        port: state.route.port,
        stream_close_delay: state.stream_close_delay,
    };
    let dials = state.backend.dials.iter();
    let mut handler = json!({
        "@id": ids::of_berth(stack, service, &berth),
        "handler": "reverse_proxy",
        "upstreams": dials.map(|dial| json!({ "dial": dial.to_string() })).collect::<Vec<_>>(),
        "load_balancing": {
            // A replica that hangs collects requests and so gets no more.
            "selection_policy": { "policy": "least_conn" },
            // Bridges the restart of a single replica.
            "try_duration": "5s",
            "try_interval": "100ms",
        },
        "transport": {
            "protocol": "http",
            // The address of a removed container answers nothing at all: this
            // leaves time within `try_duration` for the other replicas.
            "dial_timeout": "1s",
            "keep_alive": {
                // Below the 5 s after which Node and uvicorn close an idle
                // connection, a race that costs POSTs; and each flip leaves
                // idle connections behind for this long.
                "idle_timeout": "4s",
                // Caddy's own defaults, which before 2.11 are lost as soon as
                // `keep_alive` is given.
                "max_idle_conns_per_host": 32,
                "probe_interval": "30s",
            },
        },
    });
    match streams {
        Streams::Outlive | Streams::Untold => {
            let delay = state.stream_close_delay.min(LONGEST_SPAN);
            handler[STREAM_CLOSE_DELAY] = json!(ids::exact_text(delay));
        }
        Streams::AreCut => {}
    }
    handler
}

#[cfg(test)]
mod tests {
    use crate::domain::{Backend, ReleaseId, Route, Slot};

    use super::*;

    fn state(hosts: &[&str], path: &str, dials: &[&str]) -> RouteState {
        RouteState {
            route: Route {
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                path: path.to_owned(),
                port: 8001,
            },
            backend: Backend {
                slot: Slot::Green,
                release: ReleaseId::try_from("0123456789ab".to_owned()).unwrap(),
                dials: dials.iter().map(|dial| dial.parse().unwrap()).collect(),
            },
            stream_close_delay: Duration::from_secs(30),
        }
    }

    fn table(services: &[(&str, RouteState)]) -> RouteTable {
        services.iter().map(|(name, state)| (name.parse().unwrap(), state.clone())).collect()
    }

    #[test]
    fn a_table_has_this_shape() {
        let stack = "shop".parse().unwrap();
        let web = state(
            &["shop.example", "www.shop.example"],
            "/*",
            &["10.0.0.2:8001", "[fd00::2]:8001"],
        );
        let written = subtree(&stack, &table(&[("web", web)]), Https::Automatic, Streams::Outlive);
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
    fn hosts_are_hidden_from_automatic_https_where_it_must_not_act() {
        let stack = "shop".parse().unwrap();
        let table = table(&[("web", state(&["shop.example"], "/*", &["10.0.0.2:8001"]))]);
        let written = subtree(&stack, &table, Https::LeftAsItIs, Streams::AreCut);
        assert_eq!(
            written["match"],
            json!([{ "not": [{ "not": [{ "host": ["shop.example"] }] }] }])
        );
        assert!(!written.to_string().contains(STREAM_CLOSE_DELAY));
    }

    #[test]
    fn a_route_leaves_out_what_a_later_one_claims_more_exactly() {
        let stack = "shop".parse().unwrap();
        let api = state(&["shop.example", "*.shop.example"], "/api/*", &["10.0.0.2:8001"]);
        let admin = state(&["admin.shop.example"], "/*", &["10.0.0.3:8001"]);
        let table = table(&[("admin", admin), ("api", api)]);
        let written = subtree(&stack, &table, Https::Automatic, Streams::Outlive);
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
