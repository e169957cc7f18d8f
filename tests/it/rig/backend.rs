//! Replicas without containers.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::Response,
    routing::get,
};
use futures::{StreamExt, channel::mpsc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Starts a replica that answers every request with `body`; it lives as long as
/// the test's runtime.
pub async fn answering(body: &'static str) -> SocketAddr {
    serve(
        Router::new().fallback(get(move || async move { body }).post(move || async move { body })),
    )
    .await
}

/// Starts a replica that answers with a stream of this content type, which
/// sends what the returned sender is given, and ends when it is dropped.
pub async fn streaming(
    content_type: &'static str,
) -> (SocketAddr, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded::<&'static str>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let stream = move || async move {
        let parts = receiver.lock().unwrap().take().expect("one request opens the stream");
        let parts = parts.map(|part| Ok::<_, Infallible>(Bytes::from_static(part.as_bytes())));
        Response::builder()
            .header(CONTENT_TYPE, content_type)
            .body(Body::from_stream(parts))
            .unwrap()
    };
    (serve(Router::new().fallback(get(stream))).await, sender)
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
