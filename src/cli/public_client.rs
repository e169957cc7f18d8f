//! Asks a controller that answers over HTTPS, behind a proxy.

use std::{collections::BTreeMap, env, io, path::PathBuf, time::Duration};

use super::args::WaitArgs;
use crate::{controller::StatusReport, domain::Secret, http::get};

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
    #[error("cannot ask the controller at {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("the controller at {0} does not know the token")]
    Refused(String),
    #[error("no controller shows its status at {0}")]
    Off(String),
    #[error("{url} answers {status}")]
    Failed { url: String, status: u16 },
}

impl PublicClientError {
    /// Whether the same question may be answered a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            PublicClientError::Unreachable { .. } | PublicClientError::Failed { .. } => true,
            PublicClientError::TokenFile { .. }
            | PublicClientError::NoToken(_)
            | PublicClientError::Refused(_)
            | PublicClientError::Off(_) => false,
        }
    }
}

/// A controller elsewhere.
pub struct PublicClient {
    url: String,
    headers: BTreeMap<String, Secret>,
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
        let bearer = Secret::new(format!("Bearer {token}"));
        let headers = BTreeMap::from([("authorization".to_owned(), bearer)]);
        Ok(PublicClient { url: format!("{}/v1/status", url.trim_end_matches('/')), headers })
    }

    pub async fn status(&self) -> Result<StatusReport, PublicClientError> {
        let url = || self.url.clone();
        let unreachable = |why| PublicClientError::Unreachable { url: url(), why };
        let (status, body) = get(&self.url, &self.headers, TIMEOUT).await.map_err(unreachable)?;
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|error| unreachable(format!("its answer cannot be read: {error}"))),
            401 | 403 => Err(PublicClientError::Refused(url())),
            404 => Err(PublicClientError::Off(url())),
            status => Err(PublicClientError::Failed { url: url(), status }),
        }
    }
}
