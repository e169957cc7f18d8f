//! A connection to whoever is asked: directly or through the environment's proxy,
//! with TLS where the URL wants it.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hyper::{Uri, header::HeaderValue};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::address;

/// How long one of several addresses may take, so that one that is not reached from
/// here (IPv6, often) leaves time for the others.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer of a proxy to CONNECT.
const MAX_CONNECT_ANSWER_BYTES: usize = 8 * 1024;

/// Which way a connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A replica is never behind a proxy.
    Direct,
    /// Through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name for
    /// this host, if any.
    ByEnvironment,
}

pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection that is ready for a request.
pub struct Stream {
    pub bytes: Box<dyn Bytes>,
    /// Whether the request goes to a proxy that sends it on, and not to the host.
    pub is_through_proxy: bool,
    pub proxy_authorization: Option<HeaderValue>,
}

/// Makes connections; the same for all that ask.
pub struct Connector {
    proxies: Matcher,
    /// None until the first `https://` needs it.
    tls: RwLock<Option<Arc<ClientConfig>>>,
}

impl Connector {
    /// Returns one that knows the proxies of the environment.
    pub fn by_environment() -> Connector {
        Connector { proxies: Matcher::from_env(), tls: RwLock::default() }
    }

    /// Connects to the host of `url`; the error says for people why it cannot.
    pub async fn connect(&self, url: &Url, route: Route) -> Result<Stream, String> {
        let is_tls = url.scheme() == "https";
        let port = url.port_or_known_default().unwrap_or(80);
        let (tcp, proxy) = match self.proxy_for(url, route) {
            None => (tcp(&Target::of(url, port)?).await?, None),
            Some(proxy) => {
                let mut tcp = tcp(&Target::of_proxy(&proxy)?).await?;
                if is_tls {
                    let host = url.host_str().unwrap_or_default();
                    tunnel(&mut tcp, &format!("{host}:{port}"), proxy.basic_auth()).await?;
                }
                (tcp, Some(proxy))
            }
        };
        if is_tls {
            let bytes = Box::new(self.shake_hands(tcp, url).await?);
            return Ok(Stream { bytes, is_through_proxy: false, proxy_authorization: None });
        }
        Ok(Stream {
            bytes: Box::new(tcp),
            is_through_proxy: proxy.is_some(),
            proxy_authorization: proxy.and_then(|proxy| proxy.basic_auth().cloned()),
        })
    }

    fn proxy_for(&self, url: &Url, route: Route) -> Option<Intercept> {
        if route == Route::Direct || address::is_loopback(url) {
            return None;
        }
        let host = address::authority(url);
        let uri = format!("{}://{host}/", url.scheme()).parse::<Uri>().ok()?;
        self.proxies.intercept(&uri)
    }

    async fn shake_hands(&self, tcp: TcpStream, url: &Url) -> Result<impl Bytes + use<>, String> {
        let name = match url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()),
            Some(Host::Ipv4(ip)) => Ok(ServerName::from(std::net::IpAddr::from(ip))),
            Some(Host::Ipv6(ip)) => Ok(ServerName::from(std::net::IpAddr::from(ip))),
            None => return Err("the URL has no host".to_owned()),
        };
        let name = name.map_err(|_| "the URL's host is no name for a certificate".to_owned())?;
        let tls = TlsConnector::from(self.tls().await?);
        let whom = address::authority(url);
        tls.connect(name, tcp).await.map_err(|error| format!("no TLS with {whom}: {error}"))
    }

    /// Returns what TLS trusts: the authorities that the host does.
    async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let known = self.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        // Reads the host's files, of which there may be hundreds.
        let config = tokio::task::spawn_blocking(trusting_the_hosts_authorities).await;
        let config = Arc::new(config.map_err(|_| "reading certificates failed".to_owned())??);
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&config));
        Ok(config)
    }
}

fn trusting_the_hosts_authorities() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this host trusts no authority: install its package `ca-certificates`".to_owned()
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Where a TCP connection goes.
struct Target {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl Target {
    fn of(url: &Url, port: u16) -> Result<Target, String> {
        let host = url.host_str().ok_or("the URL has no host")?;
        Ok(Target { host: bare(host), port })
    }

    fn of_proxy(proxy: &Intercept) -> Result<Target, String> {
        let uri = proxy.uri();
        let host = uri.host().ok_or("the environment's proxy has no host")?;
        match uri.scheme_str() {
            Some("http") => Ok(Target { host: bare(host), port: uri.port_u16().unwrap_or(80) }),
            Some(_) | None => Err("only `http://` proxies of the environment are used".to_owned()),
        }
    }
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

async fn tcp(Target { host, port }: &Target) -> Result<TcpStream, String> {
    let found = lookup_host((host.as_str(), *port)).await;
    let addresses: Vec<_> =
        found.map_err(|error| format!("no address of {host}: {error}"))?.collect();
    let mut failure = format!("no address of {host}");
    for (at, address) in addresses.iter().enumerate() {
        let is_last = at + 1 == addresses.len();
        // The last one has all the time that is left.
        let connected = match is_last {
            true => TcpStream::connect(address).await,
            false => match timeout(ADDRESS_PATIENCE, TcpStream::connect(address)).await {
                Ok(connected) => connected,
                Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
            },
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = in_words(&error, host, *port),
        }
    }
    Err(failure)
}

fn in_words(error: &io::Error, host: &str, port: u16) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {host}:{port}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {host}:{port}"),
        io::ErrorKind::TimedOut => format!("no answer from {host}:{port}"),
        _ => format!("cannot reach {host}:{port}: {error}"),
    }
}

/// Asks a proxy for a connection to `authority` (RFC 9110, CONNECT).
async fn tunnel(
    tcp: &mut TcpStream,
    authority: &str,
    authorization: Option<&HeaderValue>,
) -> Result<(), String> {
    let broken = |error: io::Error| format!("the proxy of the environment: {error}");
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(value) = authorization.and_then(|value| value.to_str().ok()) {
        request += &format!("Proxy-Authorization: {value}\r\n");
    }
    request += "\r\n";
    tcp.write_all(request.as_bytes()).await.map_err(broken)?;
    // Byte by byte, so that nothing of the TLS that follows is taken.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == MAX_CONNECT_ANSWER_BYTES {
            return Err("the proxy of the environment answers without an end".to_owned());
        }
        answer.push(tcp.read_u8().await.map_err(broken)?);
    }
    match answer.split(|byte| *byte == b' ').nth(1) {
        Some([b'2', ..]) => Ok(()),
        Some(_) | None => Err("the proxy of the environment refuses to connect".to_owned()),
    }
}
