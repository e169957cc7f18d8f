//! One gate: what it looks at, and how patiently.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    Gate, GateCheck, ImageRef, Secret,
    gate::{Condition, HttpCheck, HttpTarget, JobSpec, JsonCheck},
};

use super::{
    environment,
    fields::{Fields, NO_REFUSALS, Refusals},
    gates::{Timing, read_timing},
    headers, probe,
    reader::Reader,
    report::shown,
    url,
    yaml::{Entry, Map, Node, Value},
};

const JOB_TIMEOUT: Duration = Duration::from_secs(600);
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

const JOB_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("interval", "remove it: a job runs once"),
        ("failure_limit", "remove it: a job runs once"),
        ("volumes", "remove it: a job has the volumes of the service"),
        ("networks", "remove it: a job is on the networks of the service"),
        ("ports", "remove it: nobody calls a job"),
    ],
};

const HTTP_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("host", "write `url:` for another host; `path:` asks the release's own replica"),
        ("method", "remove it: a gate asks with GET; use `job:` or `exec:` for more"),
        ("body", "remove it: a gate asks with GET; use `job:` or `exec:` for more"),
        ("condition", "write `json: { pointer: /a/b, condition: \">= 1\" }`"),
        ("pointer", "write `json: { pointer: /a/b, condition: \">= 1\" }`"),
    ],
};

/// Reads the gate of one of the four kinds.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<Gate> {
    let (check, timing) = match entry.key.as_str() {
        "job" => read_job(reader, entry)?,
        "exec" => read_exec(reader, &entry.value)?,
        "http" => read_http(reader, entry)?,
        _ => read_prometheus(reader, entry)?,
    };
    let Timing { interval, timeout, failure_limit } = timing;
    Some(Gate { check, interval, timeout, failure_limit })
}

fn read_job(reader: &mut Reader<'_>, entry: &Entry) -> Option<(GateCheck, Timing)> {
    let nothing = Map { entries: Vec::new(), layout: super::yaml::Layout::Flow };
    let map = match entry.value.is_null() {
        true => &nothing,
        false => reader.map(&entry.value, "a map such as `{ command: [\"./migrate\"] }`")?,
    };
    let mut fields = Fields::of(map);
    let command = fields.get("command").map(|it| reader.command(&it.value));
    let image = fields.get("image").map(|it| {
        let help = "write `registry/repository:tag`, or `…@sha256:` and a digest";
        reader.parsed(&it.value, "an image reference", help, str::parse::<ImageRef>)
    });
    let environment = environment::read(reader, None, fields.get("environment"));
    let timeout = fields.get("timeout").and_then(|it| reader.positive_duration(&it.value));
    let is_misspelt = fields.has_slip_of("command") || fields.has_slip_of("image");
    fields.finish(reader, &JOB_REFUSALS);
    if is_misspelt {
        return None;
    }
    // An empty command is none, so that it cannot hide what would be started.
    let command = match command {
        Some(words) => Some(words?).filter(|words| !words.is_empty()),
        None => None,
    };
    let image = match image {
        Some(image) => Some(image?),
        None => None,
    };
    let timeout = timeout.unwrap_or(JOB_TIMEOUT);
    // A job is not measured, so nothing ever waits for its interval.
    let timing = Timing { interval: timeout, timeout, failure_limit: 0 };
    Some((GateCheck::Job(JobSpec { command, image, environment }), timing))
}

/// Reads `{ command: …, timeout: … }`, or the command itself.
fn read_exec(reader: &mut Reader<'_>, node: &Node) -> Option<(GateCheck, Timing)> {
    let nothing = Map { entries: Vec::new(), layout: super::yaml::Layout::Flow };
    let (mut fields, short) = match &node.value {
        Value::Map(map) => (Fields::of(map), None),
        Value::Scalar(_) | Value::List(_) => (Fields::of(&nothing), Some(node)),
    };
    let long = fields.get("command").map(|entry| &*entry.value);
    let command = short.filter(|node| !node.is_null()).or(long);
    let timing = read_timing(reader, &mut fields, EXEC_TIMEOUT);
    fields.finish(reader, &NO_REFUSALS);
    let words = match command {
        Some(command) => reader.command(command)?,
        None => Vec::new(),
    };
    if words.is_empty() {
        let help = "write `exec: { command: [\"./check\"] }`";
        reader.refuse(node.span, "this gate has no command", help);
        return None;
    }
    Some((GateCheck::Exec { command: words }, timing))
}

fn read_http(reader: &mut Reader<'_>, entry: &Entry) -> Option<(GateCheck, Timing)> {
    let example = "a map with `url:`, or with `path:` for the release's own replica";
    let mut fields = Fields::of(reader.map(&entry.value, example)?);
    let (url, path, port) = (fields.get("url"), fields.get("path"), fields.get("port"));
    let (headers, status, json) = (fields.get("headers"), fields.get("status"), fields.get("json"));
    let timing = read_timing(reader, &mut fields, ASK_TIMEOUT);
    let url_is_misspelt = fields.has_slip_of("url");
    fields.finish(reader, &HTTP_REFUSALS);
    let headers = headers::read(reader, headers)
        .into_iter()
        .map(|(name, value)| (name, Secret::new(value)))
        .collect::<BTreeMap<_, _>>();
    let status = status.map(|it| reader.count(&it.value, 100..=599));
    let json = json.map(|it| read_json(reader, it));
    let target = match (url, path) {
        (Some(url), None) => {
            if let Some(port) = port {
                let help = "write the port into the URL: `https://example.com:8443/`";
                reader.refuse(port.key_span, "a URL has its own port", help);
            }
            HttpTarget::Url(url::read(reader, url)?)
        }
        (None, Some(path)) => {
            let path = probe::read_path(reader, path);
            // 0 stands for the route's port.
            let port = port.map_or(Some(0), |port| reader.port(&port.value));
            HttpTarget::Replica { path: path?, port: port? }
        }
        (Some(_), Some(path)) => {
            let help = "keep `url:` for another host, or `path:` for the release's own replica";
            reader.refuse(path.key_span, "a gate asks one address", help);
            return None;
        }
        (None, None) => {
            if !url_is_misspelt {
                let help = "add `url: https://…`, or `path: /…` for the release's own replica";
                reader.refuse(entry.key_span, "this gate has no address to ask", help);
            }
            return None;
        }
    };
    let status = match status {
        Some(status) => u16::try_from(status?).ok(),
        None => None,
    };
    let json = match json {
        Some(json) => Some(json?),
        None => None,
    };
    Some((GateCheck::Http(HttpCheck { target, headers, status, json }), timing))
}

/// Reads `{ pointer, condition }`, or the pointer itself.
fn read_json(reader: &mut Reader<'_>, entry: &Entry) -> Option<JsonCheck> {
    let Value::Map(map) = &entry.value.value else {
        return Some(JsonCheck { pointer: read_pointer(reader, &entry.value)?, condition: None });
    };
    let mut fields = Fields::of(map);
    let pointer = fields.get("pointer").map(|it| read_pointer(reader, &it.value));
    let condition = fields.get("condition").map(|it| read_condition(reader, it));
    let pointer_is_misspelt = fields.has_slip_of("pointer");
    fields.finish(reader, &NO_REFUSALS);
    if pointer.is_none() && !pointer_is_misspelt {
        let help = "add `pointer: /a/b`; `pointer: \"\"` is the whole answer";
        reader.refuse(entry.key_span, "this names no value of the answer", help);
    }
    let condition = match condition {
        Some(condition) => Some(condition?),
        None => None,
    };
    Some(JsonCheck { pointer: pointer??, condition })
}

fn read_pointer(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let help = "write `/a/b` for `b` in `a`, `/0` for the first of a list; a `/` in a name is `~1`, a `~` is `~0`";
    reader.parsed(node, "a JSON pointer", help, |text| {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        match escapes && (text.is_empty() || text.starts_with('/')) {
            true => Ok(text.to_owned()),
            false => Err(format!("`{}` is not a JSON pointer", shown(text))),
        }
    })
}

fn read_condition(reader: &mut Reader<'_>, entry: &Entry) -> Option<Condition> {
    let help = "write it in quotes: `\">= 1\"`, `\"== ok\"`";
    reader.parsed(&entry.value, "a condition", help, |text| {
        text.parse::<Condition>().map_err(|bad| format!("`{}`: {bad}", shown(text)))
    })
}

fn read_prometheus(reader: &mut Reader<'_>, entry: &Entry) -> Option<(GateCheck, Timing)> {
    let example =
        "a map such as `{ url: \"http://127.0.0.1:9090\", query: up, condition: \">= 1\" }`";
    let mut fields = Fields::of(reader.map(&entry.value, example)?);
    let (url, query) = (fields.get("url"), fields.get("query"));
    let condition = fields.get("condition");
    let timing = read_timing(reader, &mut fields, ASK_TIMEOUT);
    let required = [("url", url), ("query", query), ("condition", condition)];
    let missing: Vec<String> = required
        .into_iter()
        .filter(|(key, entry)| entry.is_none() && !fields.has_slip_of(key))
        .map(|(key, _)| format!("`{key}`"))
        .collect();
    fields.finish(reader, &NO_REFUSALS);
    if !missing.is_empty() {
        let message = format!("this gate has no {}", missing.join(", no "));
        reader.refuse(entry.key_span, message, format!("write {example}"));
    }
    let url = url.and_then(|it| url::read_base(reader, it));
    let query =
        query.and_then(|it| {
            reader.parsed(&it.value, "a query", "write it in PromQL: `up{job='web'}`", |text| {
                match text.trim().is_empty() {
                    true => Err("an empty query asks nothing".to_owned()),
                    false => Ok(text.to_owned()),
                }
            })
        });
    let condition = condition.and_then(|it| {
        let condition = read_condition(reader, it)?;
        if !condition.compares_numbers() {
            let help = "compare with a number: `\">= 1\"`";
            reader.refuse(it.value.span, "Prometheus answers with numbers", help);
            return None;
        }
        Some(condition)
    });
    Some((GateCheck::Prometheus { url: url?, query: query?, condition: condition? }, timing))
}
