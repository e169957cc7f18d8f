//! HTTP gates: whom they ask, what they send, and how they judge what comes back.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::stream;
use quaymaster::domain::{GateCheck, gate::HttpCheck, snapshot::Measurement};

use super::{
    Gatekeeping, Server, answer, failed, first, first_of, header, json, passed, replica, target,
    unanswered, url,
};
use crate::rig::port;

/// A Langfuse, as far as its traces are asked for: with basic authentication, and
/// with as many traces as the release has written so far.
async fn langfuse(traces: Arc<AtomicUsize>) -> Server {
    let entitled = format!("Basic {}", STANDARD.encode("pk-lf-1:sk-lf-2"));
    Server::start(move |request: &Request| {
        let authorization = request.headers().get("authorization");
        if request.uri().path() != "/api/public/traces" {
            return answer(404, "{}");
        }
        if authorization.is_none_or(|value| value.as_bytes() != entitled.as_bytes()) {
            return answer(401, r#"{"message":"Invalid credentials"}"#);
        }
        let count = traces.load(Ordering::SeqCst);
        answer(200, format!(r#"{{"data":[],"meta":{{"page":1,"totalItems":{count}}}}}"#))
    })
    .await
}

fn asks_for_traces(server: &Server, key: &str) -> HttpCheck {
    let mut check = url(server.url("/api/public/traces?limit=1&tags=release-1"));
    check.headers = header("Authorization", &format!("Basic {}", STANDARD.encode(key)));
    check.json = json("/meta/totalItems", ">= 1");
    check
}

#[tokio::test]
async fn a_release_is_promoted_once_its_trace_has_arrived() {
    let traces = Arc::new(AtomicUsize::new(0));
    let server = langfuse(Arc::clone(&traces)).await;
    let keeping = Gatekeeping::begin();
    let check = asks_for_traces(&server, "pk-lf-1:sk-lf-2");
    keeping.watch([("web", target(GateCheck::Http(check)))]);
    let none_yet = keeping.woken_until("web", |_| true).await;
    assert_eq!(none_yet.last, failed("/meta/totalItems is 0, not >= 1"));
    traces.store(1, Ordering::SeqCst);
    keeping.woken_until("web", |last| *last == passed("/meta/totalItems is 1")).await;
    let (asked_for, _) = server.first("host");
    assert_eq!(asked_for, "/api/public/traces?limit=1&tags=release-1");
}

#[tokio::test]
async fn a_key_that_is_refused_fails_and_is_not_told() {
    let server = langfuse(Arc::default()).await;
    let told = first(asks_for_traces(&server, "pk-lf-1:Canary-5f1e")).await;
    assert_eq!(told, failed("HTTP 401"));
}

#[tokio::test]
async fn a_urls_user_is_sent_unless_a_header_says_otherwise() {
    let server = Server::start(|_| answer(200, "")).await;
    let with_user = format!("http://pk%2D1:s%3Ak@127.0.0.1:{}/x#fragment", server.port);
    assert_eq!(first(url(with_user.clone())).await, passed("HTTP 200"));
    let basic = format!("Basic {}", STANDARD.encode("pk-1:s:k"));
    assert_eq!(server.first("authorization"), ("/x".to_owned(), Some(basic)));
    assert_eq!(server.first("host").1, Some(format!("127.0.0.1:{}", server.port)));
    assert!(server.first("user-agent").1.is_some_and(|it| it.starts_with("quaymaster/")));

    let server = Server::start(|_| answer(200, "")).await;
    let mut check = url(format!("http://me:no@127.0.0.1:{}/", server.port));
    check.headers = header("authorization", "Bearer t");
    assert_eq!(first(check).await, passed("HTTP 200"));
    assert_eq!(server.first("authorization").1.as_deref(), Some("Bearer t"));
}

#[tokio::test]
async fn a_replica_is_asked_as_a_probe_asks_it() {
    let server = Server::start(|_| answer(204, "")).await;
    assert_eq!(first(replica("/smoke?deep=1", server.port)).await, passed("HTTP 204"));
    let (asked_for, host) = server.first("host");
    assert_eq!(asked_for, "/smoke?deep=1");
    assert_eq!(host, Some(format!("localhost:{}", server.port)));

    let mut nowhere = target(GateCheck::Http(replica("/", server.port)));
    nowhere.address = None;
    let told = unanswered("the replica has no address on the stack's network");
    assert_eq!(first_of(nowhere).await, told);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let other = Server::start(|_| answer(200, "")).await;
    let elsewhere = other.url("/");
    let server = Server::start(move |_| {
        let redirect = Response::builder().status(302).header("location", elsewhere.clone());
        redirect.body(Body::empty()).expect("an answer")
    })
    .await;
    let mut check = url(server.url("/"));
    check.headers = header("X-Key", "Canary-5f1e");
    assert_eq!(first(check.clone()).await, failed("HTTP 302"));
    check.status = Some(302);
    assert_eq!(first(check).await, passed("HTTP 302"));
    assert_eq!(other.asked(), 0);
}

#[tokio::test]
async fn trouble_of_a_tool_says_nothing_and_of_the_replica_it_does() {
    for status in [500, 503, 429] {
        let server = Server::start(move |_| answer(status, "")).await;
        let told = format!("HTTP {status}");
        assert_eq!(first(url(server.url("/"))).await, unanswered(&told));
        assert_eq!(first(replica("/", server.port)).await, failed(&told));
    }
}

#[tokio::test]
async fn who_is_not_there_says_nothing() {
    let port = port::free();
    let refused = unanswered(&format!("connection refused by 127.0.0.1:{port}"));
    assert_eq!(first(url(format!("http://me:Canary@127.0.0.1:{port}/?k=Canary"))).await, refused);
    assert_eq!(first(replica("/", port)).await, refused);
    let Measurement::Unanswered(told) = first(url("http://no-such-host.invalid/")).await else {
        panic!("somebody answered");
    };
    assert!(told.starts_with("no address of no-such-host.invalid"), "{told}");
    let Measurement::Unanswered(told) = first(url(format!("https://127.0.0.1:{port}/"))).await
    else {
        panic!("somebody answered");
    };
    assert!(told.contains("refused"), "{told}");
}

#[tokio::test]
async fn a_replica_that_takes_the_connection_and_says_nothing_has_failed() {
    let listener = tokio::net::TcpListener::bind((super::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let hasty = |check| {
        let mut target = target(GateCheck::Http(check));
        target.gate.timeout = Duration::from_millis(100);
        target
    };
    assert_eq!(first_of(hasty(replica("/", port))).await, failed("no answer in time"));
    let tool = url(format!("http://127.0.0.1:{port}/"));
    assert_eq!(first_of(hasty(tool)).await, unanswered("no answer in time"));
}

#[tokio::test]
async fn an_answer_that_is_no_http_says_nothing_of_a_tool() {
    let listener = tokio::net::TcpListener::bind((super::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.read_u8().await.ok();
            stream.write_all(b"220 mail.example ESMTP\r\n").await.ok();
        }
    });
    let Measurement::Unanswered(told) = first(url(format!("http://127.0.0.1:{port}/"))).await
    else {
        panic!("that was no answer");
    };
    assert!(told.starts_with("no HTTP answer"), "{told}");
}

#[tokio::test]
async fn a_body_is_read_only_for_a_value_and_not_without_an_end() {
    let endless = || {
        let chunks = stream::repeat_with(|| Ok::<_, Infallible>("x".repeat(64 * 1024)));
        answer(200, Body::from_stream(chunks))
    };
    let server = Server::start(move |_| endless()).await;
    let mut check = url(server.url("/"));
    assert_eq!(first(check.clone()).await, passed("HTTP 200"));
    check.json = json("/a", "== 1");
    assert_eq!(first(check).await, failed("the answer is longer than 1 MiB"));
}

#[tokio::test]
async fn a_value_in_many_pieces_is_one_value() {
    let in_pieces = || {
        let body = r#"{"a": {"b": "ready"}}"#;
        let pieces = body.chars().map(|c| Ok::<_, Infallible>(c.to_string()));
        answer(200, Body::from_stream(stream::iter(pieces.collect::<Vec<_>>())))
    };
    let server = Server::start(move |_| in_pieces()).await;
    let mut check = replica("/", server.port);
    check.json = json("/a/b", "== ready");
    assert_eq!(first(check).await, passed("/a/b is ready"));
}
