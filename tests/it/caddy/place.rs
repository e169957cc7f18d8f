//! Which server gets our routes, and what its other sites notice.

use quaymaster::{
    domain::{Slot, snapshot::FailureKind},
    ports::Proxy,
};
use serde_json::json;

use super::*;
use crate::rig::{backend, caddy::binaries, port};

#[tokio::test]
async fn several_servers_without_a_word_about_it_are_an_error_that_lists_them() {
    for binary in binaries() {
        let ports = [port::free(), port::free()];
        let server = |port: u16| json!({ "listen": [format!("127.0.0.1:{port}")] });
        let apps = json!({ "http": { "servers": { "inner": server(ports[0]), "outer": server(ports[1]) } } });
        let at = RunningCaddy::start(&binary, apps).await;
        let (caddy, wanted) = (caddy(), web(Slot::Blue, backend::answering("blue").await));
        let before = at.read_bytes("apps").await;

        let failure = caddy.write(&at.proxy_config(), &wanted).await.unwrap_err();

        assert_eq!(failure.kind, FailureKind::Refused);
        let listed =
            format!("`inner` on 127.0.0.1:{}, `outer` on 127.0.0.1:{}", ports[0], ports[1]);
        assert!(failure.message.contains(&listed), "{failure}");
        assert!(failure.message.contains("proxy.caddy.listen"), "{failure}");
        assert_eq!(at.read_bytes("apps").await, before);

        let mut config = at.proxy_config();
        config.listen = Some(format!("tcp/127.0.0.1:{}", ports[1]));
        caddy.write(&config, &wanted).await.unwrap();
        assert_served(ports[1], HOST, "/", 200, "blue").await;
        assert_eq!(at.read("apps/http/servers/inner/routes").await, json!(null));
    }
}

#[tokio::test]
async fn a_plain_http_site_on_an_odd_port_is_not_turned_to_https() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        assert_served(port, "x.example", "/", 200, "foreign").await;

        write(&caddy(), &at, &web(Slot::Blue, backend::answering("blue").await)).await;

        assert_served(port, "x.example", "/", 200, "foreign").await;
        assert_served(port, HOST, "/", 200, "blue").await;
    }
}
