//! `probe:` — how the controller learns that a replica is ready.

use std::time::Duration;

use crate::domain::{Probe, ProbeCheck, ServiceKind};

use super::{
    fields::{Fields, Refusals},
    headers,
    reader::Reader,
    yaml::{Entry, Map, Node, Value},
};

/// A probe goes to the replica it asks about and nowhere else: what another
/// host answers says nothing about this release.
const REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("host", "remove it: a probe always goes to the replica itself"),
        ("url", "write `path:` and `port:`: a probe always goes to the replica itself"),
        ("file", "use `exec: { command: [\"test\", \"-e\", \"/path\"] }`"),
        ("scheme", "remove it: a probe speaks plain HTTP to the replica"),
        ("cmd", "write `exec: { command: [...] }`"),
        ("command", "write `exec: { command: [...] }`"),
        ("test", "that is `healthcheck:`; here write `exec: { command: [...] }`"),
        ("grpc", "use `exec:` with a gRPC health client of the image"),
        ("retries", "write `unhealthy_after:`"),
        ("start_period", "a replica that is not ready yet has until `rollout.progress_deadline`"),
    ],
};

const KINDS: &str = "`http`, `tcp`, `exec` or `docker`";

/// What `defaults.probe` says; None where it does not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    interval: Option<Duration>,
    timeout: Option<Duration>,
    healthy_after: Option<u32>,
    unhealthy_after: Option<u32>,
}

/// What a service's probe is when the file declares none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub kind: ServiceKind,
    /// The port of the route, which probes ask by default.
    pub route_port: Option<u16>,
    pub healthcheck: HealthcheckDeclared,
}

/// Whether the service has a `healthcheck:` that is not disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthcheckDeclared {
    Yes,
    No,
}

pub(super) fn read_default(reader: &mut Reader<'_>, node: &Node) -> Timing {
    let Some(map) = reader.map(node, "a map such as `{ interval: 10s }`") else {
        return Timing::default();
    };
    let mut fields = Fields::of(map);
    let timing = read_timing(reader, &mut fields);
    const WHAT_TO_ASK: Refusals = Refusals {
        later: &[],
        never: &[
            ("http", "declare what to ask in the service's own `probe:`"),
            ("tcp", "declare what to ask in the service's own `probe:`"),
            ("exec", "declare what to ask in the service's own `probe:`"),
            ("docker", "declare what to ask in the service's own `probe:`"),
        ],
    };
    fields.finish(reader, &WHAT_TO_ASK);
    timing
}

/// Reads a service's probe; None stands for no `probe:`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    defaults: Timing,
    subject: Subject,
) -> Option<Probe> {
    let Some(entry) = entry else {
        return Some(complete(default_check(subject), Timing::default(), defaults));
    };
    let map = match &entry.value.value {
        Value::Map(map) => map,
        Value::Scalar(scalar) if scalar.text == "docker" => {
            return Some(complete(ProbeCheck::Docker, Timing::default(), defaults));
        }
        Value::Scalar(_) | Value::List(_) => {
            return reader.map(&entry.value, &format!("a map with {KINDS}")).and(None);
        }
    };
    let mut fields = Fields::of(map);
    let kinds: Vec<&Entry> = ["http", "tcp", "exec", "docker"]
        .into_iter()
        .filter_map(|kind| fields.get_or_null(kind))
        .collect();
    let timing = read_timing(reader, &mut fields);
    fields.finish(reader, &REFUSALS);
    let check = match kinds[..] {
        [] => Some(default_check(subject)),
        [kind] => read_check(reader, kind, subject),
        [_, second, ..] => {
            reader.refuse(
                second.key_span,
                "a probe asks one thing",
                format!("keep one of {KINDS}"),
            );
            None
        }
    };
    Some(complete(check?, timing, defaults))
}

fn default_check(subject: Subject) -> ProbeCheck {
    match (subject.kind, subject.healthcheck, subject.route_port) {
        (ServiceKind::OneShot, _, _) => ProbeCheck::Started,
        (ServiceKind::LongRunning, HealthcheckDeclared::Yes, _) => ProbeCheck::Docker,
        (ServiceKind::LongRunning, HealthcheckDeclared::No, Some(port)) => ProbeCheck::Tcp { port },
        (ServiceKind::LongRunning, HealthcheckDeclared::No, None) => ProbeCheck::Started,
    }
}

fn complete(check: ProbeCheck, timing: Timing, defaults: Timing) -> Probe {
    // Docker counts by itself before it says healthy, and a running replica is
    // running: for both, one look is enough.
    let healthy_after = match &check {
        ProbeCheck::Http { .. } | ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => {
            timing.healthy_after.or(defaults.healthy_after).unwrap_or(2)
        }
        ProbeCheck::Docker | ProbeCheck::Started => timing.healthy_after.unwrap_or(1),
    };
    Probe {
        check,
        interval: timing.interval.or(defaults.interval).unwrap_or(Duration::from_secs(10)),
        timeout: timing.timeout.or(defaults.timeout).unwrap_or(Duration::from_secs(5)),
        healthy_after,
        unhealthy_after: timing.unhealthy_after.or(defaults.unhealthy_after).unwrap_or(3),
    }
}

fn read_timing(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Timing {
    const MOST: u32 = 100;
    Timing {
        interval: fields.get("interval").and_then(|it| reader.positive_duration(&it.value)),
        timeout: fields.get("timeout").and_then(|it| reader.positive_duration(&it.value)),
        healthy_after: fields.get("healthy_after").and_then(|it| reader.count(&it.value, 1..=MOST)),
        unhealthy_after: fields
            .get("unhealthy_after")
            .and_then(|it| reader.count(&it.value, 1..=MOST)),
    }
}

fn read_check(reader: &mut Reader<'_>, entry: &Entry, subject: Subject) -> Option<ProbeCheck> {
    match entry.key.as_str() {
        "http" => {
            let map = map_or_null(reader, entry, "a map such as `{ path: /health }`")?;
            read_http(reader, entry, map, subject)
        }
        "tcp" => {
            let map = map_or_null(reader, entry, "a map such as `{ port: 5432 }`")?;
            let mut fields = map.map(Fields::of);
            let port = fields.as_mut().and_then(|fields| fields.get("port"));
            finish(reader, fields);
            Some(ProbeCheck::Tcp { port: read_port(reader, entry, port, subject)? })
        }
        "exec" => read_exec(reader, &entry.value),
        _ => {
            let map = map_or_null(reader, entry, "nothing, or `{}`")?;
            finish(reader, map.map(Fields::of));
            Some(ProbeCheck::Docker)
        }
    }
}

fn read_http(
    reader: &mut Reader<'_>,
    entry: &Entry,
    map: Option<&Map>,
    subject: Subject,
) -> Option<ProbeCheck> {
    let mut fields = map.map(Fields::of);
    let mut get = |key| fields.as_mut().and_then(|fields| fields.get(key));
    let (path, port, headers, status) = (get("path"), get("port"), get("headers"), get("status"));
    finish(reader, fields);
    let path = match path {
        Some(path) => read_path(reader, path),
        None => Some("/".to_owned()),
    };
    let port = read_port(reader, entry, port, subject);
    let headers = headers::read(reader, headers);
    let status = match status {
        Some(status) => Some(reader.count(&status.value, 100..=599)?),
        None => None,
    };
    let status = status.and_then(|status| u16::try_from(status).ok());
    Some(ProbeCheck::Http { path: path?, port: port?, headers, status })
}

/// Reads a path of the replica, with its query if it has one.
pub(super) fn read_path(reader: &mut Reader<'_>, entry: &Entry) -> Option<String> {
    let help = "a path begins with `/` and has no spaces; the host is always the replica";
    reader.parsed(&entry.value, "a path", help, parse_path)
}

fn parse_path(text: &str) -> Result<String, String> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '#';
    if text.starts_with('/') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is not a path", super::report::shown(text)))
    }
}

/// Reads `{ command: … }`, or the command itself.
fn read_exec(reader: &mut Reader<'_>, node: &Node) -> Option<ProbeCheck> {
    let command = match &node.value {
        Value::Map(map) => {
            let mut fields = Fields::of(map);
            let command = fields.get("command");
            fields.finish(reader, &Refusals { later: &[], never: &[] });
            command.map(|entry| &*entry.value)
        }
        Value::Scalar(_) | Value::List(_) => (!node.is_null()).then_some(node),
    };
    let words = match command {
        Some(command) => reader.command(command)?,
        None => Vec::new(),
    };
    if words.is_empty() {
        reader.refuse(
            node.span,
            "this probe has no command",
            "write `exec: { command: [\"pg_isready\"] }`",
        );
        return None;
    }
    Some(ProbeCheck::Exec { command: words })
}

/// Reads the port to ask: the route's, if the probe names none.
fn read_port(
    reader: &mut Reader<'_>,
    probe: &Entry,
    port: Option<&Entry>,
    subject: Subject,
) -> Option<u16> {
    match (port, subject.route_port) {
        (Some(port), _) => reader.port(&port.value),
        (None, Some(port)) => Some(port),
        (None, None) => {
            reader.refuse(
                probe.key_span,
                "this probe has no port, and the service no route to take it from",
                "add `port:`, the port that the replica listens on",
            );
            None
        }
    }
}

fn map_or_null<'n>(
    reader: &mut Reader<'_>,
    entry: &'n Entry,
    expected: &str,
) -> Option<Option<&'n Map>> {
    if entry.value.is_null() {
        return Some(None);
    }
    reader.map(&entry.value, expected).map(Some)
}

fn finish(reader: &mut Reader<'_>, fields: Option<Fields<'_>>) {
    if let Some(fields) = fields {
        fields.finish(reader, &REFUSALS);
    }
}
