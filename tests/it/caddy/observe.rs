//! What observing costs, and what it tells when nothing answers.

use std::sync::{Arc, Mutex};

use quaymaster::{
    domain::{
        RouteTable, Slot,
        snapshot::FailureKind,
        stack::{AdminEndpoint, FlipChoice, NameChoice, ProxyConfig},
    },
    ports::Proxy,
};
use reqwest::Method;
use serde_json::json;

use super::*;
use crate::rig::{
    caddy::{AdminOn, binaries},
    port,
    tap::Tap,
};

#[tokio::test]
async fn a_pass_with_nothing_to_do_costs_one_request() {
    for binary in binaries() {
        let (listener, address) = Tap::bind().await;
        let at = RunningCaddy::start_on(
            &binary,
            AdminOn::Tcp,
            &[address.to_string()],
            one_server(port::free()),
        )
        .await;
        let tap = Tap::start(listener, at.admin_port());
        let config = through(&tap);
        let caddy = caddy();
        let wanted = web(Slot::Blue, nowhere());

        caddy.write(&config, &wanted).await.unwrap();
        tap.take_seen();
        for _ in 0..3 {
            assert!(caddy.observe(&config).await.unwrap().intact);
            assert_eq!(tap.take_seen(), ["GET /config/apps/http"]);
        }
        caddy.write(&config, &wanted).await.unwrap();
        assert_eq!(tap.take_seen(), ["GET /config/apps/http"], "a write that changes nothing");

        let flipped = web(Slot::Green, nowhere());
        caddy.write(&config, &flipped).await.unwrap();
        let one_write = ["GET /config/apps/http", "PATCH /config/apps/http/servers/srv0/routes/0"];
        assert_eq!(tap.take_seen(), one_write);
    }
}

#[tokio::test]
async fn the_version_is_told_where_caddy_tells_it() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, json!({})).await;
        let seen = observe(&caddy(), &at).await;
        assert_eq!((seen.table, seen.intact), (RouteTable::new(), true));
        // Debian's build of 2.6.2 does not tell; official builds do.
        if !at.cuts_streams() {
            assert!(seen.version.is_some_and(|version| version.major == 2 && version.minor >= 7));
        }
    }
}

#[tokio::test]
async fn an_admin_endpoint_that_any_web_page_commands_is_warned_about_once() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, json!({})).await;
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let listening = tracing::subscriber::set_default(subscriber);
        let caddy = caddy();
        for _ in 0..3 {
            observe(&caddy, &at).await;
        }
        drop(listening);

        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let warnings = log.matches("CVE-2026-27589").count();
        assert_eq!(warnings, usize::from(at.version() < (2, 11)), "{}: {log}", binary.display());
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_caddy_that_is_down_is_a_transient_failure_that_names_it() {
    let tcp = AdminEndpoint::Tcp { host: "127.0.0.1".into(), port: port::free() };
    let unix = AdminEndpoint::Unix("/nonexistent/caddy.sock".into());
    for (admin, name) in [(tcp, "http://127.0.0.1:"), (unix, "unix:///nonexistent/caddy.sock")] {
        let config = ProxyConfig {
            admin,
            listen: None,
            flip: FlipChoice::AdminApi,
            names: NameChoice::Docker,
        };
        let caddy = caddy();
        let failures = [
            caddy.observe(&config).await.unwrap_err(),
            caddy.write(&config, &web(Slot::Blue, nowhere())).await.unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
            assert!(failure.message.contains(name), "{failure}");
            assert!(failure.message.contains("is Caddy running"), "{failure}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_may_not_be_called_by_this_address_says_what_to_allow() {
    for binary in binaries() {
        let (listener, _) = Tap::bind().await;
        let at = RunningCaddy::start(&binary, json!({})).await;
        let config = through(&Tap::start(listener, at.admin_port()));
        let failure = caddy().observe(&config).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("`origins`"), "{failure}");
    }
}

#[tokio::test]
async fn what_is_not_caddy_is_said_not_to_be() {
    let address = crate::rig::backend::answering("hello").await;
    let admin = AdminEndpoint::Tcp { host: "127.0.0.1".into(), port: address.port() };
    let failure = caddy()
        .observe(&ProxyConfig {
            admin,
            listen: None,
            flip: FlipChoice::AdminApi,
            names: NameChoice::Docker,
        })
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("is not Caddy's admin API"), "{failure}");
}

#[tokio::test]
async fn one_service_edited_beyond_recognition_hides_no_other() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        let two = table(&[
            ("api", state("api.example", "/*", Slot::Blue, &[nowhere()])),
            ("web", state("web.example", "/*", Slot::Green, &[nowhere()])),
        ]);
        write(&caddy, &at, &two).await;
        let handler = "apps/http/servers/srv0/routes/0/handle/0/routes/0/handle/0";
        at.edit(Method::PATCH, handler, &json!({ "handler": "static_response" })).await;

        let seen = observe(&caddy, &at).await;

        assert!(!seen.intact);
        assert_eq!(seen.table.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["web"]);
    }
}

fn through(tap: &Tap) -> ProxyConfig {
    let admin = AdminEndpoint::Tcp { host: "127.0.0.1".into(), port: tap.address.port() };
    ProxyConfig { admin, listen: None, flip: FlipChoice::AdminApi, names: NameChoice::Docker }
}
