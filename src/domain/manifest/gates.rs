//! `rollout.pre_promotion:` and `.post_promotion:` — what has to pass around a flip.
//!
//! A list is read where it stands, also under `defaults:`; what a service makes of
//! it is filled in and checked by [`complete`].

use std::{collections::HashMap, time::Duration};

use crate::domain::{
    Gate, GateCheck, ImageRef, Phase, ServiceName,
    gate::{HttpCheck, HttpTarget, JobSpec},
};

use super::{
    fields::{Fields, Refusals},
    gate_check,
    reader::Reader,
    yaml::{Entry, Node, Span},
};

/// The most gates of one phase.
const MAX_GATES: usize = 20;

/// The shortest interval: a gate asks a tool that others need too.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

const KINDS: &str = "`job`, `exec`, `http` or `prometheus`";

const REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("tcp", "a release is only asked once its probe has passed; write `exec:` or `http:`"),
        ("docker", "a release is only asked once its probe has passed; write `exec:` or `http:`"),
        ("url", "write `http: { url: … }`"),
        ("command", "write `exec: [...]`, or `job: { command: [...] }`"),
        ("timeout", "write it inside the gate: `http: { …, timeout: 10s }`"),
        ("interval", "write it inside the gate: `http: { …, interval: 10s }`"),
        ("failure_limit", "write it inside the gate: `http: { …, failure_limit: 1 }`"),
    ],
};

/// A gate as it is written, before it is known whose it is.
#[derive(Clone, Debug)]
pub(super) struct WrittenGate {
    /// Its port is 0 where the route's is meant.
    pub gate: Gate,
    /// Where its kind stands.
    pub span: Span,
}

/// What a service's gates are completed and checked with.
pub(super) struct Subject<'s> {
    pub service: &'s ServiceName,
    pub image: Option<&'s ImageRef>,
    pub route_port: Option<u16>,
}

/// Reads the gates of one phase.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Vec<WrittenGate> {
    let items = reader.list(&entry.value, "a list of gates").unwrap_or_default();
    if let Some(beyond) = items.get(MAX_GATES) {
        let message = format!("a phase has at most {MAX_GATES} gates");
        reader.refuse(beyond.span, message, "let one job or command check several things");
    }
    items.iter().take(MAX_GATES).filter_map(|item| read_gate(reader, item)).collect()
}

fn read_gate(reader: &mut Reader<'_>, node: &Node) -> Option<WrittenGate> {
    let map = reader.map(node, &format!("a map with {KINDS}"))?;
    let mut fields = Fields::of(map);
    let kinds: Vec<&Entry> = ["job", "exec", "http", "prometheus"]
        .into_iter()
        .filter_map(|kind| fields.get_or_null(kind))
        .collect();
    fields.finish(reader, &REFUSALS);
    match kinds[..] {
        [] => {
            // What is no gate is refused as a key already.
            if map.entries.iter().all(|entry| entry.key.starts_with("x-")) {
                reader.refuse(node.span, "this gate checks nothing", format!("write {KINDS}"));
            }
            None
        }
        [kind] => {
            let gate = gate_check::read(reader, kind)?;
            Some(WrittenGate { gate, span: kind.key_span })
        }
        [_, second, ..] => {
            let help = "make it an item of its own in the list";
            reader.refuse(second.key_span, "a gate checks one thing", help);
            None
        }
    }
}

/// How often and how long a gate is measured.
pub(super) struct Timing {
    pub interval: Duration,
    pub timeout: Duration,
    pub failure_limit: u32,
}

pub(super) fn read_timing(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    default_timeout: Duration,
) -> Timing {
    let interval = fields.get("interval").and_then(|it| read_interval(reader, &it.value));
    let timeout = fields.get("timeout").and_then(|it| reader.positive_duration(&it.value));
    let failure_limit =
        fields.get("failure_limit").and_then(|it| reader.count(&it.value, 0..=1000));
    Timing {
        interval: interval.unwrap_or(DEFAULT_INTERVAL),
        timeout: timeout.unwrap_or(default_timeout),
        failure_limit: failure_limit.unwrap_or(0),
    }
}

fn read_interval(reader: &mut Reader<'_>, node: &Node) -> Option<Duration> {
    let interval = reader.positive_duration(node)?;
    if interval < MIN_INTERVAL {
        let help = "write at least `100ms`";
        reader.refuse(node.span, "this would measure all the time", help);
        return None;
    }
    Some(interval)
}

/// Returns the gates of a service: with the port of its route where they name none,
/// and none of them twice.
pub(super) fn complete(
    reader: &mut Reader<'_>,
    written: Vec<WrittenGate>,
    phase: Phase,
    subject: &Subject<'_>,
) -> Vec<Gate> {
    let mut seen = HashMap::new();
    let mut gates = Vec::new();
    for WrittenGate { mut gate, span } in written {
        if !fill_in(reader, &mut gate.check, span, subject) {
            continue;
        }
        if let Some(first) = seen.insert(gate.id(phase), span) {
            reader.refuse_again(span, "this gate stands here a second time", first);
            continue;
        }
        gates.push(gate);
    }
    gates
}

/// Fills in what the service says; false if it does not say it.
fn fill_in(
    reader: &mut Reader<'_>,
    check: &mut GateCheck,
    span: Span,
    subject: &Subject<'_>,
) -> bool {
    match check {
        GateCheck::Http(HttpCheck { target: HttpTarget::Replica { port, .. }, .. })
            if *port == 0 =>
        {
            let Some(route_port) = subject.route_port else {
                let message = format!(
                    "this gate has no port, and `{}` no route to take it from",
                    subject.service
                );
                reader.refuse(span, message, "add `port:`, the port that the replica listens on");
                return false;
            };
            *port = route_port;
            true
        }
        GateCheck::Job(JobSpec { command: None, image, .. })
            if image.is_none() || image.as_ref() == subject.image =>
        {
            reader.refuse(span, "this job would start the service itself", "name a `command:`");
            false
        }
        GateCheck::Job(_)
        | GateCheck::Exec { .. }
        | GateCheck::Http(_)
        | GateCheck::Prometheus { .. } => true,
    }
}
