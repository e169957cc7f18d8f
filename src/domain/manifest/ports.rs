//! `ports:` and `expose:` of a service.

use std::{collections::BTreeSet, net::IpAddr, ops::RangeInclusive};

use crate::domain::release::{PortProtocol, PublishedPort};

use super::{
    fields::{Fields, NO_REFUSALS},
    reader::{Reader, port},
    yaml::{Entry, Map, Node, Span, Value},
};

/// The most ports that one service may publish, and as many expose.
const MAX_PORTS: usize = 1024;

const PORT_HELP: &str = "write `\"8080:80\"`, `\"127.0.0.1:8080:80/tcp\"` or `{ target: 80, published: 8080 }`; a port is 1 to 65535";

/// A port that a container listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exposed {
    port: u16,
    protocol: PortProtocol,
}

impl Exposed {
    /// Returns the port if there is exactly one that speaks TCP.
    pub fn only_tcp(exposed: &[Exposed]) -> Option<u16> {
        let mut tcp = exposed.iter().filter(|it| it.protocol == PortProtocol::Tcp);
        let first = tcp.next()?.port;
        tcp.all(|it| it.port == first).then_some(first)
    }

    /// Returns the ports as Docker writes them, `8000/tcp`.
    pub fn as_docker(exposed: &[Exposed]) -> BTreeSet<String> {
        exposed.iter().map(|it| format!("{}/{}", it.port, it.protocol.as_str())).collect()
    }
}

pub(super) fn read_expose(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Vec<Exposed> {
    let items = entry.and_then(|it| reader.list(&it.value, "a list of ports")).unwrap_or_default();
    let mut exposed = Vec::new();
    for item in items {
        let help = "write `8000`, `\"8000-8005\"` or `\"53/udp\"`";
        let read = reader.parsed(item, "a port", help, |text| {
            let refused = || format!("`{}` is not a port", super::report::shown(text));
            let (ports, protocol) = with_protocol(text).ok_or_else(refused)?;
            Ok::<_, String>((range(ports).ok_or_else(refused)?, protocol))
        });
        if let Some((ports, protocol)) = read {
            if exposed.len() + ports.len() > MAX_PORTS {
                refuse_more(reader, item);
                break;
            }
            exposed.extend(ports.map(|port| Exposed { port, protocol }));
        }
    }
    exposed
}

/// A published port, and where the file says so.
pub(super) struct ReadPort {
    pub port: PublishedPort,
    pub span: Span,
}

pub(super) fn read_published(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Vec<ReadPort> {
    let items = entry.and_then(|it| reader.list(&it.value, "a list of ports")).unwrap_or_default();
    let mut published: Vec<ReadPort> = Vec::new();
    for item in items {
        let ports = read_item(reader, item);
        if published.len() + ports.len() > MAX_PORTS {
            refuse_more(reader, item);
            break;
        }
        for port in ports {
            let clashes = |other: &&ReadPort| {
                port.host_port.is_some()
                    && other.port.host_port == port.host_port
                    && other.port.protocol == port.protocol
                    && (other.port.host_ip == port.host_ip
                        || other.port.host_ip.is_none()
                        || port.host_ip.is_none())
            };
            if let Some(first) = published.iter().find(clashes) {
                let first = first.span;
                reader.refuse_again(item.span, "this port of the host is published already", first);
            } else {
                published.push(ReadPort { port, span: item.span });
            }
        }
    }
    published
}

fn refuse_more(reader: &mut Reader<'_>, item: &Node) {
    let message = format!("a service has at most {MAX_PORTS} ports");
    reader.refuse(item.span, message, "make the range shorter");
}

fn read_item(reader: &mut Reader<'_>, item: &Node) -> Vec<PublishedPort> {
    let ports = match &item.value {
        Value::Map(map) => read_long(reader, item, map),
        Value::Scalar(_) | Value::List(_) => {
            reader.parsed(item, "a published port", PORT_HELP, parse_short)
        }
    };
    ports.unwrap_or_default()
}

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, with ranges of equal length.
fn parse_short(text: &str) -> Result<Vec<PublishedPort>, String> {
    let refused = || format!("`{}` is not a published port", super::report::shown(text));
    let (ports, protocol) = with_protocol(text).ok_or_else(refused)?;
    let (rest, container) = match ports.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, ports),
    };
    let (ip, host) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
        None => (None, None),
        Some(Err(host)) => (None, Some(host)),
        Some(Ok((ip, host))) => (Some(ip), Some(host).filter(|host| !host.is_empty())),
    };
    let ip = match ip {
        Some(ip) => {
            let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
            Some(bare.parse::<IpAddr>().map_err(|_| refused())?)
        }
        None => None,
    };
    let container = range(container).ok_or_else(refused)?;
    let host = match host {
        Some(host) => Some(range(host).ok_or_else(refused)?),
        None => None,
    };
    paired(container, host, ip, protocol)
        .ok_or_else(|| format!("{}: the two ranges differ in length", refused()))
}

fn read_long(reader: &mut Reader<'_>, item: &Node, map: &Map) -> Option<Vec<PublishedPort>> {
    let mut fields = Fields::of(map);
    let (target, published) = (fields.get("target"), fields.get("published"));
    let (host_ip, protocol) = (fields.get("host_ip"), fields.get("protocol"));
    // For people and for Swarm: without a meaning on one host.
    let _ = (fields.get("name"), fields.get("mode"), fields.get("app_protocol"));
    fields.finish(reader, &NO_REFUSALS);
    let target = match target {
        Some(target) => reader.port(&target.value),
        None => {
            reader.refuse(
                item.span,
                "this port has no `target`",
                "add `target:`, the port in the container",
            );
            None
        }
    };
    let host = match published {
        Some(published) => Some(reader.port(&published.value)?),
        None => None,
    };
    let ip = match host_ip {
        Some(ip) => Some(reader.parsed(
            &ip.value,
            "an IP address",
            "write an address such as `127.0.0.1`",
            |text| text.parse::<IpAddr>().map_err(|_| "this is not an IP address"),
        )?),
        None => None,
    };
    let protocol = match protocol {
        Some(protocol) => reader.parsed(
            &protocol.value,
            "a protocol",
            "write `tcp`, `udp` or `sctp`",
            |text| parse_protocol(text).ok_or("this is not a protocol"),
        )?,
        None => PortProtocol::Tcp,
    };
    let target = target?;
    paired(target..=target, host.map(|port| port..=port), ip, protocol)
}

/// Pairs each port of the container with one of the host.
fn paired(
    container: RangeInclusive<u16>,
    host: Option<RangeInclusive<u16>>,
    host_ip: Option<IpAddr>,
    protocol: PortProtocol,
) -> Option<Vec<PublishedPort>> {
    let publish =
        |container_port, host_port| PublishedPort { container_port, protocol, host_port, host_ip };
    match host {
        None => Some(container.map(|port| publish(port, None)).collect()),
        Some(host) if host.len() == container.len() => {
            Some(container.zip(host).map(|(inner, outer)| publish(inner, Some(outer))).collect())
        }
        Some(_) => None,
    }
}

fn with_protocol(text: &str) -> Option<(&str, PortProtocol)> {
    match text.rsplit_once('/') {
        Some((ports, protocol)) => Some((ports, parse_protocol(protocol)?)),
        None => Some((text, PortProtocol::Tcp)),
    }
}

fn parse_protocol(text: &str) -> Option<PortProtocol> {
    [PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp]
        .into_iter()
        .find(|protocol| protocol.as_str() == text)
}

/// Parses `8000` or `8000-8005`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first).ok()?, port(last).ok()?);
    (first <= last).then_some(first..=last)
}
