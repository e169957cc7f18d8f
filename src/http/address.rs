//! What a URL says: whom to ask, for what, and as whom.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use url::{Host, Url};

/// Returns what must not be told of a URL: its user, password, query and fragment,
/// as they are written and as they are meant.
pub fn secrets(text: &str) -> Vec<String> {
    let Ok(url) = Url::parse(text) else { return vec![text.to_owned()] };
    let mut found = query_secrets(text);
    for credential in [Some(url.username()), url.password()].into_iter().flatten() {
        found.extend([credential.to_owned(), decoded(credential)]);
    }
    if let Some(basic) = basic_auth(&url) {
        found.extend(basic.split_once(' ').map(|(_, encoded)| encoded.to_owned()));
    }
    found
}

/// Returns the query and fragment of a URL or path, whole and in parts.
pub fn query_secrets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let query = text.split_once('?').map_or("", |(_, query)| query);
    for part in [query, fragment] {
        found.push(part.to_owned());
        for pair in part.split('&') {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            found.extend([value.to_owned(), decoded(value)]);
        }
    }
    found
}

/// Returns user and password of a `Basic …` header.
pub fn decoded_basic(header: &str) -> Vec<String> {
    let pair = header
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(pair) = pair else { return Vec::new() };
    let mut found: Vec<String> = pair.splitn(2, ':').map(str::to_owned).collect();
    found.push(pair);
    found
}

/// Returns the header that says who asks, if the URL does.
pub fn basic_auth(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let user = decoded(url.username());
    let password = url.password().map(decoded).unwrap_or_default();
    Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Returns `host:port` as the Host header has it: the port only where it is not the
/// scheme's own.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns path and query: what a server is asked for.
pub fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Returns whether only this host can answer: then no proxy can.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Returns the URL of a path of a replica.
pub fn of_replica(ip: IpAddr, port: u16, path: &str) -> Option<Url> {
    Url::parse(&format!("http://{}{path}", SocketAddr::new(ip, port))).ok()
}

/// Returns the URL that answers a query, below the one that the file names.
pub fn of_query(base: &str, query: &str) -> Option<Url> {
    let mut url = Url::parse(base).ok()?;
    let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(None);
    url.query_pairs_mut().append_pair("query", query);
    Some(url)
}

/// Returns a part of a URL with each `%` and two digits as the byte they stand for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                decoded.push(escaped);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_said_as_it_is_meant() {
        let auth = |text: &str| basic_auth(&Url::parse(text).expect("a URL"));
        let encoded = |pair: &str| Some(format!("Basic {}", STANDARD.encode(pair)));
        assert_eq!(auth("http://a:b%40c%@h/"), encoded("a:b@c%"));
        assert_eq!(auth("http://a@h/"), encoded("a:"));
        assert_eq!(auth("http://h/"), None);
    }

    #[test]
    fn prometheus_may_live_below_a_path() {
        let url = |base: &str| of_query(base, "up{a='b'} + 1").expect("a URL").to_string();
        let query = "api/v1/query?query=up%7Ba%3D%27b%27%7D+%2B+1";
        assert_eq!(url("http://p:9090"), format!("http://p:9090/{query}"));
        assert_eq!(url("http://u:p@p/prom/"), format!("http://u:p@p/prom/{query}"));
    }

    #[test]
    fn a_path_keeps_its_query() {
        let url = of_replica("::1".parse().expect("an address"), 80, "/a?b=c").expect("a URL");
        assert_eq!((authority(&url).as_str(), path_and_query(&url).as_str()), ("[::1]", "/a?b=c"));
        assert!(is_loopback(&url));
    }
}
