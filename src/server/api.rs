//! What the API's answers look like on the wire.
//!
//! `GET /v1/status` is a [`StatusReport`], `GET /v1/history[?service=NAME]` a
//! [`HistoryPage`], `GET /v1/reports[?service=NAME]` a [`ReportPage`], `POST /v1/services/NAME/{retry,rollback,promote}` an [`Accepted`];
//! what goes wrong is an [`ErrorBody`] under a 4xx or 5xx status.
//!
//! [`StatusReport`]: crate::controller::StatusReport

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::domain::{DeploymentReport, ServiceName, memory::Event, name::BadName};
use crate::plan::Refusal;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    pub service: Option<ServiceName>,
}

/// What happened, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    pub events: Vec<Event>,
}

/// What became of each deployment, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPage {
    pub reports: Vec<DeploymentReport>,
}

/// A request that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// One sentence on what happens now.
    pub text: String,
}

/// Anything that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// Why the API does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    BadServiceName(BadName),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path does not take this method")]
    WrongMethod,
    #[error("the controller has not finished its first pass yet")]
    StillStarting,
    #[error("the controller is ending")]
    Ending,
    #[error("the controller did not answer in time")]
    TooSlow,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            ApiError::BadServiceName(_) => StatusCode::BAD_REQUEST,
            ApiError::Refused(Refusal::NoSuchService(_)) | ApiError::NoSuchPath => {
                StatusCode::NOT_FOUND
            }
            ApiError::Refused(
                Refusal::NotHeld(_)
                | Refusal::NothingEarlier(_)
                | Refusal::NothingToPromote(_)
                | Refusal::PromotedByItself(_)
                | Refusal::KeptBack { .. }
                | Refusal::Held(_, _),
            ) => StatusCode::CONFLICT,
            ApiError::Refused(Refusal::EngineUnknown) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::StillStarting | ApiError::Ending => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ApiError::Refused(refusal) => Some(refusal_hint(refusal)),
            ApiError::NoSuchPath | ApiError::WrongMethod => Some(
                "GET /v1/status, GET /v1/history, GET /v1/reports, POST /v1/services/NAME/retry, \
                 POST /v1/services/NAME/rollback, POST /v1/services/NAME/promote"
                    .to_owned(),
            ),
            ApiError::StillStarting => Some("try again in a moment".to_owned()),
            ApiError::TooSlow => {
                Some("its log says what it is doing: `journalctl -u quaymaster`".to_owned())
            }
            ApiError::BadServiceName(_) | ApiError::Ending => None,
        }
    }
}

/// Returns what to do about a request that cannot be met.
pub fn refusal_hint(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoSuchService(_) => "`quaymaster status` lists those it has".to_owned(),
        Refusal::Held(service, _) => format!("mend the file, or `quaymaster retry {service}`"),
        Refusal::KeptBack { failed, .. } => format!("`quaymaster retry {failed}`"),
        Refusal::NotHeld(_)
        | Refusal::EngineUnknown
        | Refusal::NothingToPromote(_)
        | Refusal::PromotedByItself(_) => "`quaymaster status` shows what it waits on".to_owned(),
        Refusal::NothingEarlier(service) => {
            format!("`quaymaster history {service}` shows which releases it had")
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.to_string(), hint: self.hint() };
        (self.status(), Json(body)).into_response()
    }
}
