//! What a container gets that calls a service by its name.
//!
//! Loopback stands for a bridge here: the gateway is 127.0.0.1.

use std::{net::TcpListener, time::Duration};

use quaymaster::{
    domain::{
        Inside, Slot,
        snapshot::NameMechanism,
        stack::{FlipChoice, NameChoice, ProxyConfig},
    },
    ports::Proxy,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::rig::{backend, caddy::binaries, port};

const SERVER: &str = "apps/http/servers/quaymaster-shop-names";

/// Those who are on the bridge.
const NEAR: &str = "127.0.0.0/8";
const FAR: &str = "10.0.0.0/8";

/// The state, called by name at this port of loopback by these.
fn named(mut state: RouteState, port: u16, from: &str) -> RouteState {
    state.route.port = port;
    let listen = [SocketAddr::from(([127, 0, 0, 1], port))].into();
    state.inside = Some(Inside { listen, from: [from.parse().unwrap()].into() });
    state
}

/// A table of the service `web`, called from loopback by its name at this port.
fn web_inside(slot: Slot, dial: SocketAddr, port: u16) -> RouteTable {
    table(&[("web", named(state(HOST, "/*", slot, &[dial]), port, NEAR))])
}

#[tokio::test]
async fn a_name_leads_to_the_release_that_answers_outside() {
    for binary in binaries() {
        let (outside, inside) = (port::free(), port::free());
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let caddy = caddy();
        let blue = backend::answering("blue").await;
        let green = backend::answering("green").await;
        for (slot, dial, body) in
            [(Slot::Blue, blue, "blue"), (Slot::Green, green, "green"), (Slot::Blue, blue, "blue")]
        {
            let wanted = web_inside(slot, dial, inside);
            write(&caddy, &at, &wanted).await;
            assert_stands(&caddy, &at, &wanted, &binary).await;
            assert_served(outside, HOST, "/", 200, body).await;
            assert_served(inside, "web", "/any/path", 200, body).await;
            // As clients say it of a port that is not 80.
            assert_served(inside, &format!("web:{inside}"), "/", 200, body).await;
        }
    }
}

#[tokio::test]
async fn who_is_not_on_the_bridge_and_what_is_no_name_is_refused() {
    for binary in binaries() {
        let (outside, inside) = (port::free(), port::free());
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let caddy = caddy();
        let dial = backend::answering("web").await;
        let wanted = table(&[
            ("far", named(state("far.example", "/*", Slot::Blue, &[dial]), inside, FAR)),
            ("near", named(state("near.example", "/*", Slot::Blue, &[dial]), inside, NEAR)),
        ]);
        write(&caddy, &at, &wanted).await;
        assert_served(inside, "near", "/", 200, "web").await;
        assert_served(inside, "far", "/", 403, "").await;
        assert_served(inside, "near.example", "/", 403, "").await;
        assert_served(outside, "near", "/", 200, "foreign").await;
    }
}

#[tokio::test]
async fn a_service_for_the_inside_only_has_no_way_in_from_outside() {
    for binary in binaries() {
        let (outside, inside) = (port::free(), port::free());
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let caddy = caddy();
        let mut wanted = web_inside(Slot::Blue, backend::answering("web").await, inside);
        wanted.get_mut(&"web".parse().unwrap()).unwrap().route.hosts.clear();
        write(&caddy, &at, &wanted).await;
        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_served(inside, "web", "/", 200, "web").await;
        for host in ["web", "web.example", "127.0.0.1"] {
            assert_served(outside, host, "/", 200, "foreign").await;
        }
    }
}

#[tokio::test]
async fn any_edit_of_the_server_is_noticed_and_put_right() {
    let edits: [(Method, String, Value); 7] = [
        (Method::DELETE, SERVER.to_owned(), Value::Null),
        (Method::PATCH, format!("{SERVER}/routes"), json!([])),
        (Method::DELETE, format!("{SERVER}/routes/1"), Value::Null),
        (Method::PATCH, format!("{SERVER}/routes/0/match/0/host"), json!(["other"])),
        (Method::PATCH, format!("{SERVER}/routes/0/match/0/remote_ip/ranges"), json!(["::/0"])),
        (
            Method::PATCH,
            format!("{SERVER}/routes/0/handle/0/upstreams"),
            json!([{ "dial": "10.9.9.9:1" }]),
        ),
        (Method::PATCH, format!("{SERVER}/automatic_https"), json!({})),
    ];
    for binary in binaries() {
        let (outside, inside) = (port::free(), port::free());
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let caddy = caddy();
        let wanted = web_inside(Slot::Green, nowhere(), inside);
        write(&caddy, &at, &wanted).await;
        assert_put_right(&caddy, &at, &wanted, &edits, &binary).await;
    }
}

#[tokio::test]
async fn nobody_elses_server_is_changed_and_the_last_name_takes_ours_away() {
    for binary in binaries() {
        let (outside, inside, other) = (port::free(), port::free(), port::free());
        let mut apps = one_server(outside);
        apps["http"]["servers"]["other"] = json!({
            "listen": [format!("127.0.0.1:{other}")],
            "routes": [{ "handle": [{ "handler": "static_response", "body": "<&> 1e21 ü" }] }],
        });
        let at = RunningCaddy::start(&binary, apps).await;
        // Of two servers, ours is the one that is named.
        let config =
            ProxyConfig { listen: Some(format!("127.0.0.1:{outside}")), ..at.proxy_config() };
        let caddy = caddy();
        let first = at.read_bytes("apps").await;
        let others = at.read_bytes("apps/http/servers/other").await;
        let with_names = web_inside(Slot::Green, nowhere(), inside);
        let mut without = with_names.clone();
        without.get_mut(&"web".parse().unwrap()).unwrap().inside = None;
        for (table, has_server) in [
            (&with_names, true),
            (&without, false),
            (&with_names, true),
            (&RouteTable::new(), false),
        ] {
            caddy.write(&config, table).await.unwrap();
            let seen = caddy.observe(&config).await.unwrap();
            assert_eq!((&seen.table, seen.intact), (table, true));
            assert_eq!(!at.read(SERVER).await.is_null(), has_server);
            assert_eq!(at.read_bytes("apps/http/servers/other").await, others);
        }
        assert_eq!(at.read_bytes("apps").await, first);
    }
}

#[tokio::test]
async fn stacks_in_one_caddy_have_a_server_of_names_each() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let mut written = Vec::new();
        for stack in ["a", "a-names"] {
            let state = state(&format!("{stack}.example"), "/*", Slot::Blue, &[nowhere()]);
            let wanted = table(&[("web", named(state, port::free(), NEAR))]);
            let caddy = caddy_of(stack);
            write(&caddy, &at, &wanted).await;
            written.push((caddy, wanted));
        }
        for (caddy, wanted) in &written {
            assert_stands(caddy, &at, wanted, &binary).await;
        }
        write(&written[0].0, &at, &RouteTable::new()).await;
        assert_stands(&written[0].0, &at, &RouteTable::new(), &binary).await;
        assert_stands(&written[1].0, &at, &written[1].1, &binary).await;
    }
}

#[tokio::test]
async fn an_address_that_somebody_else_has_costs_its_own_name_and_nothing_more() {
    for binary in binaries() {
        let outside = port::free();
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let caddy = caddy();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let (free, dial) = (port::free(), backend::answering("web").await);
        let mut wanted = table(&[
            ("free", named(state("free.example", "/*", Slot::Blue, &[dial]), free, NEAR)),
            ("taken", named(state("taken.example", "/*", Slot::Blue, &[dial]), taken.port(), NEAR)),
        ]);

        write(&caddy, &at, &wanted).await;

        assert_served(outside, "taken.example", "/", 200, "web").await;
        assert_served(outside, "free.example", "/", 200, "web").await;
        assert_served(free, "free", "/", 200, "web").await;
        let seen = observe(&caddy, &at).await;
        assert_eq!(seen.refused.keys().collect::<Vec<_>>(), [&taken], "{:?}", seen.refused);
        assert!(seen.refused[&taken].contains("address already in use"), "{:?}", seen.refused);
        wanted.get_mut(&"taken".parse().unwrap()).unwrap().inside = None;
        assert_stands(&caddy, &at, &wanted, &binary).await;
    }
}

#[tokio::test]
async fn a_caddy_that_is_not_on_this_hosts_network_still_gets_the_outer_routes() {
    for binary in binaries() {
        let outside = port::free();
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let caddy = caddy();
        let mut state = state(HOST, "/*", Slot::Blue, &[backend::answering("web").await]);
        // Addresses for documentation: nobody has them.
        let listen: Vec<SocketAddr> = ["192.0.2.1:80", "192.0.2.1:81", "198.51.100.1:80"]
            .map(|at| at.parse().unwrap())
            .into();
        let listen = listen.into_iter().collect();
        state.inside = Some(Inside { listen, from: [NEAR.parse().unwrap()].into() });
        let wanted = table(&[("web", state)]);
        if may_bind_anywhere() {
            continue;
        }

        write(&caddy, &at, &wanted).await;

        assert_served(outside, HOST, "/", 200, "web").await;
        let seen = observe(&caddy, &at).await;
        assert_eq!(seen.refused.len(), 3);
        assert!(seen.intact && at.read(SERVER).await.is_null());
    }
}

fn may_bind_anywhere() -> bool {
    let value = std::fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind").unwrap_or_default();
    value.trim() == "1"
}

#[tokio::test]
async fn by_default_caddy_answers_to_names_where_it_may_listen_on_an_address_to_come() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        let seen = async |names| {
            let config = ProxyConfig { names, ..at.proxy_config() };
            caddy.observe(&config).await.unwrap().names
        };
        match seen(NameChoice::Auto).await {
            NameMechanism::Caddy => assert!(may_bind_anywhere()),
            NameMechanism::Docker { why } => {
                assert!(!may_bind_anywhere() && why.contains("ip_nonlocal_bind"), "{why}");
            }
        }
        assert_eq!(seen(NameChoice::Caddy).await, NameMechanism::Caddy);
        assert!(matches!(seen(NameChoice::Docker).await, NameMechanism::Docker { .. }));
    }
}

#[tokio::test]
async fn a_flip_by_switch_file_moves_a_name_too_and_tells_caddy_nothing() {
    for binary in binaries() {
        let (outside, inside) = (port::free(), port::free());
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        let state = tempfile::tempdir().unwrap();
        let caddy = Caddy::new(&"shop".parse().unwrap(), state.path());
        let config = ProxyConfig { flip: FlipChoice::SwitchFile, ..at.proxy_config() };
        let blue = web_inside(Slot::Blue, backend::answering("blue").await, inside);
        let green = web_inside(Slot::Green, backend::answering("green").await, inside);
        for table in [&blue, &green] {
            caddy.write(&config, table).await.unwrap();
        }
        let configured = at.read_bytes("apps").await;
        for (table, body) in [(&blue, "blue"), (&green, "green"), (&blue, "blue")] {
            caddy.write(&config, table).await.unwrap();
            assert_served(inside, "web", "/", 200, body).await;
            assert_served(outside, HOST, "/", 200, body).await;
            assert_eq!(at.read_bytes("apps").await, configured);
            let seen = caddy.observe(&config).await.unwrap();
            assert_eq!((&seen.table, seen.intact), (table, true));
        }
    }
}

#[tokio::test]
async fn requests_by_name_and_from_outside_are_counted_together() {
    for binary in binaries() {
        let (outside, inside) = (port::free(), port::free());
        let at = RunningCaddy::start(&binary, one_server(outside)).await;
        // An older one counts what it names, and is believed after a while only.
        if at.version() < (2, 11) {
            continue;
        }
        let caddy = caddy();
        let (slow, answer) = backend::streaming("text/plain").await;
        write(&caddy, &at, &web_inside(Slot::Blue, slow, inside)).await;
        assert_served(outside, HOST, "/", 200, "ready").await;
        assert_served(inside, "web", "/", 200, "ready").await;
        answer.unbounded_send("begun").unwrap();
        let request = open(inside, "web", backend::STREAM).await.unwrap();
        assert_counted(&caddy, &at, slow, 1).await;
        drop((answer, request));
        assert_counted(&caddy, &at, slow, 0).await;
    }
}

async fn assert_counted(caddy: &Caddy, at: &RunningCaddy, dial: SocketAddr, count: u64) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    while caddy.in_flight(&at.proxy_config()).await.unwrap().to(&dial) != Some(count) {
        assert!(Instant::now() < deadline, "{dial}: {count} requests were never counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
