//! Everything that makes a container what it is: Compose's keys of a service
//! that go to Docker as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::domain::release::{Healthcheck, RestartPolicy};

use super::{
    fields::{Fields, NO_REFUSALS},
    obey,
    reader::Reader,
    report::shown,
    yaml::{Entry, Node, Value},
};

/// What `restart:` says.
pub(super) enum WrittenRestart {
    /// Nothing: a service is meant to keep running.
    Unsaid,
    /// `"no"`, written out: it runs once.
    Once,
    Policy(RestartPolicy),
}

pub(super) fn read_restart(reader: &mut Reader<'_>, entry: Option<&Entry>) -> WrittenRestart {
    let Some(entry) = entry else { return WrittenRestart::Unsaid };
    let help = "write `always`, `unless-stopped`, `on-failure`, `on-failure:3`, or `\"no\"` for what runs once";
    let read = reader.parsed(&entry.value, "a restart policy", help, |text| {
        let (word, attempts) = match text.split_once(':') {
            Some((word, attempts)) => {
                (word, Some(attempts.parse::<u32>().map_err(|_| refused(text))?))
            }
            None => (text, None),
        };
        match (word, attempts) {
            ("no", None) => Ok(WrittenRestart::Once),
            ("always", None) => Ok(WrittenRestart::Policy(RestartPolicy::Always)),
            ("unless-stopped", None) => Ok(WrittenRestart::Policy(RestartPolicy::UnlessStopped)),
            ("on-failure", max_attempts) => {
                Ok(WrittenRestart::Policy(RestartPolicy::OnFailure { max_attempts }))
            }
            _ => Err(refused(text)),
        }
    });
    read.unwrap_or(WrittenRestart::Unsaid)
}

fn refused(text: &str) -> String {
    format!("`{}` is not a restart policy", shown(text))
}

pub(super) fn read_healthcheck(reader: &mut Reader<'_>, entry: &Entry) -> Option<Healthcheck> {
    let example = "a map such as `{ test: curl -f http://localhost/ }`";
    let mut fields = Fields::of(reader.map(&entry.value, example)?);
    let disable = fields.get("disable").and_then(|it| reader.flag(&it.value)) == Some(true);
    let test = fields.get("test").map(|it| read_test(reader, &it.value));
    let mut duration =
        |reader: &mut Reader<'_>, key| fields.get(key).and_then(|it| reader.duration(&it.value));
    let interval = duration(reader, "interval");
    let timeout = duration(reader, "timeout");
    let start_period = duration(reader, "start_period");
    let start_interval = duration(reader, "start_interval");
    let retries = fields.get("retries").and_then(|it| reader.count(&it.value, 1..=1000));
    fields.finish(reader, &NO_REFUSALS);
    let test = match (disable, test) {
        (true, _) => vec!["NONE".to_owned()],
        // Docker takes an empty test as that of the image.
        (false, None) => Vec::new(),
        (false, Some(test)) => test?,
    };
    Some(Healthcheck { test, interval, timeout, start_period, start_interval, retries })
}

/// Reads a test in Docker's own form; a single text is for a shell.
fn read_test(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<String>> {
    if let Value::Scalar(_) = &node.value {
        let text = reader.text(node, "a command")?;
        return Some(vec!["CMD-SHELL".to_owned(), text.value]);
    }
    let words = reader.command(node)?;
    let complete = match words.first().map(String::as_str) {
        Some("NONE") => words.len() == 1,
        Some("CMD") => words.len() > 1,
        Some("CMD-SHELL") => words.len() == 2,
        Some(_) | None => false,
    };
    if !complete {
        let help = "write `[\"CMD\", \"pg_isready\"]`, `[\"CMD-SHELL\", \"…\"]` or `[\"NONE\"]`";
        reader.refuse(node.span, "a test begins with CMD, CMD-SHELL or NONE", help);
        return None;
    }
    Some(words)
}

/// Returns whether a health check was declared that Docker will run.
pub(super) fn is_enabled(healthcheck: Option<&Healthcheck>) -> bool {
    healthcheck.is_some_and(|check| check.test.first().is_none_or(|word| word != "NONE"))
}

/// Reads `host:ip`, `host=ip` or a map.
pub(super) fn read_extra_hosts(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
) -> BTreeMap<String, String> {
    let Some(entry) = entry else { return BTreeMap::new() };
    let help = "write `name: 10.0.0.1` or `name: host-gateway`";
    let mut hosts = BTreeMap::new();
    let mut add = |reader: &mut Reader<'_>, span, shown_name: String, host: &str, address: &str| {
        let bare = address.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(address);
        let fine = !host.is_empty()
            && !host.contains(char::is_whitespace)
            && (bare == "host-gateway" || bare.parse::<IpAddr>().is_ok());
        if !fine {
            reader.refuse(span, format!("`{shown_name}` is not a host and its address"), help);
        } else if hosts.insert(host.to_owned(), bare.to_owned()).is_some() {
            reader.refuse(
                span,
                format!("`{shown_name}` has an address already"),
                "keep one of the two",
            );
        }
    };
    match &entry.value.value {
        Value::Map(map) => {
            for entry in &map.entries {
                if let Some(text) = reader.text(&entry.value, "an address") {
                    add(reader, text.span, shown(&entry.key), &entry.key, &text.value);
                }
            }
        }
        Value::List(_) | Value::Scalar(_) => {
            for text in reader.texts(&entry.value, "a list of `name:address`, or a map") {
                let (host, address) =
                    text.value.split_once(['=', ':']).unwrap_or((&text.value, ""));
                add(reader, text.span, text.shown(), host, address);
            }
        }
    }
    hosts
}

/// Reads the capabilities that a container gets beside the usual ones.
pub(super) fn read_added_capabilities(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
) -> BTreeSet<String> {
    let names = read_capabilities(reader, entry);
    obey::added_capabilities(reader, entry, &names);
    names
}

/// Reads `security_opt:`.
pub(super) fn read_security_options(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Vec<String> {
    let read = entry.map(|it| reader.texts(&it.value, "a list of options")).unwrap_or_default();
    read.iter().for_each(|text| obey::security_option(reader, text));
    read.into_iter().map(|text| text.value).collect()
}

/// Reads the names of capabilities, with or without `CAP_`.
pub(super) fn read_capabilities(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
) -> BTreeSet<String> {
    let texts =
        entry.map(|it| reader.texts(&it.value, "a list of capabilities")).unwrap_or_default();
    let mut names = BTreeSet::new();
    for text in texts {
        let name = text.value.to_ascii_uppercase();
        if !name.is_empty()
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        {
            names.insert(name);
        } else {
            let reason = format!("`{}` is not a capability", text.shown());
            reader.refuse_text(&text, "a capability", reason, "write a name such as `NET_ADMIN`");
        }
    }
    names
}

pub(super) fn read_signal(reader: &mut Reader<'_>, entry: &Entry) -> Option<String> {
    let help = "write a name such as `SIGTERM`, or a number";
    reader.parsed(&entry.value, "a signal", help, |text| {
        let is_name = text
            .strip_prefix("SIG")
            .unwrap_or(text)
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '+' || c == '-');
        let is_number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
        let begins_with_letter = text.starts_with(|c: char| c.is_ascii_uppercase());
        match is_number || (is_name && begins_with_letter) {
            true => Ok(text.to_owned()),
            false => Err(format!("`{}` is not a signal", shown(text))),
        }
    })
}

pub(super) fn read_working_dir(reader: &mut Reader<'_>, entry: &Entry) -> Option<String> {
    let help = "write a path that begins with `/`";
    reader.parsed(&entry.value, "an absolute path", help, |text| match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` is not an absolute path", shown(text))),
    })
}
