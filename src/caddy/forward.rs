//! The handlers that send a request on: to a release, and to a standby if that
//! release cannot take it.
//!
//! Caddy sends a request again only if it was not sent yet (no connection) or is
//! a GET; a POST that may have been received is never repeated. What is here
//! keeps to that. (Before 2.11.2 Caddy has lost a request's body by the time it
//! tries again, so there a POST with a body fails if it is the one that finds
//! the release gone.)

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use super::{dialect::Streams, ids};

/// The field that Caddy before 2.7 refuses.
pub const STREAM_CLOSE_DELAY: &str = "stream_close_delay";

/// The longest span that Caddy can hold: Go counts nanoseconds in 63 bits.
const LONGEST_SPAN: Duration = Duration::from_secs(i64::MAX as u64 / 1_000_000_000);

/// How long a replica is passed over after it failed a request. Short, because
/// one lost connection is enough for it and the standby has all requests
/// meanwhile; long enough that an address which answers nothing at all does not
/// cost every request its `dial_timeout`.
const PASSED_OVER_FOR: &str = "2s";

/// What holds for every handler of a service.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub streams: Streams,
    pub stream_close_delay: Duration,
}

impl Manner {
    /// Returns the handler that sends to these replicas alone.
    pub fn to(self, active: &BTreeSet<SocketAddr>) -> Value {
        self.reverse_proxy(
            active,
            json!({
                // A replica that hangs collects requests and so gets no more.
                "selection_policy": { "policy": "least_conn" },
                // Bridges the restart of a single replica.
                "try_duration": "5s",
                "try_interval": "100ms",
            }),
        )
    }

    /// Returns the handler that sends to the active replicas, and what they
    /// cannot take to the standby's.
    pub fn with_standby(
        self,
        active: &BTreeSet<SocketAddr>,
        standby: &BTreeSet<SocketAddr>,
    ) -> Value {
        match active.len() {
            0 | 1 => self.first_then(active, standby),
            _ => self.in_turn_else(active, standby),
        }
    }

    /// One active replica: the first upstream that is not passed over.
    fn first_then(self, active: &BTreeSet<SocketAddr>, standby: &BTreeSet<SocketAddr>) -> Value {
        let mut handler = self.reverse_proxy(
            active.iter().chain(standby),
            json!({
                "selection_policy": { "policy": "first" },
                "try_duration": "5s",
                "try_interval": "20ms",
            }),
        );
        handler["health_checks"] = passive();
        handler
    }

    /// Several active replicas share the requests, so the standby cannot be one
    /// more upstream among them.
    fn in_turn_else(self, active: &BTreeSet<SocketAddr>, standby: &BTreeSet<SocketAddr>) -> Value {
        let mut turns = self.reverse_proxy(
            active,
            json!({
                "selection_policy": { "policy": "least_conn" },
                // Each of them once, and no pause: the standby waits.
                "retries": active.len(),
            }),
        );
        turns["health_checks"] = passive();
        json!({
            "handler": "subroute",
            "routes": [{ "handle": [turns] }],
            "errors": { "routes": [
                { "match": untouched(), "handle": [self.to(standby)], "terminal": true },
                // Without it, an error that nobody matched would end as a 200.
                { "handle": [{
                    "handler": "error",
                    "error": "{http.error.message}",
                    "status_code": "{http.error.status_code}",
                }] },
            ] },
        })
    }

    fn reverse_proxy<'a>(
        self,
        dials: impl IntoIterator<Item = &'a SocketAddr>,
        load_balancing: Value,
    ) -> Value {
        let upstreams = dials.into_iter().map(|dial| json!({ "dial": dial.to_string() }));
        let mut handler = json!({
            "handler": "reverse_proxy",
            "upstreams": upstreams.collect::<Vec<_>>(),
            "load_balancing": load_balancing,
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
        match self.streams {
            Streams::Outlive | Streams::Untold => {
                let delay = self.stream_close_delay.min(LONGEST_SPAN);
                handler[STREAM_CLOSE_DELAY] = json!(ids::exact_text(delay));
            }
            Streams::AreCut => {}
        }
        handler
    }
}

/// Only ever for several upstreams: with a single one, a false alarm is an outage.
fn passive() -> Value {
    json!({ "passive": { "fail_duration": PASSED_OVER_FOR } })
}

/// Matches the errors of requests that can be sent again, by the same rule as
/// Caddy's own: those that were never sent, and GETs.
fn untouched() -> Value {
    json!([
        { "vars_regexp": { "{http.error.message}": {
            "pattern": "^(dial |no upstreams available)",
        } } },
        { "method": ["GET"] },
    ])
}

/// Returns where a handler sends that has no standby.
pub fn read(handler: &Value) -> Option<BTreeSet<SocketAddr>> {
    upstreams(handler)?.collect()
}

/// Returns where a handler sends, and where to what it cannot send there.
pub fn read_with_standby(handler: &Value) -> Option<(BTreeSet<SocketAddr>, BTreeSet<SocketAddr>)> {
    if handler["handler"] == "subroute" {
        let active = read(handler.pointer("/routes/0/handle/0")?)?;
        return Some((active, read(handler.pointer("/errors/routes/0/handle/0")?)?));
    }
    let mut upstreams = upstreams(handler)?;
    let active = BTreeSet::from([upstreams.next()??]);
    Some((active, upstreams.collect::<Option<_>>()?))
}

fn upstreams(handler: &Value) -> Option<impl Iterator<Item = Option<SocketAddr>>> {
    let upstreams = handler["upstreams"].as_array()?;
    Some(upstreams.iter().map(|upstream| upstream["dial"].as_str()?.parse().ok()))
}
