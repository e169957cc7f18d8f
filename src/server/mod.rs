//! Floor 3: how a running controller answers, on a Unix socket of its own and, if it
//! is told to, on a port.
//!
//! [`socket`] makes the socket so that only its owner can speak to it, [`api`]
//! says what the answers look like (the client reads the same types), this file
//! answers. [`public`] is the port: it shows less, and orders nothing. Nothing here
//! decides anything: it shows the last report, and hands requests to the loop.

pub mod api;
pub mod public;
mod shared_secret;
pub mod socket;
mod webhook;

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    routing::{get, post},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::controller::{Request, StatusReport, request::Reply};
use crate::domain::{ServiceName, Timestamp};

pub use public::{ListenError, Public, PublicListener, Webhook};
pub use shared_secret::{BadSecretFile, SharedSecret};
pub use socket::{BindError, Socket};

pub use api::{Accepted, refusal_hint};
use api::{ApiError, HistoryPage, HistoryQuery, ReportPage};

/// No request carries a body that matters.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// How long the loop may take to answer: longer than any pass takes, shorter
/// than the client's own patience.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// How long open connections may keep the controller from ending.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the answers are made from.
pub struct Api {
    /// The report of the last pass; None before the first has ended.
    pub status: watch::Receiver<Option<StatusReport>>,
    pub requests: mpsc::Sender<Request>,
    /// The controller's clock, so that countdowns are right when they are asked for.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Api {
    /// Returns how the stack stands, with countdowns to this moment.
    fn report(&self) -> Result<StatusReport, ApiError> {
        let report = self.status.borrow().clone();
        Ok(report.ok_or(ApiError::StillStarting)?.as_of((self.now)()))
    }
}

/// Answers on `socket` until `end` is ready, then removes the socket.
///
/// # Errors
///
/// Fails if the socket can no longer be listened on.
pub async fn serve(
    socket: Socket,
    api: impl Into<Arc<Api>>,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (ending, ended) = oneshot::channel();
    let end = async move {
        end.await;
        // Nobody listens for this any more if listening has failed.
        let _ = ending.send(());
    };
    let (listener, _remove_on_drop) = socket.into_parts();
    let serving = axum::serve(listener, router(api.into())).with_graceful_shutdown(end);
    tokio::select! {
        result = serving.into_future() => result,
        () = async {
            let _ = ended.await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        } => Ok(()),
    }
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/history", get(history))
        .route("/v1/reports", get(reports))
        .route("/v1/services/{name}/retry", post(retry))
        .route("/v1/services/{name}/rollback", post(rollback))
        .route("/v1/services/{name}/promote", post(promote))
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::WrongMethod)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api)
}

async fn status(State(api): State<Arc<Api>>) -> Result<Json<StatusReport>, ApiError> {
    api.report().map(Json)
}

async fn history(
    State(api): State<Arc<Api>>,
    query: Query<HistoryQuery>,
) -> Result<Json<HistoryPage>, ApiError> {
    let (reply, answer) = oneshot::channel();
    let mut events = ask(&api, Request::History(reply), answer).await?;
    if let Some(service) = &query.service {
        events.retain(|event| event.service == *service);
    }
    Ok(Json(HistoryPage { events }))
}

async fn reports(
    State(api): State<Arc<Api>>,
    query: Query<HistoryQuery>,
) -> Result<Json<ReportPage>, ApiError> {
    let (reply, answer) = oneshot::channel();
    let mut reports = ask(&api, Request::Reports(reply), answer).await?;
    if let Some(service) = &query.service {
        reports.retain(|report| report.service == *service);
    }
    Ok(Json(ReportPage { reports }))
}

async fn retry(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<Accepted>, ApiError> {
    order(&api, &name, Request::Retry).await
}

async fn rollback(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<Accepted>, ApiError> {
    order(&api, &name, Request::Rollback).await
}

async fn promote(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<Accepted>, ApiError> {
    order(&api, &name, Request::Promote).await
}

async fn order(
    api: &Api,
    name: &str,
    request: impl FnOnce(ServiceName, Reply) -> Request,
) -> Result<Json<Accepted>, ApiError> {
    let service: ServiceName = name.parse().map_err(ApiError::BadServiceName)?;
    let (reply, answer) = oneshot::channel();
    let text = ask(api, request(service, reply), answer).await??;
    Ok(Json(Accepted { text }))
}

async fn ask<T>(api: &Api, request: Request, answer: oneshot::Receiver<T>) -> Result<T, ApiError> {
    let asking = async {
        api.requests.send(request).await.map_err(|_| ApiError::Ending)?;
        answer.await.map_err(|_| ApiError::Ending)
    };
    timeout(ANSWER_TIMEOUT, asking).await.map_err(|_| ApiError::TooSlow)?
}
