//! `route:` — the requests that Caddy sends to a service.

use std::{collections::HashMap, net::Ipv4Addr};

use crate::domain::{Route, ServiceName, route::preview_name};

use super::{
    fields::{Fields, Refusals},
    hosts::{self, WrittenHosts},
    ports::Exposed,
    preview::{self, ReadPreview},
    reader::{Reader, Text},
    report::shown,
    top::Services,
    yaml::{Entry, Span},
};

const REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("tls", "remove it: Caddy gets certificates for the hosts by itself"),
        ("paths", "write one `path:` pattern"),
    ],
};

/// A route, and where its hosts stand in the file.
pub(super) struct ReadRoute {
    pub route: Route,
    pub span: Span,
    pub preview: Option<ReadPreview>,
    hosts: Vec<Text>,
}

/// What a route's port is that it does not name itself.
#[derive(Clone, Copy)]
pub(super) enum RoutePort<'e> {
    /// The only port that the service exposes.
    Exposed(&'e [Exposed]),
    /// That of the first upstream: a route cannot name another.
    Upstreams(u16),
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    entry: &Entry,
    default_port: RoutePort<'_>,
) -> Option<ReadRoute> {
    let example = "a map such as `{ host: shop.example.com, port: 8000 }`";
    let mut fields = Fields::of(reader.map(&entry.value, example)?);
    let (host, hosts) = (fields.get("host"), fields.get("hosts"));
    let (path, port) = (fields.get("path"), fields.get("port"));
    let internal = fields.get("internal");
    let preview = fields.get("preview");
    fields.finish(reader, &REFUSALS);
    let internal = internal.map_or(Some(false), |internal| reader.flag(&internal.value));
    let hosts = match internal {
        Some(true) => no_hosts(reader, [host, hosts, path].into_iter().flatten()),
        Some(false) => read_hosts(reader, entry.key_span, host, hosts),
        None => None,
    };
    let path = match path {
        Some(path) => reader.parsed(
            &path.value,
            "a path pattern",
            "write a path such as `/api/*`: it begins with `/`, and a `*` stands at its end only",
            parse_path,
        ),
        None => Some("/*".to_owned()),
    };
    let port = match (port, default_port) {
        (Some(port), RoutePort::Exposed(_)) => reader.port(&port.value),
        (None, RoutePort::Exposed(exposed)) => only_exposed(reader, entry.key_span, exposed),
        (Some(port), RoutePort::Upstreams(_)) => {
            reader.refuse(port.key_span, "each upstream has its own port", "remove it");
            None
        }
        (None, RoutePort::Upstreams(port)) => Some(port),
    };
    let preview = match (preview, internal) {
        (Some(preview), Some(true)) => {
            let message = "a route that is `internal` is looked at by nobody from outside";
            reader.refuse(preview.key_span, message, "remove it, or `internal: true`");
            return None;
        }
        (Some(preview), Some(false) | None) => Some(preview::read(reader, preview)?),
        (None, _) => None,
    };
    let (hosts, path, port) = (hosts?, path?, port?);
    let names = hosts.iter().map(|host| host.value.clone()).collect();
    let as_routed = preview.as_ref().map(|read| read.preview.clone());
    let route = Route { hosts: names, path, port, preview: as_routed };
    Some(ReadRoute { route, span: entry.key_span, preview, hosts })
}

/// A route for the inside only has no hosts, and every path.
fn no_hosts<'a>(
    reader: &mut Reader<'_>,
    written: impl Iterator<Item = &'a Entry>,
) -> Option<Vec<Text>> {
    let mut is_right = true;
    for entry in written {
        is_right = false;
        let help = "remove it, or `internal: true`: from inside, the service's name leads to it";
        reader.refuse(entry.key_span, "a route that is `internal` has no host and no path", help);
    }
    is_right.then(Vec::new)
}

fn read_hosts(
    reader: &mut Reader<'_>,
    route: Span,
    host: Option<&Entry>,
    hosts: Option<&Entry>,
) -> Option<Vec<Text>> {
    let entry = match (host, hosts) {
        (Some(entry), None) | (None, Some(entry)) => entry,
        (Some(_), Some(second)) => {
            let help = "keep one of `host` and `hosts`: each takes one name or a list";
            reader.refuse(second.key_span, "the hosts stand here a second time", help);
            return None;
        }
        (None, None) => {
            reader.refuse(route, "the route has no `host`", "add `host: shop.example.com`");
            return None;
        }
    };
    let texts = reader.text_or_texts(&entry.value, "a host name or a list of them");
    if texts.is_empty()
        && matches!(&entry.value.value, super::yaml::Value::List(items) if items.is_empty())
    {
        reader.refuse(entry.value.span, "the route has no host", "name at least one");
    }
    let mut hosts: Vec<Text> = Vec::new();
    let mut seen = HashMap::new();
    for text in texts {
        if let Err((reason, help)) = check_host_pattern(&text.value) {
            let message = format!("`{}` is not a host name: {reason}", text.shown());
            reader.refuse_text(&text, "a host name", message, &help);
        } else if let Some(first) = seen.insert(text.value.clone(), text.span) {
            reader.refuse_again(
                text.span,
                format!("the host `{}` stands here a second time", text.shown()),
                first,
            );
        } else {
            hosts.push(text);
        }
    }
    (!hosts.is_empty()).then_some(hosts)
}

/// Checks a host name, an IPv4 address, or `*.` and a host name.
pub(super) fn check_host_pattern(text: &str) -> Result<(), (&'static str, String)> {
    const EXAMPLE: &str = "write a name such as `shop.example.com` or `*.example.com`";
    if text.contains("://") || text.contains('/') {
        return Err(("it is a URL", "write the name alone; a path goes under `path:`".to_owned()));
    }
    if text.contains(':') {
        let help = "write the name alone; which port Caddy listens on is `proxy.caddy.listen`";
        return Err(("it has a port", help.to_owned()));
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(("it has upper-case letters", "write it in lower case".to_owned()));
    }
    let name = match text.strip_prefix("*.") {
        Some(name) if !name.contains('.') => {
            return Err(("`*` would stand for a whole top-level domain", EXAMPLE.to_owned()));
        }
        Some(name) => name,
        None => text,
    };
    is_host(name).map_err(|reason| (reason, EXAMPLE.to_owned()))
}

/// Checks a lower-case DNS name or an IPv4 address.
pub(super) fn is_host(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 253 {
        return Err("a name has 1 to 253 characters");
    }
    let labels: Vec<&str> = text.split('.').collect();
    if labels.iter().any(|label| label.is_empty() || label.len() > 63) {
        return Err("between the dots stand 1 to 63 characters");
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.chars().all(|c| plain(c) || c == '.') {
        return Err("it has lower-case letters, digits and `-` only (others as `xn--…`)");
    }
    if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err("no part of it begins or ends with `-`");
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if labels.last().is_some_and(|last| is_number(last)) && text.parse::<Ipv4Addr>().is_err() {
        return Err("it ends in a number and is no IPv4 address");
    }
    Ok(())
}

/// Caddy's path matcher, as far as its meaning is plain: an exact path, or one
/// `*` at the end. Braces would be placeholders to Caddy.
fn parse_path(text: &str) -> Result<String, String> {
    let star_is_last = text.find('*').is_none_or(|at| at == text.len() - 1);
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"?#{}\\%".contains(c);
    if text.starts_with('/') && star_is_last && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is not a path pattern", shown(text)))
    }
}

fn only_exposed(reader: &mut Reader<'_>, route: Span, exposed: &[Exposed]) -> Option<u16> {
    match Exposed::only_tcp(exposed) {
        Some(port) => Some(port),
        None => {
            reader.refuse(
                route,
                "the route has no `port`, and `expose` does not name exactly one",
                "add `port:`, the port that the replicas listen on",
            );
            None
        }
    }
}

/// Checks what must be true of the routes of a stack together.
pub(super) fn check_all(reader: &mut Reader<'_>, services: &Services, proxy_declared: bool) {
    let mut routed: Vec<Routed<'_>> = services
        .iter()
        .filter_map(|(name, read)| {
            let read = read.as_ref()?;
            Some(Routed { name, read: read.route.as_ref()?, hosts: read.hosts.as_ref() })
        })
        .collect();
    routed.sort_by_key(|routed| routed.read.span);
    if let Some(first) = routed.first()
        && !proxy_declared
    {
        reader.refuse(
            first.read.span,
            "a route needs a proxy, and the file names none",
            "add `proxy: { caddy: { admin: \"http://127.0.0.1:2019\" } }` at the top level",
        );
    }
    check_requests(reader, &routed);
    check_previews(reader, &routed, services);
}

/// A service with a route.
struct Routed<'s> {
    name: &'s ServiceName,
    read: &'s ReadRoute,
    hosts: Option<&'s WrittenHosts>,
}

/// What has a claim on some requests, and where the file says so.
type Claim<'s> = (&'s Routed<'s>, Span);

/// Returns the claim that one of `routed` on the same requests would meet on some
/// host.
fn met_by<'c, 's>(claims: &'c [Claim<'s>], routed: &Routed<'_>) -> Option<&'c Claim<'s>> {
    claims.iter().find(|(other, _)| hosts::may_meet(other.hosts, routed.hosts))
}

/// No request is two services' own.
fn check_requests(reader: &mut Reader<'_>, routed: &[Routed<'_>]) {
    let mut taken: HashMap<(&str, String), Vec<Claim<'_>>> = HashMap::new();
    for one in routed {
        for host in &one.read.hosts {
            // Caddy compares paths without regard to case.
            let key = (host.value.as_str(), one.read.route.path.to_lowercase());
            let claims = taken.entry(key).or_default();
            if let Some((other, first)) = met_by(claims, one) {
                reader.refuse_again(
                    host.span,
                    format!(
                        "`{}` with the same path is the service `{}`'s already",
                        host.shown(),
                        other.name
                    ),
                    *first,
                );
            }
            claims.push((one, host.span));
        }
    }
}

/// A preview stands in the proxy under a name of its own, which no service may have.
fn check_preview_name(
    reader: &mut Reader<'_>,
    service: &ServiceName,
    span: Span,
    services: &Services,
) {
    let Ok(name) = preview_name(service) else {
        let message = format!("the name of `{service}` is too long for a service with a preview");
        reader.refuse(span, message, "shorten it to 54 characters");
        return;
    };
    if services.contains_key(&name) {
        let message = format!("the preview of `{service}` is called `{name}`, as a service is");
        reader.refuse(span, message, format!("rename the service `{name}`"));
    }
}

/// A preview's host is nothing else's.
fn check_previews(reader: &mut Reader<'_>, routed: &[Routed<'_>], services: &Services) {
    let mut taken: HashMap<&str, Vec<Claim<'_>>> = HashMap::new();
    for one in routed {
        for host in &one.read.hosts {
            taken.entry(host.value.as_str()).or_default().push((one, host.span));
        }
    }
    for one in routed {
        if let Some(preview) = &one.read.preview {
            check_preview_name(reader, one.name, preview.span, services);
        }
        let Some(host) = one.read.preview.as_ref().and_then(|read| read.host.as_ref()) else {
            continue;
        };
        let claims = taken.entry(host.value.as_str()).or_default();
        if let Some((other, first)) = met_by(claims, one) {
            let message = format!("`{}` is the service `{}`'s already", host.shown(), other.name);
            reader.refuse_again(host.span, message, *first);
        }
        claims.push((one, host.span));
    }
}
