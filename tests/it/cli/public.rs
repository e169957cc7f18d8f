//! What answers over TCP, to whom, and to whom not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use hmac::{Hmac, Mac};
use quaymaster::{
    domain::Timestamp,
    server::{Api, Public, PublicListener, SharedSecret, Webhook, public},
};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
};

use super::reports::every_state;

const SECRET: &[u8] = b"It's a Secret to Everybody";
const TOKEN: &[u8] = b"a token";

struct Serving {
    address: SocketAddr,
    pushes: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Switched {
    On,
    Off,
}

async fn serve(switched: Switched) -> Serving {
    let pushes = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&pushes);
    let secret = |text: &[u8]| SharedSecret::new(text).filter(|_| switched == Switched::On);
    let (_, status) = watch::channel(Some(every_state()));
    let (requests, _) = mpsc::channel(1);
    let public = Public {
        api: Arc::new(Api { status, requests, now: Box::new(|| Timestamp(1_000)) }),
        webhook: secret(SECRET).map(|secret| Webhook {
            secret,
            on_push: Box::new(move || {
                counts.fetch_add(1, Ordering::Relaxed);
            }),
        }),
        status_token: secret(TOKEN),
        is_alive: Box::new(move || switched == Switched::On),
    };
    let listener = PublicListener::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = listener.address().expect("bound");
    Serving { address, pushes, task: tokio::spawn(public::serve(listener, public)) }
}

impl Serving {
    fn pushes(&self) -> u32 {
        self.pushes.load(Ordering::Relaxed)
    }

    /// Returns the status code and the body of the answer.
    async fn ask(&self, head: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let length = body.len();
        let head =
            format!("{head} HTTP/1.1\r\nHost: q\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream.write_all(body).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and closes");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        (status.unwrap_or_else(|| panic!("{answer:?}")), body)
    }

    async fn hook(&self, headers: &str, body: &[u8]) -> u16 {
        self.ask("POST /hooks/git", headers, body).await.0
    }
}

fn signed(secret: &[u8], body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key");
    let bytes = mac.chain_update(body).finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn every_forge_is_heard_and_nobody_else() {
    let serving = serve(Switched::On).await;
    let body = br#"{"ref":"refs/heads/main"}"#;
    let right = signed(SECRET, body);
    let told = String::from_utf8_lossy(SECRET).into_owned();
    let heard = [
        format!("X-Hub-Signature-256: sha256={right}\r\n"),
        format!("X-Gitea-Signature: {right}\r\n"),
        format!("X-Forgejo-Signature: {right}\r\n"),
        format!("X-Gitlab-Token: {told}\r\n"),
    ];
    for headers in &heard {
        assert_eq!(serving.hook(headers, body).await, 202, "{headers}");
    }
    assert_eq!(serving.pushes(), 4);
    let wrong = signed(b"guessed", body);
    let unheard = [
        String::new(),
        format!("X-Hub-Signature-256: sha256={wrong}\r\n"),
        format!("X-Hub-Signature-256: {right}\r\n"),
        format!("X-Hub-Signature: sha1={right}\r\n"),
        format!("X-Gitea-Signature: {wrong}\r\n"),
        "X-Gitea-Signature: \r\n".to_owned(),
        format!("X-Gitlab-Token: {}\r\n", &told[..told.len() - 1]),
        "X-Gitlab-Token: \r\n".to_owned(),
    ];
    for headers in &unheard {
        assert_eq!(serving.hook(headers, body).await, 401, "{headers}");
    }
    assert_eq!(serving.hook(&heard[0], b"another body").await, 401);
    assert_eq!(serving.ask("GET /hooks/git", "", b"").await.0, 405);
    assert_eq!(serving.pushes(), 4, "somebody was heard who should not be");
}

#[tokio::test]
async fn what_has_no_secret_is_not_there() {
    let serving = serve(Switched::Off).await;
    let headers = format!("X-Hub-Signature-256: sha256={}\r\n", signed(b"", b"{}"));
    assert_eq!(serving.hook(&headers, b"{}").await, 404);
    assert_eq!(serving.ask("GET /v1/status", "Authorization: Bearer \r\n", b"").await.0, 404);
    assert_eq!(serving.ask("GET /healthz", "", b"").await.0, 503);
}

#[tokio::test]
async fn the_status_is_for_whoever_knows_the_token() {
    let serving = serve(Switched::On).await;
    let ask = async |headers: &str| serving.ask("GET /v1/status", headers, b"").await;
    let (code, body) = ask("Authorization: Bearer a token\r\n").await;
    assert_eq!(code, 200);
    let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(report["stack"], "shop");
    for wrong in ["", "Authorization: Bearer a toke\r\n", "Authorization: Basic a token\r\n"] {
        let (code, body) = ask(wrong).await;
        assert!(code == 401 && !body.contains("shop"), "{wrong}: {code} {body}");
    }
    // It tells, and takes no orders.
    let token = "Authorization: Bearer a token\r\n";
    for head in ["POST /v1/services/worker/retry", "GET /v1/history"] {
        assert_eq!(serving.ask(head, token, b"").await.0, 404, "{head}");
    }
    assert_eq!(serving.ask("GET /healthz", "", b"").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn a_huge_body_is_given_up_and_a_large_one_is_read() {
    let serving = serve(Switched::On).await;
    let large = vec![b'x'; 20 * 1024 * 1024];
    let headers = format!("X-Gitea-Signature: {}\r\n", signed(SECRET, &large));
    assert_eq!(serving.hook(&headers, &large).await, 202);
    let mut stream = TcpStream::connect(serving.address).await.expect("it listens");
    let size_bytes = 26 * 1024 * 1024;
    let head =
        format!("POST /hooks/git HTTP/1.1\r\nHost: q\r\nContent-Length: {size_bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    // It hangs up in the middle, so how much it takes is its own business.
    let _ = stream.write_all(&vec![b'x'; size_bytes]).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(serving.pushes(), 1);
}

#[tokio::test]
async fn whoever_says_nothing_keeps_nobody_else_waiting() {
    let serving = serve(Switched::On).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(serving.address).await.expect("it listens");
        stream.write_all(b"POST /hooks/git HTTP/1.1\r\n").await.expect("it reads");
        silent.push(stream);
    }
    assert_eq!(serving.ask("GET /healthz", "", b"").await.0, 200);
}
