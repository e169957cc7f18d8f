//! What a healthy Docker and a healthy registry never do: small HTTP servers
//! that misbehave on purpose.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Method, Request, Response, StatusCode, header},
};
use futures::{StreamExt, stream};
use sha2::{Digest as _, Sha256};

use crate::rig::unique_name;

/// A server on loopback that ends with its owner.
pub struct Server {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(router: Router) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is dropped");
        });
        Server { port, task }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// An engine that tells `api` as its version and streams `events` events, then
/// ends the stream, each time it is asked.
pub async fn engine(api: &'static str, events: usize) -> (Server, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(
        move |State(opened): State<Arc<AtomicUsize>>, request: Request<Body>| async move {
            match request.uri().path() {
                "/version" => json(serde_json::json!({
                    "ApiVersion": api, "Os": "linux", "Arch": "amd64"
                })),
                "/_ping" => Response::new(Body::from("OK")),
                "/events" => {
                    opened.fetch_add(1, Ordering::SeqCst);
                    let line = r#"{"Type":"container","Action":"die"}"#;
                    Response::new(Body::from(format!("{line}\n").repeat(events)))
                }
                _ => status(StatusCode::INTERNAL_SERVER_ERROR),
            }
        },
    );
    (Server::start(router.with_state(opened.clone())).await, opened)
}

/// A registry that answers everything with one status and error code.
pub async fn refusing_registry(
    answer: StatusCode,
    code: &'static str,
    words: &'static str,
) -> Server {
    let router = Router::new().fallback(move |request: Request<Body>| async move {
        if request.uri().path() == "/v2/" {
            return Response::new(Body::empty());
        }
        let mut response =
            json(serde_json::json!({ "errors": [{ "code": code, "message": words }] }));
        *response.status_mut() = answer;
        response
    });
    Server::start(router).await
}

/// How a registry sends its one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Whole,
    /// Whole, but the first question what its tag means gets no answer.
    WholeAtSecondAsking,
    /// Other bytes than the digest says.
    Corrupt,
    /// A first piece, and then nothing for ever.
    Stalls,
}

/// A registry with one image of the given architecture under any name.
pub async fn registry_of(architecture: &str, layer: Layer) -> Server {
    // An empty tar archive and something after its end: Docker shares the
    // download of a layer that two pulls want, so each test has its own.
    let mut archive = vec![0_u8; 10240];
    archive.extend(unique_name("layer").bytes());
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": { "Cmd": ["/none"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&archive)] },
    })
    .to_string()
    .into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(), "digest": digest(&config),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
            "size": archive.len(), "digest": digest(&archive),
        }],
    })
    .to_string()
    .into_bytes();
    let (layer_digest, config_digest) = (digest(&archive), digest(&config));
    let blobs = HashMap::from([(config_digest, config), (layer_digest.clone(), archive)]);
    let shelf =
        Arc::new(Shelf { manifest, blobs, layer_digest, layer, asked: AtomicUsize::new(0) });
    Server::start(Router::new().fallback(serve).with_state(shelf)).await
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

struct Shelf {
    manifest: Vec<u8>,
    blobs: HashMap<String, Vec<u8>>,
    layer_digest: String,
    layer: Layer,
    asked: AtomicUsize,
}

async fn serve(State(shelf): State<Arc<Shelf>>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    if path.contains("/manifests/") {
        // Docker asks each question twice, with HEAD and with GET.
        let is_first_question = shelf.asked.fetch_add(1, Ordering::SeqCst) < 2;
        if is_first_question && shelf.layer == Layer::WholeAtSecondAsking {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let body = match *request.method() {
            Method::HEAD => Body::empty(),
            _ => Body::from(shelf.manifest.clone()),
        };
        return Response::builder()
            .header(header::CONTENT_TYPE, MANIFEST)
            .header(header::CONTENT_LENGTH, shelf.manifest.len())
            .header("Docker-Content-Digest", digest(&shelf.manifest))
            .body(body)
            .expect("a response");
    }
    let Some((_, wanted)) = path.split_once("/blobs/") else {
        return Response::new(Body::empty());
    };
    let Some(blob) = shelf.blobs.get(wanted) else { return status(StatusCode::NOT_FOUND) };
    let body = match shelf.layer {
        Layer::Corrupt if wanted == shelf.layer_digest => Body::from(vec![1_u8; blob.len()]),
        Layer::Stalls if wanted == shelf.layer_digest => {
            let first = blob[..512].to_vec();
            let first = stream::iter([Ok::<_, std::io::Error>(first)]);
            Body::from_stream(first.chain(stream::pending()))
        }
        Layer::Whole | Layer::WholeAtSecondAsking | Layer::Corrupt | Layer::Stalls => {
            Body::from(blob.clone())
        }
    };
    let length = blob.len();
    Response::builder().header(header::CONTENT_LENGTH, length).body(body).expect("a response")
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn json(value: serde_json::Value) -> Response<Body> {
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(value.to_string()))
        .expect("a response")
}

fn status(code: StatusCode) -> Response<Body> {
    Response::builder().status(code).body(Body::empty()).expect("a response")
}
