//! Getting our routes back after what people and restarts do to them.

use quaymaster::{domain::Slot, ports::Proxy};
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::rig::{backend, caddy::binaries, port};

const ROUTES: &str = "apps/http/servers/srv0/routes";

#[tokio::test]
async fn a_restart_and_a_reload_lose_our_routes_and_one_write_brings_them_back() {
    for binary in binaries() {
        let port = port::free();
        let mut at = RunningCaddy::start(&binary, one_server(port)).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, backend::answering("green").await);
        write(&caddy, &at, &wanted).await;

        at.restart().await;
        assert_eq!(observe(&caddy, &at).await.table, RouteTable::new());
        write(&caddy, &at, &wanted).await;
        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_served(port, HOST, "/", 200, "green").await;

        at.reload(one_server(port)).await;
        assert_eq!(observe(&caddy, &at).await.table, RouteTable::new());
        write(&caddy, &at, &wanted).await;
        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_served(port, HOST, "/", 200, "green").await;
    }
}

#[tokio::test]
async fn a_caddy_that_was_down_for_a_while_is_met_anew() {
    for binary in binaries() {
        let mut at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, nowhere());
        write(&caddy, &at, &wanted).await;

        at.stop();
        caddy.observe(&at.proxy_config()).await.unwrap_err();
        at.restart().await;

        write(&caddy, &at, &wanted).await;
        assert_stands(&caddy, &at, &wanted, &binary).await;
    }
}

#[tokio::test]
async fn any_edit_of_our_subtree_is_noticed_and_put_right() {
    let service = format!("{ROUTES}/0/handle/0/routes/0");
    let edits: [(Method, String, Value); 7] = [
        (Method::PATCH, format!("{ROUTES}/0/match/0"), json!({ "host": ["elsewhere.example"] })),
        (Method::PUT, format!("{ROUTES}/0/terminal"), json!(true)),
        (Method::DELETE, format!("{ROUTES}/0/handle/0/routes/0"), Value::Null),
        (Method::PATCH, format!("{service}/handle/0/upstreams"), json!([{ "dial": "10.9.9.9:1" }])),
        (Method::PATCH, format!("{service}/handle/0/load_balancing/try_duration"), json!("0s")),
        (Method::PATCH, format!("{service}/match/0/path"), json!(["/x/*"])),
        (
            Method::PUT,
            format!("{service}/handle/0/headers"),
            json!({ "response": { "set": { "X": ["y"] } } }),
        ),
    ];
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, nowhere());
        write(&caddy, &at, &wanted).await;
        assert_put_right(&caddy, &at, &wanted, &edits, &binary).await;
    }
}

#[tokio::test]
async fn routes_that_were_moved_behind_others_come_to_the_front_again() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, backend::answering("green").await);
        write(&caddy, &at, &wanted).await;
        let catch_all = json!({ "handle": [{ "handler": "static_response", "body": "all" }] });
        at.edit(Method::PUT, &format!("{ROUTES}/0"), &catch_all).await;

        let seen = observe(&caddy, &at).await;
        assert_eq!((&seen.table, seen.intact), (&wanted, false));
        write(&caddy, &at, &wanted).await;

        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_served(port, HOST, "/", 200, "green").await;
        assert_eq!(at.read(&format!("{ROUTES}/1")).await, catch_all);
        assert_eq!(at.read(ROUTES).await.as_array().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn routes_that_stand_twice_stand_once_again() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, nowhere());
        write(&caddy, &at, &wanted).await;
        let once = at.read_bytes("apps").await;
        // Newer Caddys refuse the copy by themselves.
        if !at.cuts_streams() {
            continue;
        }
        let copy = at.read(&format!("{ROUTES}/0")).await;
        at.edit(Method::POST, ROUTES, &copy).await;

        assert!(!observe(&caddy, &at).await.intact);
        write(&caddy, &at, &wanted).await;

        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_eq!(at.read_bytes("apps").await, once);
    }
}

#[tokio::test]
async fn stacks_in_one_caddy_leave_each_other_alone() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        // The second stack has the name that the first one's service `b` would
        // have, if ids were joined by a dash.
        let stacks = [("a", "b"), ("a-b", "c")];
        let mut written = Vec::new();
        for (stack, service) in stacks {
            let host = format!("{stack}.example");
            let wanted = table(&[(service, state(&host, "/*", Slot::Blue, &[nowhere()]))]);
            let caddy = caddy_of(stack);
            write(&caddy, &at, &wanted).await;
            written.push((caddy, wanted));
        }
        for (caddy, wanted) in &written {
            assert_stands(caddy, &at, wanted, &binary).await;
        }

        let (gone, _) = &written[0];
        write(gone, &at, &RouteTable::new()).await;

        assert_stands(gone, &at, &RouteTable::new(), &binary).await;
        assert_stands(&written[1].0, &at, &written[1].1, &binary).await;
        assert_served(port, "x.example", "/", 200, "foreign").await;
    }
}

#[tokio::test]
async fn one_server_that_changed_hands_is_left_in_one_write() {
    for binary in binaries() {
        let ports = [port::free(), port::free()];
        let server = |port: u16| json!({ "listen": [format!("127.0.0.1:{port}")] });
        let apps =
            json!({ "http": { "servers": { "a": server(ports[0]), "b": server(ports[1]) } } });
        let at = RunningCaddy::start(&binary, apps).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, backend::answering("green").await);
        let on = |port: u16| {
            let mut config = at.proxy_config();
            config.listen = Some(format!("127.0.0.1:{port}"));
            config
        };
        caddy.write(&on(ports[0]), &wanted).await.unwrap();
        assert_served(ports[0], HOST, "/", 200, "green").await;

        assert!(!caddy.observe(&on(ports[1])).await.unwrap().intact);
        caddy.write(&on(ports[1]), &wanted).await.unwrap();

        let seen = caddy.observe(&on(ports[1])).await.unwrap();
        assert_eq!((seen.table, seen.intact), (wanted, true));
        assert_served(ports[1], HOST, "/", 200, "green").await;
        assert_eq!(at.read("apps/http/servers/a/routes").await, json!([]));
    }
}
