//! `notify:` — who is told what happens.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use crate::domain::{
    Receiver, Secret, Template,
    facts::Facts,
    telling::{Channel, Topic},
    template::BadTemplate,
};

use super::{
    fields::{Fields, Refusals, refuse_name},
    headers,
    reader::Reader,
    url,
    yaml::{Entry, Node, Span, Value},
};

/// The most that are told: each is told by a task of its own.
const MAX_RECEIVERS: usize = 20;

const KINDS: &str = "`webhook`, `slack` or `discord`";

const REFUSALS: Refusals = Refusals {
    later: &["email", "matrix", "teams"],
    never: &[
        ("url", "write it inside the kind: `slack: { url: … }`"),
        ("headers", "write it inside `webhook:`"),
        ("template", "write it inside `webhook:`"),
        ("events", "write `on: [promoted, held]`"),
    ],
};

const CHAT_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("template", "write `webhook:` for a text of your own"),
        ("headers", "write `webhook:` for headers of your own"),
        ("channel", "remove it: the URL says which channel it is"),
        ("on", "write it beside the kind, not inside"),
        ("name", "write it beside the kind, not inside"),
    ],
};

const WEBHOOK_REFUSALS: Refusals = Refusals {
    later: &[],
    never: &[
        ("method", "remove it: news are sent with POST"),
        ("body", "write `template:`"),
        ("on", "write it beside the kind, not inside"),
        ("name", "write it beside the kind, not inside"),
    ],
};

/// Reads everybody who is told, each with a name of its own.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Vec<Receiver> {
    let expected = "a list of whom to tell, such as `[{ slack: { url: … } }]`";
    let items = reader.list(&entry.value, expected).unwrap_or_default();
    if let Some(beyond) = items.get(MAX_RECEIVERS) {
        let message = format!("at most {MAX_RECEIVERS} are told");
        reader.refuse(beyond.span, message, "let one webhook pass it on to several");
    }
    let written: Vec<Written> =
        items.iter().take(MAX_RECEIVERS).filter_map(|item| read_one(reader, item)).collect();
    with_names(reader, written)
}

/// A receiver that may have no name yet.
struct Written {
    name: Option<(String, Span)>,
    kind: &'static str,
    on: BTreeSet<Topic>,
    channel: Channel,
}

fn read_one(reader: &mut Reader<'_>, item: &Rc<Node>) -> Option<Written> {
    let map = reader.map(item, &format!("a map with {KINDS}"))?;
    let mut fields = Fields::of(map);
    let kinds: Vec<(&'static str, &Entry)> = ["webhook", "slack", "discord"]
        .into_iter()
        .filter_map(|kind| Some((kind, fields.get_or_null(kind)?)))
        .collect();
    let (name, on) = (fields.get("name"), fields.get_or_null("on"));
    fields.finish(reader, &REFUSALS);
    let name = name.map(|entry| read_name(reader, entry));
    let on = match on {
        Some(entry) => read_topics(reader, entry),
        None => Some(Topic::DEFAULT.into()),
    };
    let (kind, entry) = match kinds[..] {
        [] => {
            // What is no kind is refused as a key already.
            let is_known = |key: &str| matches!(key, "name" | "on") || key.starts_with("x-");
            if map.entries.iter().all(|entry| is_known(&entry.key)) {
                reader.refuse(item.span, "this says nobody to tell", format!("write {KINDS}"));
            }
            return None;
        }
        [kind] => kind,
        [_, (_, second), ..] => {
            let help = "make it an item of its own in the list";
            reader.refuse(second.key_span, "an item tells one", help);
            return None;
        }
    };
    let channel = match kind {
        "webhook" => read_webhook(reader, entry),
        "slack" => read_chat(reader, entry).map(|url| Channel::Slack { url }),
        _ => read_chat(reader, entry).map(|url| Channel::Discord { url }),
    };
    let name = match name {
        Some(name) => Some(name?),
        None => None,
    };
    Some(Written { name, kind, on: on?, channel: channel? })
}

fn read_name(reader: &mut Reader<'_>, entry: &Entry) -> Option<(String, Span)> {
    let help = "write a short name for logs and `status`, such as `team`";
    let name = reader.parsed(&entry.value, "a name", help, |text| {
        let is_plain = |c: char| !c.is_control();
        match !text.trim().is_empty() && text.chars().count() <= 40 && text.chars().all(is_plain) {
            true => Ok(text.trim().to_owned()),
            false => Err("a name has 1 to 40 characters, in one line"),
        }
    })?;
    Some((name, entry.value.span))
}

fn read_topics(reader: &mut Reader<'_>, entry: &Entry) -> Option<BTreeSet<Topic>> {
    let mut topics = BTreeSet::new();
    let mut is_fine = true;
    let expected = "a list such as `[promoted, held]`";
    let words = match entry.value.is_null() {
        true => Vec::new(),
        false => reader.text_or_texts(&entry.value, expected),
    };
    for word in &words {
        // History has it in two words.
        let plain = word.value.replace(' ', "-");
        match Topic::ALL.into_iter().find(|topic| topic.as_str() == plain) {
            Some(topic) => drop(topics.insert(topic)),
            None => {
                let all = Topic::ALL.map(Topic::as_str);
                refuse_name(
                    reader,
                    word.span,
                    format!("nothing is told of `{}`", word.shown()),
                    &word.value,
                    all.into_iter(),
                    format!("write one of {}", all.join(", ")),
                );
                is_fine = false;
            }
        }
    }
    let says_nothing = match &entry.value.value {
        Value::List(items) => items.is_empty(),
        Value::Scalar(_) => entry.value.is_null(),
        Value::Map(_) => false,
    };
    if says_nothing {
        let help = "name what to tell, or remove `on:` to tell of promoted, held and rolled-back";
        reader.refuse(entry.key_span, "this tells of nothing", help);
    }
    (is_fine && !topics.is_empty()).then_some(topics)
}

fn read_webhook(reader: &mut Reader<'_>, entry: &Entry) -> Option<Channel> {
    let map = reader.map(&entry.value, "a map such as `{ url: \"https://…\" }`")?;
    let mut fields = Fields::of(map);
    let (url, headers) = (fields.get("url"), fields.get("headers"));
    let template = fields.get("template");
    let is_misspelt = fields.has_slip_of("url");
    fields.finish(reader, &WEBHOOK_REFUSALS);
    let url = read_url(reader, entry, url, is_misspelt);
    let headers: BTreeMap<String, Secret> = headers::read(reader, headers)
        .into_iter()
        .map(|(name, value)| (name, Secret::new(value)))
        .collect();
    let template = match template.map(|it| read_template(reader, it)) {
        Some(template) => Some(template?),
        None => None,
    };
    Some(Channel::Webhook { url: url?, headers, template })
}

fn read_chat(reader: &mut Reader<'_>, entry: &Entry) -> Option<Secret> {
    let map = reader.map(&entry.value, "a map such as `{ url: \"https://…\" }`")?;
    let mut fields = Fields::of(map);
    let url = fields.get("url");
    let is_misspelt = fields.has_slip_of("url");
    fields.finish(reader, &CHAT_REFUSALS);
    read_url(reader, entry, url, is_misspelt)
}

fn read_url(
    reader: &mut Reader<'_>,
    kind: &Entry,
    url: Option<&Entry>,
    is_misspelt: bool,
) -> Option<Secret> {
    match url {
        Some(url) => url::read(reader, url),
        None => {
            if !is_misspelt {
                let message = format!("this `{}` has no address", kind.key);
                reader.refuse(kind.key_span, message, "add `url: \"https://…\"`");
            }
            None
        }
    }
}

/// The text may hold a secret, so what is shown as being at fault is its key.
fn read_template(reader: &mut Reader<'_>, entry: &Entry) -> Option<Template> {
    let text = reader.text(&entry.value, "a text such as \"{{ text }}\"")?;
    match Template::parse(&text.value) {
        Ok(template) => Some(template),
        Err(bad) => {
            let otherwise = "`{{ name }}` stands for a fact, `{{ name|tojson }}` for one as JSON";
            let help = match &bad {
                BadTemplate::UnknownVariable(name) => {
                    match reader.suggest(name, Facts::NAMES.into_iter()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("there are {}", Facts::NAMES.join(", ")),
                    }
                }
                BadTemplate::Faulty { .. } | BadTemplate::TooLong => otherwise.to_owned(),
            };
            reader.refuse(entry.key_span, format!("this template does not work: {bad}"), help);
            None
        }
    }
}

/// Gives a name to each that has none: its kind, with a number from the second on.
fn with_names(reader: &mut Reader<'_>, written: Vec<Written>) -> Vec<Receiver> {
    let mut taken: HashMap<String, Option<Span>> = HashMap::new();
    for (name, span) in written.iter().filter_map(|it| it.name.as_ref()) {
        if let Some(Some(first)) = taken.insert(name.clone(), Some(*span)) {
            reader.refuse_again(*span, format!("`{name}` is somebody else already"), first);
        }
    }
    let mut receivers = Vec::new();
    for Written { name, kind, on, channel } in written {
        let name = name.map(|(name, _)| name).unwrap_or_else(|| {
            let numbered = (2..).map(|number| format!("{kind} {number}"));
            let mut names = std::iter::once(kind.to_owned()).chain(numbered);
            let free = names.find(|name| !taken.contains_key(name));
            free.expect("there is always another number")
        });
        taken.entry(name.clone()).or_insert(None);
        receivers.push(Receiver { name, on, channel });
    }
    receivers
}
