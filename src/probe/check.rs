//! One probe of one replica: ask, and put a failure into a few words.

use std::{
    collections::BTreeMap,
    error::Error,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{
    Client, StatusCode, Url,
    header::{HOST, HeaderMap, HeaderName, HeaderValue},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::{
    domain::{ContainerId, ProbeCheck, time::human},
    ports::{Exec, ProbeTarget},
};

/// The most commands that run inside replicas at a time. One costs about 50 ms
/// of CPU, so a stack that comes up must not start all of them at once.
const MAX_EXECS: usize = 4;

/// How much of an answer is read. An application that answers a few words sees
/// them taken instead of a broken pipe; the rest of a long one is not our affair.
const MAX_BODY_BYTES: usize = 10 * 1024;

/// How long is waited for that, once the status says it all.
const BODY_PATIENCE: Duration = Duration::from_millis(200);

/// What the engine gets on top of a command's timeout, so that it is the one to
/// end the command.
const EXEC_GRACE: Duration = Duration::from_secs(1);

/// The longest failure that is told, in characters.
const MAX_FAILURE_CHARS: usize = 200;

/// Makes probes; the same for all replicas.
pub(super) struct Checker<X> {
    http: Client,
    exec: X,
    execs: Semaphore,
}

impl<X: Exec> Checker<X> {
    pub fn new(exec: X) -> Checker<X> {
        let http = Client::builder()
            // A replica's address is never behind the proxy of the environment.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            // Each probe connects anew: a connection that works says little of
            // a listener that does not.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("quaymaster-probe/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("a client without TLS and DNS needs nothing that could fail");
        Checker { http, exec, execs: Semaphore::new(MAX_EXECS) }
    }

    /// Probes once; the error says for people why it failed, and never holds a
    /// header's value (S9).
    pub async fn check(&self, id: &ContainerId, target: &ProbeTarget) -> Result<(), String> {
        let limit = target.probe.timeout;
        let result = match &target.probe.check {
            ProbeCheck::Http { path, port, headers, status } => {
                let address = address(target.address, *port)?;
                within(limit, self.http(address, path, headers, *status)).await
            }
            ProbeCheck::Tcp { port } => {
                let address = address(target.address, *port)?;
                within(limit, tcp(address)).await
            }
            ProbeCheck::Exec { command } => self.exec(id, command, limit).await,
            // The plan answers these from the container list.
            ProbeCheck::Docker | ProbeCheck::Started => Ok(()),
        };
        result.map_err(|failure| in_a_few_words(&failure))
    }

    async fn http(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &BTreeMap<String, String>,
        expected: Option<u16>,
    ) -> Result<(), String> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = Url::parse(&format!("http://{address}{slash}{path}"))
            .map_err(|error| format!("`{path}` is not a path: {error}"))?;
        let headers = header_map(address.port(), headers)?;
        let request = self.http.get(url).headers(headers);
        let mut answer = request.send().await.map_err(|error| http_failure(&error, address))?;
        let status = answer.status();
        let _ = timeout(BODY_PATIENCE, async {
            let mut read_bytes = 0;
            while let Ok(Some(chunk)) = answer.chunk().await
                && read_bytes < MAX_BODY_BYTES
            {
                read_bytes += chunk.len();
            }
        })
        .await;
        if passes(status, expected) { Ok(()) } else { Err(format!("HTTP {}", status.as_u16())) }
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<(), String> {
        let _permit = self.execs.acquire().await.expect("the semaphore is never closed");
        match timeout(limit + EXEC_GRACE, self.exec.exec(id, command, limit)).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(code)) => Err(format!("exit code {code}")),
            Ok(Err(failure)) => Err(failure.message),
            Err(_elapsed) => Err(timed_out(limit)),
        }
    }
}

async fn tcp(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| connect_failure(&error, address))
}

async fn within(
    limit: Duration,
    check: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    timeout(limit, check).await.unwrap_or_else(|_elapsed| Err(timed_out(limit)))
}

fn address(ip: Option<IpAddr>, port: u16) -> Result<SocketAddr, String> {
    let ip = ip.ok_or("the replica has no address on the stack's network")?;
    Ok(SocketAddr::new(ip, port))
}

/// A 2xx or 3xx passes, as in Kubernetes; with `expected`, exactly that.
fn passes(status: StatusCode, expected: Option<u16>) -> bool {
    match expected {
        Some(expected) => status.as_u16() == expected,
        None => (200..400).contains(&status.as_u16()),
    }
}

/// Returns the headers of a probe. Unless the file says otherwise, the host is
/// `localhost`, as it would be for the same request made inside the container:
/// frameworks that check it know that name, and no address of ours.
fn header_map(port: u16, headers: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    let host = HeaderValue::try_from(format!("localhost:{port}")).expect("plain ASCII");
    map.insert(HOST, host);
    for (name, value) in headers {
        let bad = || format!("header `{name}` cannot be sent");
        let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        map.insert(HeaderName::try_from(name).map_err(|_| bad())?, value);
    }
    Ok(map)
}

fn http_failure(error: &reqwest::Error, address: SocketAddr) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
        if let Some(io) = deepest.downcast_ref::<io::Error>()
            && (error.is_connect() || io.get_ref().is_none())
        {
            return connect_failure(io, address);
        }
    }
    format!("no HTTP answer from {address}: {deepest}")
}

fn connect_failure(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused at {address}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {address}"),
        io::ErrorKind::HostUnreachable => format!("no host at {address}"),
        io::ErrorKind::NetworkUnreachable => format!("no network to {address}"),
        io::ErrorKind::TimedOut => format!("no answer from {address}"),
        _ => format!("cannot reach {address}: {error}"),
    }
}

fn timed_out(limit: Duration) -> String {
    format!("timed out after {}", human(limit))
}

/// Returns one line that fits into a table.
fn in_a_few_words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_FAILURE_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_passes_unless_another_status_is_asked_for() {
        assert!(passes(StatusCode::OK, None) && passes(StatusCode::FOUND, None));
        assert!(!passes(StatusCode::NOT_FOUND, None) && !passes(StatusCode::CONTINUE, None));
        assert!(passes(StatusCode::IM_A_TEAPOT, Some(418)));
        assert!(!passes(StatusCode::OK, Some(204)));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_without_its_value() {
        let headers = BTreeMap::from([("X-Token".to_owned(), "hunter2\n".to_owned())]);
        let failure = header_map(80, &headers).expect_err("a newline ends a header");
        assert_eq!(failure, "header `X-Token` cannot be sent");
    }

    #[test]
    fn a_declared_host_replaces_ours() {
        let headers = BTreeMap::from([("host".to_owned(), "shop.example.com".to_owned())]);
        let map = header_map(80, &headers).expect("plain");
        assert_eq!(map.get_all(HOST).iter().collect::<Vec<_>>(), ["shop.example.com"]);
    }

    #[test]
    fn a_failure_is_one_short_line() {
        assert_eq!(in_a_few_words("OCI runtime\n  exec failed\n"), "OCI runtime exec failed");
        assert_eq!(in_a_few_words(&"ä".repeat(500)).chars().count(), MAX_FAILURE_CHARS + 1);
    }
}
