//! Asks the running controller, over its socket.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::controller::StatusReport;
use crate::domain::{DeploymentReport, ServiceName, memory::Event};
use crate::server::api::{Accepted, ErrorBody, HistoryPage, ReportPage};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the controller did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing is there, or what is there is what a dead controller left.
    #[error("no controller answers at {0}")]
    NoController(PathBuf),
    #[error("the controller at {0} may not be asked by this user")]
    NotAllowed(PathBuf),
    #[error("cannot ask the controller at {socket}")]
    Failed { socket: PathBuf, source: reqwest::Error },
    /// The controller answered that it will not; in its own words.
    #[error("{error}")]
    Refused { error: String, hint: Option<String> },
}

/// A connection to the controller.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// Prepares to ask at `socket`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Fails if no HTTP client can be made.
    pub fn new(socket: &Path) -> Result<Client, ClientError> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|source| ClientError::Failed { socket: socket.to_owned(), source })?;
        Ok(Client { http, socket: socket.to_owned() })
    }

    pub async fn status(&self) -> Result<StatusReport, ClientError> {
        self.send(self.http.get("http://quaymaster/v1/status")).await
    }

    /// Returns what happened, oldest first.
    pub async fn history(&self, service: Option<&ServiceName>) -> Result<Vec<Event>, ClientError> {
        let query = service.map_or(String::new(), |service| format!("?service={service}"));
        let page: HistoryPage =
            self.send(self.http.get(format!("http://quaymaster/v1/history{query}"))).await?;
        Ok(page.events)
    }

    /// Returns what became of each deployment, oldest first.
    pub async fn reports(&self) -> Result<Vec<DeploymentReport>, ClientError> {
        let page: ReportPage = self.send(self.http.get("http://quaymaster/v1/reports")).await?;
        Ok(page.reports)
    }

    pub async fn retry(&self, service: &ServiceName) -> Result<Accepted, ClientError> {
        let url = format!("http://quaymaster/v1/services/{service}/retry");
        self.send(self.http.post(url)).await
    }

    pub async fn rollback(&self, service: &ServiceName) -> Result<Accepted, ClientError> {
        let url = format!("http://quaymaster/v1/services/{service}/rollback");
        self.send(self.http.post(url)).await
    }

    pub async fn promote(&self, service: &ServiceName) -> Result<Accepted, ClientError> {
        let url = format!("http://quaymaster/v1/services/{service}/promote");
        self.send(self.http.post(url)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ClientError> {
        let failed = |source| self.classify(source);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(failed);
        }
        let body: ErrorBody = response.json().await.map_err(failed)?;
        Err(ClientError::Refused { error: body.error, hint: body.hint })
    }

    fn classify(&self, source: reqwest::Error) -> ClientError {
        let socket = self.socket.clone();
        match io_kind(&source) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                ClientError::NoController(socket)
            }
            Some(io::ErrorKind::PermissionDenied) => ClientError::NotAllowed(socket),
            Some(_) | None => ClientError::Failed { socket, source },
        }
    }
}

/// Returns what the operating system said, where that is the cause.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
