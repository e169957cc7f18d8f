//! Another writer, and answers that get lost.

use futures::FutureExt;
use quaymaster::{
    domain::{
        Slot,
        snapshot::FailureKind,
        stack::{AdminEndpoint, FlipChoice, NameChoice, ProxyConfig},
    },
    ports::Proxy,
};
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;

use super::*;
use crate::rig::{
    caddy::{AdminOn, binaries},
    port,
    tap::{Fate, Tap},
};

const ROUTES: &str = "apps/http/servers/srv0/routes";

struct Contested {
    at: Arc<RunningCaddy>,
    tap: Tap,
    config: ProxyConfig,
}

async fn contested(binary: &Path, apps: serde_json::Value) -> Contested {
    let (listener, address) = Tap::bind().await;
    let at = RunningCaddy::start_on(binary, AdminOn::Tcp, &[address.to_string()], apps).await;
    let tap = Tap::start(listener, at.admin_port());
    let admin = AdminEndpoint::Tcp { host: "127.0.0.1".into(), port: address.port() };
    Contested {
        at: Arc::new(at),
        tap,
        config: ProxyConfig {
            admin,
            listen: None,
            flip: FlipChoice::AdminApi,
            names: NameChoice::Docker,
        },
    }
}

impl Contested {
    /// Lets someone add a route between our read and our next write.
    fn someone_adds_a_route(&self, number: usize) {
        let at = self.at.clone();
        let add = async move {
            let path = format!("/foreign-{number}");
            at.edit(Method::PUT, &format!("{ROUTES}/0"), &json!({ "match": [{ "path": [path] }] }))
                .await;
        };
        self.tap.befall(Fate::After(add.boxed()));
    }
}

#[tokio::test]
async fn a_change_between_read_and_write_is_neither_lost_nor_overwritten() {
    for binary in binaries() {
        let contested = contested(&binary, one_server(port::free())).await;
        let (caddy, config) = (caddy(), &contested.config);
        for slot in [Slot::Blue, Slot::Green] {
            let before = contested.at.read(ROUTES).await.as_array().unwrap().len();
            for number in 0..4 {
                contested.someone_adds_a_route(number);
            }
            let wanted = web(slot, nowhere());

            caddy.write(config, &wanted).await.unwrap();

            let seen = caddy.observe(config).await.unwrap();
            assert_eq!((seen.table, seen.intact), (wanted, true));
            let after = contested.at.read(ROUTES).await;
            let ours = usize::from(slot == Slot::Blue);
            assert_eq!(after.as_array().unwrap().len(), before + 4 + ours);
            for number in 0..4 {
                assert!(after.to_string().contains(&format!("/foreign-{number}")), "{after}");
            }
        }
    }
}

#[tokio::test]
async fn a_writer_that_never_rests_ends_in_a_failure_to_try_again() {
    for binary in binaries() {
        let contested = contested(&binary, one_server(port::free())).await;
        for number in 0..5 {
            contested.someone_adds_a_route(number);
        }
        let wanted = web(Slot::Blue, nowhere());

        let failure = caddy().write(&contested.config, &wanted).await.unwrap_err();

        assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
        assert!(failure.message.contains("changed by someone else"), "{failure}");
        assert!(!contested.at.read(ROUTES).await.to_string().contains("quaymaster"));
    }
}

#[tokio::test]
async fn a_server_that_appears_while_we_create_one_is_not_overwritten() {
    for binary in binaries() {
        let contested = contested(&binary, serde_json::Value::Null).await;
        let (at, port) = (contested.at.clone(), port::free());
        let appears = async move {
            at.edit(Method::PUT, "apps/http", &one_server(port)["http"]).await;
        };
        contested.tap.befall(Fate::After(appears.boxed()));
        let (caddy, wanted) = (caddy(), web(Slot::Blue, nowhere()));

        caddy.write(&contested.config, &wanted).await.unwrap();

        let seen = caddy.observe(&contested.config).await.unwrap();
        assert_eq!((seen.table, seen.intact), (wanted, true));
        let servers = contested.at.read("apps/http/servers").await;
        assert_eq!(servers.as_object().unwrap().keys().collect::<Vec<_>>(), ["srv0"]);
        assert_served(port, "x.example", "/", 200, "foreign").await;
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_looked_after_and_not_repeated() {
    for binary in binaries() {
        let contested = contested(&binary, one_server(port::free())).await;
        let (caddy, config) = (caddy(), &contested.config);
        // Learns the dialect first, so that what is lost is not a refusal.
        caddy.write(config, &web(Slot::Blue, nowhere())).await.unwrap();
        contested.tap.take_seen();
        contested.tap.befall(Fate::AnswerLost);
        let wanted = web(Slot::Green, nowhere());

        caddy.write(config, &wanted).await.unwrap();

        let seen = contested.tap.take_seen();
        let writes = seen.iter().filter(|line| !line.starts_with("GET ")).count();
        assert_eq!(writes, 1, "{seen:?}");
        assert_eq!(caddy.observe(config).await.unwrap().table, wanted);
    }
}

#[tokio::test]
async fn calls_at_once_take_turns() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        let tables = Slot::BOTH.map(|slot| web(slot, nowhere()));
        let calls = (0..40).map(|number| {
            let (caddy, at, table) = (&caddy, &at, &tables[number % 2]);
            async move {
                write(caddy, at, table).await;
                observe(caddy, at).await
            }
        });
        for seen in futures::future::join_all(calls).await {
            assert!(seen.intact && tables.contains(&seen.table));
        }
    }
}
