//! Writing where nothing of ours stands, and taking it away again.

use quaymaster::{
    domain::{RouteTable, Slot, snapshot::FailureKind},
    ports::Proxy,
};
use serde_json::{Value, json};

use super::*;
use crate::rig::{
    backend,
    caddy::{AdminOn, binaries},
    port,
};

#[tokio::test]
async fn routes_are_created_where_caddy_has_nothing_at_all() {
    for binary in binaries() {
        for apps in [
            Value::Null,
            json!({}),
            json!({ "http": {} }),
            json!({ "http": { "servers": null } }),
            json!({ "http": { "servers": {} } }),
        ] {
            let at = RunningCaddy::start(&binary, apps).await;
            let (caddy, port) = (caddy(), port::free());
            let mut config = at.proxy_config();
            config.listen = Some(format!("127.0.0.1:{port}"));
            let admin = at.read_bytes("admin").await;
            let wanted = web(Slot::Blue, backend::answering("blue").await);

            assert_eq!(caddy.observe(&config).await.unwrap().table, RouteTable::new());
            caddy.write(&config, &wanted).await.unwrap();

            let seen = caddy.observe(&config).await.unwrap();
            assert_eq!((seen.table, seen.intact), (wanted, true));
            assert_served(port, HOST, "/", 200, "blue").await;
            assert_eq!(at.read_bytes("admin").await, admin);
        }
    }
}

#[tokio::test]
async fn a_created_server_speaks_https_and_redirects_to_it() {
    for binary in binaries() {
        let (http, https) = (port::free(), port::free());
        let apps = json!({
            "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
            "http": { "http_port": http, "https_port": https },
        });
        let at = RunningCaddy::start(&binary, apps.clone()).await;
        let (caddy, host) = (caddy(), "shop.localhost");
        let wanted = table(&[("web", state(host, "/*", Slot::Blue, &[nowhere()]))]);

        write(&caddy, &at, &wanted).await;

        assert_stands(&caddy, &at, &wanted, &binary).await;
        let plain = "Client sent an HTTP request to an HTTPS server";
        assert_served(https, host, "/", 400, plain).await;
        assert_served(http, host, "/", 308, "").await;
        assert_eq!(at.read("apps/pki").await, apps["pki"]);
    }
}

#[tokio::test]
async fn foreign_routes_stay_byte_for_byte_through_a_whole_life() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let before = at.read_bytes("apps").await;
        let foreign = at.read_bytes("apps/http/servers/srv0/routes/1").await;
        let caddy = caddy();
        for slot in Slot::BOTH {
            let wanted = web(slot, backend::answering(slot.as_str()).await);
            write(&caddy, &at, &wanted).await;
            assert_stands(&caddy, &at, &wanted, &binary).await;
            assert_served(port, HOST, "/first", 200, slot.as_str()).await;
            assert_served(port, "other.example", "/first", 200, "first").await;
            assert_served(port, "other.example", "/", 200, "foreign").await;
            assert_eq!(at.read_bytes("apps/http/servers/srv0/routes/2").await, foreign);
        }

        write(&caddy, &at, &RouteTable::new()).await;

        assert_stands(&caddy, &at, &RouteTable::new(), &binary).await;
        assert_eq!(at.read_bytes("apps").await, before);
        assert_served(port, HOST, "/first", 200, "first").await;
    }
}

#[tokio::test]
async fn a_path_that_no_service_has_goes_on_to_the_routes_behind_ours() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let [api, cart] = [backend::answering("api").await, backend::answering("cart").await];
        let wanted = table(&[
            ("api", state(HOST, "/api/*", Slot::Blue, &[api])),
            ("cart", state(HOST, "/api/cart/*", Slot::Blue, &[cart])),
        ]);

        write(&caddy(), &at, &wanted).await;

        assert_served(port, HOST, "/api/x", 200, "api").await;
        assert_served(port, HOST, "/api/cart/x", 200, "cart").await;
        assert_served(port, HOST, "/first", 200, "first").await;
    }
}

#[tokio::test]
async fn exact_hosts_come_before_wildcards_whatever_their_paths() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let [tenants, admin] =
            [backend::answering("tenants").await, backend::answering("admin").await];
        let mut both = state("shop.example", "/api/*", Slot::Blue, &[tenants]);
        both.route.hosts.push("*.shop.example".to_owned());
        let wanted = table(&[
            ("tenants", both),
            ("admin", state("admin.shop.example", "/*", Slot::Blue, &[admin])),
            ("zz", state("shop.example", "/*", Slot::Blue, &[admin])),
        ]);

        let caddy = caddy();
        write(&caddy, &at, &wanted).await;

        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_served(port, "admin.shop.example", "/api/x", 200, "admin").await;
        assert_served(port, "a.shop.example", "/api/x", 200, "tenants").await;
        assert_served(port, "shop.example", "/api/x", 200, "tenants").await;
        assert_served(port, "shop.example", "/", 200, "admin").await;
    }
}

#[tokio::test]
async fn a_unix_socket_is_as_good_as_a_port() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start_on(&binary, AdminOn::Unix, &[], one_server(port)).await;
        let caddy = caddy();
        let wanted = web(Slot::Green, backend::answering("green").await);

        write(&caddy, &at, &wanted).await;

        assert_stands(&caddy, &at, &wanted, &binary).await;
        assert_served(port, HOST, "/", 200, "green").await;
    }
}

#[tokio::test]
async fn what_caddy_refuses_is_an_error_in_its_words_and_changes_nothing() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let before = at.read_bytes("apps").await;
        let mut bad = web(Slot::Blue, nowhere());
        let doubled = vec!["a.example".to_owned(), "a.example".to_owned()];
        bad.values_mut().next().unwrap().route.hosts = doubled;

        let failure = caddy().write(&at.proxy_config(), &bad).await.unwrap_err();

        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
        assert!(failure.message.contains("a.example"), "{failure}");
        assert_eq!(at.read_bytes("apps").await, before);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_may_be_free_at_the_next_try() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, json!({})).await;
        let taken = std::net::TcpListener::bind(("127.0.0.1", port::free())).unwrap();
        let (caddy, mut config) = (caddy(), at.proxy_config());
        config.listen = Some(taken.local_addr().unwrap().to_string());
        let wanted = web(Slot::Blue, nowhere());

        let failure = caddy.write(&config, &wanted).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Transient, "{failure}");

        drop(taken);
        caddy.write(&config, &wanted).await.unwrap();
        assert_eq!(caddy.observe(&config).await.unwrap().table, wanted);
    }
}

#[tokio::test]
async fn a_table_with_nothing_to_send_to_is_not_written() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let nowhere_to_go = table(&[("web", state(HOST, "/*", Slot::Blue, &[]))]);
        let failure = caddy().write(&at.proxy_config(), &nowhere_to_go).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("`web`"), "{failure}");
    }
}
