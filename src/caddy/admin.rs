//! The admin endpoint: requests to it, and what its answers mean.
//!
//! Deliberately without a connection pool: Caddy restarts its admin server at
//! each change and drops idle connections without notice (measured: 54 to 85 of
//! 600 reads failed with one, none without).

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_MATCH},
    redirect,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::{snapshot::FailureKind, stack::AdminEndpoint};

use super::{
    app::{self, HttpApp},
    change::{Verb, Write},
    etag::ETag,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read. 5,000 routes take about 5 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The most of Caddy's own words that an error repeats, from their beginning and
/// from their end, where the cause stands.
const MAX_QUOTED_CHARS: (usize, usize) = (100, 400);

const ROOT: &str = "/config/";
const ADAPT: &str = "/adapt";

/// A client of one admin endpoint.
#[derive(Debug)]
pub struct Admin {
    client: reqwest::Client,
    /// The URL without a path.
    base: String,
    /// Caddy checks the Host header of every admin request.
    host: HeaderValue,
    /// The endpoint as people write it in the file.
    name: String,
}

/// Why a call to the admin endpoint failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot make a client for Caddy's admin endpoint {endpoint}")]
    Client {
        endpoint: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("`{endpoint}` is not an address of an admin endpoint")]
    Address { endpoint: String },
    #[error("Caddy's admin endpoint {endpoint} cannot be reached; is Caddy running there?")]
    Unreachable {
        endpoint: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("Caddy at {endpoint} did not finish its answer")]
    AnswerLost {
        endpoint: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("what answers at {endpoint} is not Caddy's admin API: {message}")]
    NotCaddy { endpoint: String, message: String },
    #[error(
        "Caddy at {endpoint} does not let us in: {message}; allow this address in the `origins` \
         of its `admin` configuration"
    )]
    Forbidden { endpoint: String, message: String },
    #[error("the configuration of Caddy at {endpoint} was changed by someone else meanwhile")]
    Stale { endpoint: String },
    #[error("Caddy at {endpoint} refuses our routes: {message}")]
    Rejected { endpoint: String, message: String },
    #[error("Caddy at {endpoint} failed: {message}")]
    Broken { endpoint: String, message: String },
}

impl AdminError {
    fn is_no_connection(&self) -> bool {
        matches!(self, AdminError::Unreachable { source, .. } if !source.is_timeout())
    }

    fn is_cut_off(&self) -> bool {
        matches!(self, AdminError::AnswerLost { source, .. } if !source.is_timeout())
    }

    /// Returns what the error means for the next try.
    pub fn kind(&self) -> FailureKind {
        match self {
            AdminError::Unreachable { .. }
            | AdminError::AnswerLost { .. }
            | AdminError::Stale { .. }
            | AdminError::Broken { .. } => FailureKind::Transient,
            AdminError::Client { .. }
            | AdminError::Address { .. }
            | AdminError::NotCaddy { .. }
            | AdminError::Forbidden { .. }
            | AdminError::Rejected { .. } => FailureKind::Refused,
        }
    }
}

/// Each change, ours or another writer's, restarts the admin server, which for
/// a moment refuses, resets or cuts off connections.
fn while_it_restarts() -> ExponentialBuilder {
    let first = Duration::from_millis(10);
    ExponentialBuilder::default().with_min_delay(first).with_factor(2.0).with_max_times(4)
}

/// What stands at `apps.http`, and the tag that a write to it must carry.
#[derive(Debug)]
pub struct Standing {
    pub app: HttpApp,
    /// None where `apps.http` does not exist.
    pub etag: Option<ETag>,
    pub tag_was_a_header: bool,
}

/// A whole answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    etag: Option<ETag>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Returns Caddy's own words, in one line of bounded length.
    pub fn message(&self) -> String {
        let json: Option<Value> = serde_json::from_slice(&self.body).ok();
        let error = json.as_ref().and_then(|json| json.get("error")?.as_str());
        let text = String::from_utf8_lossy(&self.body);
        let words = error.unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ");
        let (first, last) = MAX_QUOTED_CHARS;
        match words.chars().count().checked_sub(first + last) {
            None if words.is_empty() => self.status.to_string(),
            None | Some(0) => words,
            Some(left_out) => {
                let first_words = words.chars().take(first);
                let last_words = words.chars().skip(first + left_out);
                first_words.chain(['…']).chain(last_words).collect()
            }
        }
    }
}

impl Admin {
    /// Returns a client of the endpoint; nothing is sent yet.
    pub fn new(endpoint: &AdminEndpoint) -> Result<Admin, AdminError> {
        let builder = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        let host = endpoint.authority();
        let (builder, base, name) = match endpoint {
            AdminEndpoint::Tcp { .. } => {
                let base = format!("http://{host}");
                (builder, base.clone(), base)
            }
            AdminEndpoint::Unix(path) => (
                builder.unix_socket(path.clone()),
                "http://caddy".to_owned(),
                format!("unix://{}", path.display()),
            ),
        };
        let Ok(host) = HeaderValue::from_str(&host) else {
            return Err(AdminError::Address { endpoint: name });
        };
        match builder.build() {
            Ok(client) => Ok(Admin { client, base, host, name }),
            Err(source) => Err(AdminError::Client { endpoint: name, source }),
        }
    }

    /// Returns the endpoint as people write it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads `apps.http`. One request.
    pub async fn read_http_app(&self) -> Result<Standing, AdminError> {
        let answer = self.get_as(app::PATH, &[]).await?;
        if answer.is_success() {
            let app = HttpApp(Some(self.json(&answer)?));
            let tag_was_a_header = answer.etag.is_some();
            let computed = || ETag::computed(app::PATH, &answer.body);
            let etag = Some(answer.etag.clone().unwrap_or_else(computed));
            return Ok(Standing { app, etag, tag_was_a_header });
        }
        // What Caddy answers where a level above is missing.
        if answer.message().starts_with("invalid traversal path") {
            return Ok(Standing { app: HttpApp(None), etag: None, tag_was_a_header: false });
        }
        Err(self.unreadable(&answer))
    }

    /// Reads the tag of the whole configuration, for a write that creates
    /// `apps.http`; None if that exists by now.
    pub async fn read_root_tag(&self) -> Result<Option<ETag>, AdminError> {
        let answer = self.get_as(ROOT, &[]).await?;
        if !answer.is_success() {
            return Err(self.unreadable(&answer));
        }
        let root: Value = self.json(&answer)?;
        let computed = || ETag::computed(ROOT, &answer.body);
        let is_missing = root.pointer("/apps/http").is_none_or(Value::is_null);
        Ok(is_missing.then(|| answer.etag.clone().unwrap_or_else(computed)))
    }

    /// Reads what is no configuration. One request.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        let answer = self.get_as(path, &[]).await?;
        if answer.is_success() { self.json(&answer) } else { Err(self.unreadable(&answer)) }
    }

    /// Sends one write, on condition that what was read still stands.
    pub async fn send(&self, write: &Write, tag: &ETag) -> Result<(), AdminError> {
        let (method, body) = match &write.verb {
            Verb::Put(value) => (Method::PUT, Some(value)),
            Verb::Patch(value) => (Method::PATCH, Some(value)),
            Verb::Delete => (Method::DELETE, None),
        };
        let send = || async {
            let request = self.request(method.clone(), &write.path).header(IF_MATCH, &tag.0);
            match body {
                Some(value) => self.answer(request.json(value)).await,
                None => self.answer(request).await,
            }
        };
        // Without a connection nothing was sent. An answer that is cut off may
        // belong to a write that was applied: that is for the caller to find out.
        let answer = send.retry(while_it_restarts()).when(AdminError::is_no_connection).await?;
        if answer.is_success() { Ok(()) } else { Err(self.refusal(&answer)) }
    }

    /// Lets Caddy turn a Caddyfile into its JSON, which changes nothing.
    pub async fn adapt(&self, caddyfile: String) -> Result<Answer, AdminError> {
        let adapt = || {
            let request = self.request(Method::POST, ADAPT).header(CONTENT_TYPE, "text/caddyfile");
            self.answer(request.body(caddyfile.clone()))
        };
        adapt.retry(while_it_restarts()).when(|e| e.is_no_connection() || e.is_cut_off()).await
    }

    /// Gets a path with extra headers, again while the admin server restarts.
    pub async fn get_as(
        &self,
        path: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Answer, AdminError> {
        let get = || async {
            let request = self.request(Method::GET, path);
            let add = |request: reqwest::RequestBuilder, (name, value): &(&'static str, _)| {
                request.header(*name, *value)
            };
            self.answer(headers.iter().fold(request, add)).await
        };
        get.retry(while_it_restarts()).when(|e| e.is_no_connection() || e.is_cut_off()).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{}", self.base, path);
        self.client.request(method, url).header(HOST, &self.host)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Answer, AdminError> {
        let lost = |source: reqwest::Error| {
            let (endpoint, source) = (self.name.clone(), source.without_url());
            match source.is_connect() {
                true => AdminError::Unreachable { endpoint, source },
                false => AdminError::AnswerLost { endpoint, source },
            }
        };
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let etag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let etag = etag.map(|tag| ETag(tag.to_owned()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let message = format!("its answer is longer than {MAX_ANSWER_BYTES} bytes");
                return Err(AdminError::NotCaddy { endpoint: self.name.clone(), message });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, etag, body })
    }

    fn json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, AdminError> {
        serde_json::from_slice(&answer.body).map_err(|error| AdminError::NotCaddy {
            endpoint: self.name.clone(),
            message: format!("its answer is not what was asked for ({error})"),
        })
    }

    /// Returns why a read was not answered with configuration.
    fn unreadable(&self, answer: &Answer) -> AdminError {
        let (endpoint, message) = (self.name.clone(), answer.message());
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                AdminError::Forbidden { endpoint, message }
            }
            status if status.is_server_error() => AdminError::Broken { endpoint, message },
            _ => AdminError::NotCaddy { endpoint, message },
        }
    }

    /// Returns why a write was not done.
    fn refusal(&self, answer: &Answer) -> AdminError {
        let (endpoint, message) = (self.name.clone(), answer.message());
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                AdminError::Forbidden { endpoint, message }
            }
            // The key appeared (409) or vanished (404) since it was read.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                AdminError::Stale { endpoint }
            }
            // Before 2.7.5 this is the 409.
            StatusCode::INTERNAL_SERVER_ERROR if message.contains("key already exists") => {
                AdminError::Stale { endpoint }
            }
            // The port may be free again at the next try.
            _ if message.contains("address already in use") => {
                AdminError::Broken { endpoint, message }
            }
            // Old Caddys say 500 of a configuration that is wrong.
            _ if message.starts_with("loading new config") => {
                AdminError::Rejected { endpoint, message }
            }
            status if status.is_client_error() => AdminError::Rejected { endpoint, message },
            _ => AdminError::Broken { endpoint, message },
        }
    }
}
