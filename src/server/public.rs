//! What answers over TCP: the webhook, a status for whoever knows the token, and
//! whether the loop is alive. Nothing there changes anything but when Git is asked.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use tracing::warn;

use super::{
    Api,
    api::{Accepted, ApiError, ErrorBody},
    shared_secret::SharedSecret,
    webhook,
};

/// How many connections are open at once. Behind a proxy there are few, and whoever
/// opens many keeps only other callers waiting.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may take from its first byte to its last: more than the
/// largest webhook needs, and an end for whoever sends a byte a minute.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct ListenError {
    pub address: SocketAddr,
    #[source]
    source: io::Error,
}

/// What is shown to whom.
pub struct Public {
    pub api: Arc<Api>,
    /// None leaves the webhook off.
    pub webhook: Option<Webhook>,
    /// Who may ask for the status; None leaves it off.
    pub status_token: Option<SharedSecret>,
    pub is_alive: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A webhook that a forge may call.
pub struct Webhook {
    pub secret: SharedSecret,
    pub on_push: Box<dyn Fn() + Send + Sync>,
}

/// An address that is listened at.
pub struct PublicListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl PublicListener {
    /// # Errors
    ///
    /// Fails if the address is taken, or is none of this host's.
    pub async fn bind(address: SocketAddr) -> Result<PublicListener, ListenError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ListenError { address, source })?;
        Ok(PublicListener { listener, permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)) })
    }

    /// Returns where it listens: of port 0, the one that was given.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Answers until dropped.
///
/// # Errors
///
/// Fails if the address can no longer be listened at.
pub async fn serve(listener: PublicListener, public: Public) -> io::Result<()> {
    axum::serve(listener, router(public)).await
}

fn router(public: Public) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/v1/status", get(status))
        .route("/hooks/git", post(pushed))
        .fallback(async || Refused::Off)
        .method_not_allowed_fallback(async || Refused::WrongMethod)
        .layer(map_response(closing))
        .with_state(Arc::new(public))
}

/// Says that the connection ends here: one that waits for another request would meet
/// its deadline in the middle of it.
async fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn healthz(State(public): State<Arc<Public>>) -> (StatusCode, &'static str) {
    match (public.is_alive)() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the loop has not passed lately\n"),
    }
}

async fn status(
    State(public): State<Arc<Public>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let token = public.status_token.as_ref().ok_or(Refused::Off)?;
    let presented = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let presented = presented.and_then(|value| value.strip_prefix(b"Bearer "));
    if !presented.is_some_and(|presented| token.is(presented)) {
        return Err(Refused::NoToken);
    }
    let report = public.api.report().map_err(Refused::Api)?;
    Ok(Json(report).into_response())
}

async fn pushed(
    State(public): State<Arc<Public>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Accepted>), Refused> {
    let webhook = public.webhook.as_ref().ok_or(Refused::Off)?;
    if let Err(unheard) = webhook::check(&webhook.secret, &headers, body).await {
        warn!("a call of the webhook counts for nothing: {unheard}");
        return Err(Refused::Unheard(unheard));
    }
    (webhook.on_push)();
    let text = "the branch is looked at".to_owned();
    Ok((StatusCode::ACCEPTED, Json(Accepted { text })))
}

/// Why a caller gets no answer.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is nothing at this path")]
    Off,
    #[error("this path does not take this method")]
    WrongMethod,
    #[error("the token is missing or wrong")]
    NoToken,
    #[error(transparent)]
    Unheard(webhook::Unheard),
    #[error(transparent)]
    Api(ApiError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Refused::Off => StatusCode::NOT_FOUND,
            Refused::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refused::NoToken => StatusCode::UNAUTHORIZED,
            Refused::Unheard(why) => why.status(),
            Refused::Api(error) => return error.into_response(),
        };
        (status, Json(ErrorBody { error: self.to_string(), hint: None })).into_response()
    }
}

impl Listener for PublicListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        // tokio's own retries what goes wrong with one connection alone.
        let (stream, from) = Listener::accept(&mut self.listener).await;
        let deadline = Box::pin(tokio::time::sleep(CONNECTION_DEADLINE));
        (Connection { stream, deadline, _permit: permit }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends in time.
pub struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
