//! What is not this host: TLS, and the environment's proxy. The environment is a
//! process's own, so each of these runs in a child.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::json;

use super::{first, url};
use crate::{
    child,
    rig::{
        caddy::{self, RunningCaddy},
        eventually, port,
    },
};

/// What decides how others are reached.
const ENVIRONMENT: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Asks the URL that it is given, and says what came of it.
#[test]
#[ignore = "the child of the tests below"]
fn asking() {
    let Some(address) = child::argument() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measurement = runtime.block_on(first(url(address)));
    println!("\ntold {measurement:?}");
}

/// Returns what a child says that asks `address` in this environment.
fn told(address: &str, environment: &[(&str, &str)]) -> String {
    let mut asking = child::running("gate::outside::asking", address);
    for name in ENVIRONMENT {
        asking.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = asking.envs(environment.iter().copied()).output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    let line = said.lines().find_map(|line| line.strip_prefix("told "));
    line.unwrap_or_else(|| panic!("it said nothing: {said}")).to_owned()
}

#[tokio::test]
async fn a_certificate_counts_only_if_the_host_trusts_its_authority() {
    let binary = caddy::binaries().remove(0);
    let (port, plain) = (port::free(), port::free());
    let answer = json!({ "handler": "static_response", "status_code": 200 });
    let apps = json!({
        "http": {
            "http_port": plain,
            "https_port": port,
            "servers": { "front": {
                "listen": [format!("127.0.0.1:{port}")],
                "routes": [{ "match": [{ "host": ["localhost"] }], "handle": [answer] }],
                "automatic_https": { "disable_redirects": true },
            } },
        },
        "tls": { "automation": { "policies": [{ "issuers": [{ "module": "internal" }] }] } },
        "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
    });
    let caddy = RunningCaddy::start(&binary, apps).await;
    let authority = caddy.authority().await;
    let trusted = [("SSL_CERT_FILE", authority.to_str().expect("text"))];
    let address = format!("https://localhost:{port}/");
    // It has an authority before it has a certificate.
    let said = eventually(|| Some(told(&address, &trusted)).filter(|it| it.starts_with("Passed")));
    assert_eq!(said.as_deref(), Some(r#"Passed("HTTP 200")"#));

    let of_the_host = told(&address, &[]);
    assert!(of_the_host.contains("Unanswered(\"no TLS with localhost"), "{of_the_host}");
    // The certificate is not this name's.
    let by_number = told(&format!("https://127.0.0.1:{port}/"), &trusted);
    assert!(by_number.contains("Unanswered(\"no TLS with 127.0.0.1"), "{by_number}");
    let not_tls = told(&format!("https://localhost:{}/", caddy.admin_port()), &trusted);
    assert!(not_tls.contains("Unanswered("), "{not_tls}");
}

#[test]
fn a_host_without_authorities_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().to_str().expect("text");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let environment = [("SSL_CERT_DIR", empty)];
    let said = told(&format!("https://127.0.0.1:{port}/"), &environment);
    assert!(said.contains("ca-certificates"), "{said}");
}

/// Takes one connection, answers it, and returns what it was asked.
fn proxy(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://me:pw@{}", listener.local_addr().expect("bound"));
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("readable") == 1 {
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("writable");
        String::from_utf8(request).expect("text")
    });
    (address, asked)
}

#[test]
fn a_url_is_asked_through_the_environments_proxy() {
    let (proxy_url, asked) = proxy("HTTP/1.1 204 No Content\r\n\r\n");
    let address = "http://u:p@tool.example/x?y=1";
    assert_eq!(told(address, &[("http_proxy", &proxy_url)]), r#"Passed("HTTP 204")"#);
    let asked = asked.join().expect("it was asked");
    assert!(asked.starts_with("GET http://tool.example/x?y=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: Basic bWU6cHc=\r\n"), "{asked}");
    assert!(asked.contains("host: tool.example\r\n"), "{asked}");

    let (proxy_url, asked) = proxy("HTTP/1.1 403 Forbidden\r\n\r\n");
    let said = told("https://tool.example/", &[("HTTPS_PROXY", &proxy_url)]);
    assert_eq!(said, r#"Unanswered("the proxy of the environment refuses to connect")"#);
    let asked = asked.join().expect("it was asked");
    assert!(asked.starts_with("CONNECT tool.example:443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic bWU6cHc=\r\n"), "{asked}");
}

#[test]
fn this_host_is_never_asked_through_a_proxy() {
    // Nobody listens at the proxy's port.
    let nobody = format!("http://127.0.0.1:{}", port::free());
    let port = port::free();
    let said = told(
        &format!("http://127.0.0.1:{port}/"),
        &[("HTTP_PROXY", &nobody), ("http_proxy", &nobody)],
    );
    assert!(said.contains(&format!("refused by 127.0.0.1:{port}")), "{said}");
}
