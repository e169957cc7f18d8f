//! One question over HTTP/1.1: a GET or a POST, and what came back.
//!
//! Written on hyper and not on reqwest, because reqwest with TLS would want a
//! cryptography provider and the host's authorities for every client of the
//! program, also for those that only ever speak to Caddy or to a socket. Each
//! question connects anew, and no redirect is followed: the status says that there
//! was one, and nobody but the one who was named gets the headers.

use std::{collections::BTreeMap, error::Error, pin::pin, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
        USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::domain::Secret;

use super::{
    address,
    connect::{Connector, Route, Stream},
};

/// The most that is read of an answer.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What to ask, and whom.
pub struct Question<'q> {
    pub url: Url,
    pub headers: &'q BTreeMap<String, Secret>,
    pub route: Route,
    pub wants: Wants,
    /// What the Host header says where `headers` do not; None is the URL's host.
    pub host: Option<String>,
    /// What is sent; None asks with GET.
    pub post: Option<Post>,
}

/// The body of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// How much of the answer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Status,
    Body,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Empty unless it was wanted.
    pub body: Body,
    /// How long to wait before asking again, where the answer says so in seconds.
    pub retry_after: Option<Duration>,
}

pub enum Body {
    Read(Vec<u8>),
    TooLong,
}

/// Why there is no answer, for people; without a secret of the question.
pub enum NoAnswer {
    /// Nobody took the connection.
    Unreached(String),
    /// Somebody did, and then did not answer.
    Broken(String),
}

/// Asks once, until `deadline`.
pub async fn ask(
    connector: &Connector,
    question: &Question<'_>,
    deadline: Instant,
) -> Result<Answer, NoAnswer> {
    let stream = match timeout_at(deadline, connector.connect(&question.url, question.route)).await
    {
        Ok(connected) => connected.map_err(NoAnswer::Unreached)?,
        Err(_elapsed) => {
            let whom = address::authority(&question.url);
            return Err(NoAnswer::Unreached(format!("no connection to {whom} in time")));
        }
    };
    match timeout_at(deadline, exchange(stream, question)).await {
        Ok(answered) => answered.map_err(NoAnswer::Broken),
        Err(_elapsed) => Err(NoAnswer::Broken("no answer in time".to_owned())),
    }
}

async fn exchange(stream: Stream, question: &Question<'_>) -> Result<Answer, String> {
    let request = request(&stream, question)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream.bytes)).await.map_err(|error| told(&error))?;
    let mut exchange = pin!(async {
        let answer = sender.send_request(request).await.map_err(|error| told(&error))?;
        read(answer, question.wants).await
    });
    // The connection moves the bytes while the exchange waits for them; once it has
    // ended, all that will ever come has come.
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        _ended = connection => {}
    }
    exchange.await
}

fn request(stream: &Stream, question: &Question<'_>) -> Result<Request<Full<Bytes>>, String> {
    let path = address::path_and_query(&question.url);
    let host = address::authority(&question.url);
    let target = match stream.is_through_proxy {
        // A proxy has to be told for whom it is.
        true => format!("http://{host}{path}"),
        false => path,
    };
    let (method, body) = match &question.post {
        Some(post) => (Method::POST, Bytes::copy_from_slice(&post.body)),
        None => (Method::GET, Bytes::new()),
    };
    let request = Request::builder().method(method).uri(target).body(Full::new(body));
    let mut request = request.map_err(|_| "the URL cannot be sent".to_owned())?;
    *request.headers_mut() = headers(question, host)?;
    if let Some(auth) = &stream.proxy_authorization {
        request.headers_mut().insert(hyper::header::PROXY_AUTHORIZATION, auth.clone());
    }
    Ok(request)
}

fn headers(question: &Question<'_>, host: String) -> Result<HeaderMap, String> {
    let agent = concat!("quaymaster/", env!("CARGO_PKG_VERSION"));
    let mut map = HeaderMap::new();
    map.insert(USER_AGENT, HeaderValue::from_static(agent));
    map.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(post) = &question.post {
        map.insert(CONTENT_TYPE, HeaderValue::from_static(post.content_type));
    }
    let own = [
        (HOST, Some(question.host.clone().unwrap_or(host))),
        (AUTHORIZATION, address::basic_auth(&question.url)),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            let value = HeaderValue::try_from(value);
            map.insert(name, value.map_err(|_| "the URL cannot be sent".to_owned())?);
        }
    }
    // What the file says wins over what its URL says.
    for (name, value) in question.headers {
        let bad = || format!("the header `{name}` cannot be sent");
        let mut value = HeaderValue::try_from(value.reveal()).map_err(|_| bad())?;
        value.set_sensitive(true);
        map.insert(HeaderName::try_from(name).map_err(|_| bad())?, value);
    }
    Ok(map)
}

async fn read(answer: Response<Incoming>, wants: Wants) -> Result<Answer, String> {
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| Some(Duration::from_secs(value.to_str().ok()?.trim().parse().ok()?)));
    let mut bytes = Vec::new();
    if wants == Wants::Status {
        return Ok(Answer { status, headers, body: Body::Read(bytes), retry_after });
    }
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| told(&error))?;
        if let Some(chunk) = frame.data_ref() {
            if bytes.len() + chunk.len() > MAX_BODY_BYTES {
                return Ok(Answer { status, headers, body: Body::TooLong, retry_after });
            }
            bytes.extend_from_slice(chunk);
        }
    }
    Ok(Answer { status, headers, body: Body::Read(bytes), retry_after })
}

/// Returns the deepest reason: hyper's own words are about its inside.
fn told(error: &hyper::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    format!("no HTTP answer: {deepest}")
}
