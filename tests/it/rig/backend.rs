//! Replicas without containers.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header::{CONNECTION, CONTENT_TYPE},
    response::Response,
    routing::get,
};
use futures::{StreamExt, channel::mpsc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use super::port;

/// Starts a replica that answers every request with `body`; it lives as long as
/// the test's runtime.
pub async fn answering(body: &'static str) -> SocketAddr {
    serve(Router::new().fallback(move || async move { body })).await
}

/// An address at which connecting neither succeeds nor fails: what is left of a
/// container that was removed.
pub struct Silence {
    pub address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Silence {
    /// Listens without ever accepting, and fills the queue.
    pub async fn fall() -> Silence {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let fits = || tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address));
        while let Ok(connected) = fits().await {
            waiting.push(connected.unwrap());
        }
        Silence { address, _listener: listener, _waiting: waiting }
    }
}

/// A replica that can be stopped. It answers with its name, and what it was sent.
pub struct Replica {
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Replica {
    pub async fn start(body: &'static str) -> Replica {
        Replica::start_on(SocketAddr::from(([127, 0, 0, 1], port::free())), body).await
    }

    pub async fn start_on(address: SocketAddr, body: &'static str) -> Replica {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        // Closed after each answer, so that none outlives the listener.
        let answer = move |request: Bytes| async move {
            ([(CONNECTION, "close")], format!("{body}{}", String::from_utf8_lossy(&request)))
        };
        let router = Router::new().fallback(answer);
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Replica { address, serving: tokio::spawn(serve) }
    }

    /// Returns once nothing listens any more.
    pub async fn stop(self) {
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
    }
}

/// The path of a streaming replica's one stream.
pub const STREAM: &str = "/stream";

/// Starts a replica that is `ready` everywhere but at [`STREAM`]: that is
/// answered, once, with what the returned sender is given, as it is given,
/// until the sender is dropped.
pub async fn streaming(
    content_type: &'static str,
) -> (SocketAddr, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded::<&'static str>();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let stream = move || async move {
        let parts = receiver.lock().unwrap().take().expect("the stream is opened once");
        let parts = parts.map(|part| Ok::<_, Infallible>(Bytes::from_static(part.as_bytes())));
        let response = Response::builder().header(CONTENT_TYPE, content_type);
        response.body(Body::from_stream(parts)).unwrap()
    };
    let router = Router::new().route(STREAM, get(stream)).fallback(|| async { "ready" });
    (serve(router).await, sender)
}

/// Starts a replica that takes any request for an upgrade, and then echoes
/// bytes: what a WebSocket is to a proxy.
pub async fn echoing() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await?);
                }
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                socket.write_all(switch).await?;
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
