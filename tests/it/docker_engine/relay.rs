//! The real engine through a relay that lets something happen before a call.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, header},
};

use super::fake::Server;

/// A way to the real engine.
pub struct Relay(Server);

impl Relay {
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.0.host())
    }
}

/// Calls `meddle` with the body of every request that creates a network, before
/// the engine gets it.
pub async fn before_networks_are_made(
    meddle: impl Fn(&serde_json::Value) + Send + Sync + 'static,
) -> Relay {
    let client = reqwest::Client::builder().unix_socket("/var/run/docker.sock").build();
    let client = client.expect("a client");
    let meddle = Arc::new(meddle);
    let forward = move |request: Request<Body>| {
        let (client, meddle) = (client.clone(), Arc::clone(&meddle));
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
            if parts.method == Method::POST && parts.uri.path().ends_with("/networks/create") {
                let json = serde_json::from_slice(&body).expect("JSON");
                let meddle = Arc::clone(&meddle);
                tokio::task::spawn_blocking(move || meddle(&json)).await.expect("no panic");
            }
            let path = parts.uri.path_and_query().expect("a path");
            let call = client.request(parts.method, format!("http://docker{path}"));
            let call = call.header(header::CONTENT_TYPE, "application/json").body(body);
            let answer = call.send().await.expect("Docker answers");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            response.headers_mut().remove(header::TRANSFER_ENCODING);
            *response.body_mut() = Body::from(answer.bytes().await.expect("a whole answer"));
            response
        }
    };
    Relay(Server::start(Router::new().fallback(forward)).await)
}
