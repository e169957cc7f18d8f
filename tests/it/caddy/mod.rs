//! The Caddy adapter against real Caddys, each test with every one there is.

mod conflict;
mod in_flight;
mod inside;
mod observe;
mod place;
mod repair;
mod standby;
mod switch;
mod traffic;
mod write;

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use quaymaster::{
    caddy::Caddy,
    domain::{Backend, ReleaseId, Route, RouteState, RouteTable, Slot, snapshot::ProxyState},
    ports::Proxy,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::rig::caddy::RunningCaddy;

/// The host of the service `web`.
const HOST: &str = "shop.example";

fn caddy() -> Caddy {
    caddy_of("shop")
}

fn caddy_of(stack: &str) -> Caddy {
    // Tests of the admin API: no switch file is ever written.
    Caddy::onlooking(&stack.parse().unwrap(), Path::new("/nonexistent"))
}

fn state(host: &str, path: &str, slot: Slot, dials: &[SocketAddr]) -> RouteState {
    let release = match slot {
        Slot::Blue => "b10eb10eb10e",
        Slot::Green => "9e3e9e3e9e3e",
    };
    RouteState {
        route: Route {
            hosts: vec![host.to_owned()],
            path: path.to_owned(),
            port: 8001,
            preview: None,
        },
        backend: Backend {
            slot,
            release: ReleaseId::try_from(release.to_owned()).unwrap(),
            dials: dials.iter().copied().collect(),
        },
        standby: None,
        stream_close_delay: Duration::from_secs(30),
        inside: None,
    }
}

fn table(services: &[(&str, RouteState)]) -> RouteTable {
    services.iter().map(|(name, state)| (name.parse().unwrap(), state.clone())).collect()
}

/// A table of one service on every path of [`HOST`], with one replica.
fn web(slot: Slot, dial: SocketAddr) -> RouteTable {
    table(&[("web", state(HOST, "/*", slot, &[dial]))])
}

/// An address that nothing is sent to.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

/// `apps` with one server, which serves plain HTTP for everybody.
fn one_server(port: u16) -> Value {
    json!({ "http": { "servers": { "srv0": {
        "listen": [format!("127.0.0.1:{port}")],
        "routes": [
            { "match": [{ "path": ["/first"] }],
              "handle": [{ "handler": "static_response", "body": "first", "headers": { "X-N": ["1e21", "ü"] } }] },
            { "handle": [{ "handler": "static_response", "body": "foreign" }] },
        ],
    } } } })
}

/// Asserts that Caddy answers a path of a host with this status and this body
/// (its beginning), once it has let go of the configuration it had before: for
/// some tens of milliseconds the old listener still takes, or resets, new
/// connections, up to 2.6 more so than since.
async fn assert_served(port: u16, host: &str, path: &str, status: u16, body: &str) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut in_a_row = 0;
    while in_a_row < SETTLED_AFTER {
        let answer = get(port, host, path).await;
        let is_right = matches!(&answer, Ok((s, b)) if *s == status && b.starts_with(body));
        in_a_row = if is_right { in_a_row + 1 } else { 0 };
        assert!(
            is_right || Instant::now() < deadline,
            "{host}{path} was answered with {answer:?} and not with {status} {body:?}"
        );
    }
}

/// How many right answers in a row, each on a connection of its own, show that
/// a configuration has settled.
const SETTLED_AFTER: usize = 10;
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// Gets a path of a host through Caddy; returns the status and the body.
async fn get(port: u16, host: &str, path: &str) -> reqwest::Result<(u16, String)> {
    let answer = open(port, host, path).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Gets a path of a host through Caddy; returns as soon as the answer begins.
async fn open(port: u16, host: &str, path: &str) -> reqwest::Result<reqwest::Response> {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let request = client.build()?.get(format!("http://127.0.0.1:{port}{path}"));
    request.header("Host", host).send().await
}

async fn observe(caddy: &Caddy, at: &RunningCaddy) -> ProxyState {
    caddy.observe(&at.proxy_config()).await.unwrap()
}

async fn write(caddy: &Caddy, at: &RunningCaddy, table: &RouteTable) {
    caddy.write(&at.proxy_config(), table).await.unwrap();
}

/// Asserts that each of these edits of what stands is noticed, and put right by one
/// write to the last byte.
async fn assert_put_right(
    caddy: &Caddy,
    at: &RunningCaddy,
    wanted: &RouteTable,
    edits: &[(Method, String, Value)],
    binary: &Path,
) {
    let right = at.read_bytes("apps").await;
    for (method, path, value) in edits {
        at.edit(method.clone(), path, value).await;
        let seen = observe(caddy, at).await;
        assert!(!seen.intact || seen.table != *wanted, "{method} {path} went unnoticed");

        write(caddy, at, wanted).await;

        assert_stands(caddy, at, wanted, binary).await;
        assert_eq!(at.read_bytes("apps").await, right, "{method} {path}");
    }
}

/// Asserts that exactly this table stands, as we would write it.
async fn assert_stands(caddy: &Caddy, at: &RunningCaddy, table: &RouteTable, binary: &Path) {
    let seen = observe(caddy, at).await;
    assert_eq!(&seen.table, table, "{}", binary.display());
    assert!(seen.intact, "{}: not intact: {}", binary.display(), at.read("apps").await);
}
