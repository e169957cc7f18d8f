//! No measurement tells a secret (S9), whatever those who are asked send back.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quaymaster::{
    domain::{GateCheck, Secret},
    ports::Gatekeeper,
};

use super::{Gatekeeping, Server, answer, header, json, target, url};

const CANARY: &str = "Canary-5f1e";

/// A server that sends everything back: as a JSON value, as an error, as a status line
/// could not.
async fn echo(status: u16, error: bool) -> Server {
    Server::start(move |request: &Request| {
        let headers: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        let decoded = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
            .and_then(|encoded| String::from_utf8(STANDARD.decode(encoded).ok()?).ok());
        let said = format!("{} {} {decoded:?}", request.uri(), headers.join(" "));
        let body = match error {
            true => {
                serde_json::json!({ "status": "error", "errorType": "bad_data", "error": said })
            }
            false => serde_json::json!({ "v": said }),
        };
        answer(status, body.to_string())
    })
    .await
}

/// Returns everything that is told of a gate, over two measurements.
async fn told(check: GateCheck) -> String {
    let keeping = Gatekeeping::begin();
    let all = Arc::new(Mutex::new(String::new()));
    keeping.watch([("web", target(check))]);
    for _ in 0..2 {
        let measured = keeping.woken_until("web", |_| true).await;
        all.lock().expect("unpoisoned").push_str(&format!("{measured:?}"));
    }
    let all = all.lock().expect("unpoisoned").clone();
    all + &format!("{:?}", keeping.gates.measured())
}

fn assert_hidden(told: &str) {
    let encoded = STANDARD.encode(format!("me:{CANARY}"));
    assert!(told.contains("Failed"), "the value was compared: {told}");
    assert!(!told.contains("Canary") && !told.contains(&encoded), "{told}");
}

#[tokio::test]
async fn a_value_that_is_the_key_is_hidden() {
    let server = echo(200, false).await;
    let with = |address: String, headers| {
        let mut check = url(address);
        check.headers = headers;
        check.json = json("/v", "== ok");
        GateCheck::Http(check)
    };
    let none = Default::default();
    assert_hidden(&told(with(server.url("/"), header("X-Key", CANARY))).await);
    let bearer = header("Authorization", &format!("Bearer {CANARY}"));
    assert_hidden(&told(with(server.url("/"), bearer)).await);
    let basic = format!("Basic {}", STANDARD.encode(format!("me:{CANARY}")));
    assert_hidden(&told(with(server.url("/"), header("Authorization", &basic))).await);
    let in_user = format!("http://me:{CANARY}@127.0.0.1:{}/", server.port);
    assert_hidden(&told(with(in_user, none)).await);
    let in_query = server.url(&format!("/?key={CANARY}#{CANARY}"));
    assert_hidden(&told(with(in_query, Default::default())).await);
}

#[tokio::test]
async fn an_error_of_prometheus_that_holds_the_key_is_hidden() {
    let server = echo(400, true).await;
    assert_hidden(
        &told(GateCheck::Prometheus {
            url: Secret::new(format!("http://me:{CANARY}@127.0.0.1:{}/prom/", server.port)),
            query: "up".to_owned(),
            condition: "> 0".parse().expect("a condition"),
        })
        .await,
    );
    assert_eq!(server.first("host").0, "/prom/api/v1/query?query=up");
}
