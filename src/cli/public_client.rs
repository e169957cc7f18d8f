//! Asks a controller that answers over HTTPS, behind a proxy.

use std::{env, io, path::PathBuf, time::Duration};

use reqwest::StatusCode;

use super::args::WaitArgs;
use crate::controller::StatusReport;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the token is, if no file is named.
const TOKEN: &str = "QUAYMASTER_TOKEN";

/// Why a controller elsewhere does not tell how it stands.
#[derive(Debug, thiserror::Error)]
pub enum PublicClientError {
    #[error("cannot read the token in {}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("there is no token to show to {0}")]
    NoToken(String),
    #[error("cannot speak HTTPS")]
    Client(#[source] reqwest::Error),
    #[error("cannot ask the controller at {url}")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("the controller at {0} does not know the token")]
    Refused(String),
    #[error("no controller shows its status at {0}")]
    Off(String),
    #[error("{url} answers {status}")]
    Failed { url: String, status: StatusCode },
}

impl PublicClientError {
    /// Whether the same question may be answered a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            PublicClientError::Unreachable { .. } | PublicClientError::Failed { .. } => true,
            PublicClientError::TokenFile { .. }
            | PublicClientError::NoToken(_)
            | PublicClientError::Client(_)
            | PublicClientError::Refused(_)
            | PublicClientError::Off(_) => false,
        }
    }
}

/// A controller elsewhere.
pub struct PublicClient {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl PublicClient {
    /// Prepares to ask at `url`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Fails if there is no token.
    pub fn new(url: &str, args: &WaitArgs) -> Result<PublicClient, PublicClientError> {
        let token = match &args.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| PublicClientError::TokenFile { path: path.clone(), source })?,
            None => env::var(TOKEN).unwrap_or_default(),
        };
        let token = token.lines().next().unwrap_or_default().trim().to_owned();
        if token.is_empty() {
            return Err(PublicClientError::NoToken(url.to_owned()));
        }
        // Another library may have chosen one already: that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(PublicClientError::Client)?;
        let url = format!("{}/v1/status", url.trim_end_matches('/'));
        Ok(PublicClient { http, url, token })
    }

    pub async fn status(&self) -> Result<StatusReport, PublicClientError> {
        let url = || self.url.clone();
        let unreachable = |source| PublicClientError::Unreachable { url: url(), source };
        let request = self.http.get(&self.url).bearer_auth(&self.token);
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(unreachable),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(PublicClientError::Refused(url()))
            }
            StatusCode::NOT_FOUND => Err(PublicClientError::Off(url())),
            status => Err(PublicClientError::Failed { url: url(), status }),
        }
    }
}
