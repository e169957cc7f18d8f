//! What is told of a piece of news: facts by name, the same for JSON and templates.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::{
    Commit, DeploymentReport, ImageRef,
    memory::Event,
    news::{About, News, Sender},
    telling::Topic,
    time::human,
};

/// The last log lines that are told; `quaymaster logs` has more.
pub const TOLD_LOG_LINES: usize = 5;

/// The longest line or reason that is told, in characters.
const MAX_CHARS: usize = 300;

/// One fact; missing ones are null in JSON and empty in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Text(Option<String>),
    Number(Option<u64>),
    Lines(Vec<String>),
}

/// Every fact, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts(BTreeMap<&'static str, Fact>);

impl Default for Facts {
    /// None of them is known.
    fn default() -> Facts {
        let unknown = |name: &&'static str| match *name {
            "took_ms" => (*name, Fact::Number(None)),
            "log" => (*name, Fact::Lines(Vec::new())),
            _ => (*name, Fact::Text(None)),
        };
        Facts(Facts::NAMES.iter().map(unknown).collect())
    }
}

impl Facts {
    pub const NAMES: [&'static str; 21] = [
        "id",
        "event",
        "at",
        "stack",
        "host",
        "text",
        "service",
        "slot",
        "image",
        "digest",
        "release",
        "previous_image",
        "previous_release",
        "commit",
        "short_commit",
        "subject",
        "author",
        "took",
        "took_ms",
        "reason",
        "log",
    ];

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Fact)> {
        self.0.iter().map(|(name, fact)| (*name, fact))
    }

    /// Returns a text by its name; None also for what is no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Fact::Text(text) => text.as_deref(),
            Fact::Number(_) | Fact::Lines(_) => None,
        }
    }

    pub fn log(&self) -> &[String] {
        match self.0.get("log") {
            Some(Fact::Lines(lines)) => lines,
            Some(Fact::Text(_) | Fact::Number(_)) | None => &[],
        }
    }

    /// Returns them as a JSON object.
    pub fn json(&self) -> serde_json::Value {
        let value = |fact: &Fact| match fact {
            Fact::Text(text) => json!(text),
            Fact::Number(number) => json!(number),
            Fact::Lines(lines) => json!(lines),
        };
        self.0.iter().map(|(name, fact)| ((*name).to_owned(), value(fact))).collect()
    }

    /// Returns what there is to tell of a piece of news.
    pub fn of(news: &News, from: &Sender) -> Facts {
        let mut facts = Facts::default();
        let Sender { stack, host } = from;
        let at = Timestamp::from_millisecond(news.at_unix_ms).ok();
        facts.set("id", Some(format!("{stack}/{host}/{}-{}", news.number, news.at_unix_ms)));
        facts.set("event", Some(news.topic.to_string()));
        facts.set("at", at.map(|at| at.to_string()));
        facts.set("stack", Some(stack.to_string()));
        facts.set("host", Some(host.clone()));
        match &news.about {
            About::Service { event, deployment } => {
                facts.take_event(event);
                if let Some(deployment) = deployment {
                    facts.take_deployment(news.topic, deployment);
                }
                if news.topic == Topic::Held && facts.text("reason").is_none() {
                    facts.set("reason", Some(shorten(&event.text)));
                }
            }
            About::File { text, commit, subject } => {
                facts.set("reason", (!text.is_empty()).then(|| shorten_lines(text)));
                facts.take_commit(commit.as_ref());
                facts.set("subject", subject.clone());
            }
        }
        let text = facts.in_one_line(news.topic);
        facts.set("text", Some(text));
        facts
    }

    /// Facts as they may be, to try something out on.
    pub fn sample() -> Facts {
        let mut facts = Facts::default();
        for name in Facts::NAMES {
            facts.set(name, Some(format!("a \"{name}\"")));
        }
        facts.set("event", Some("promoted".to_owned()));
        facts.set("service", Some("web".to_owned()));
        facts.0.insert("took_ms", Fact::Number(Some(12_400)));
        let lines = ["GET /health 500", "\"quoted\" \\ done"];
        facts.0.insert("log", Fact::Lines(lines.map(str::to_owned).to_vec()));
        facts
    }

    fn set(&mut self, name: &'static str, text: Option<String>) {
        self.0.insert(name, Fact::Text(text));
    }

    fn take_event(&mut self, event: &Event) {
        self.set("service", Some(event.service.to_string()));
        self.set("slot", event.slot.map(|slot| slot.to_string()));
        self.set("image", event.image.as_ref().map(ImageRef::to_string));
        self.set("release", event.release.as_ref().map(|release| release.to_string()));
        self.take_commit(event.commit.as_ref());
    }

    fn take_commit(&mut self, commit: Option<&Commit>) {
        self.set("commit", commit.map(Commit::to_string));
        self.set("short_commit", commit.map(|commit| commit.short().to_owned()));
    }

    fn take_deployment(&mut self, topic: Topic, deployment: &DeploymentReport) {
        let release = deployment.release.as_ref().map(ToString::to_string);
        if topic == Topic::RolledBack {
            // The event is about what serves again; this is what it serves in place of.
            self.set("previous_image", Some(deployment.image.to_string()));
            self.set("previous_release", release);
        } else {
            self.set("image", Some(deployment.image.to_string()));
            self.set("digest", deployment.digest.as_ref().map(ToString::to_string));
            self.set("release", release);
            let previous = deployment.previous.as_ref();
            let image = previous.and_then(|previous| Some(previous.image.as_ref()?.to_string()));
            self.set("previous_image", image);
            self.set("previous_release", previous.map(|it| it.release.to_string()));
        }
        if self.text("slot").is_none() {
            self.set("slot", deployment.slot.map(|slot| slot.to_string()));
        }
        if let Some(commit) = &deployment.commit {
            self.take_commit(Some(&commit.sha));
            self.set("subject", commit.subject.clone());
            self.set("author", commit.author.clone());
        }
        let took_ms = deployment.durations.promoted_ms;
        self.0.insert("took_ms", Fact::Number(took_ms));
        self.set("took", took_ms.map(|millis| human(Duration::from_millis(millis))));
        if matches!(topic, Topic::Held | Topic::RolledBack) {
            self.set("reason", deployment.reason.as_deref().map(shorten));
            let skipped = deployment.log.len().saturating_sub(TOLD_LOG_LINES);
            let lines = deployment.log[skipped..].iter().map(|line| shorten(line)).collect();
            self.0.insert("log", Fact::Lines(lines));
        }
    }

    fn in_one_line(&self, topic: Topic) -> String {
        let of = |name: &str| self.text(name).unwrap_or_default();
        let (stack, host) = (of("stack"), of("host"));
        let happened = match topic {
            Topic::Started => "is being rolled out",
            Topic::Passed => "has passed a gate",
            Topic::Approved => "may be promoted, an operator says",
            Topic::Promoted => "is promoted",
            Topic::Good => "is good",
            Topic::Held => "is held",
            Topic::RolledBack => "went back",
            Topic::Superseded => "is superseded",
            Topic::Retried => "is tried again",
            Topic::FileInvalid => {
                return format!(
                    "{stack}: the file is not valid, what it said before stays in force on {host}"
                );
            }
            Topic::FileValid => return format!("{stack}: the file is valid again on {host}"),
            Topic::BranchRefused => {
                return format!("{stack}: the branch was rewritten, and is not followed on {host}");
            }
        };
        let mut text = format!("{stack}/{} {happened} on {host}", of("service"));
        if let Some(images) = self.images() {
            text += &format!(": {images}");
        }
        if topic == Topic::Promoted
            && let Some(took) = self.text("took")
        {
            text += &format!(" in {took}");
        }
        if let Some(reason) = self.text("reason") {
            text += &format!(" ({reason})");
        }
        text
    }

    /// Returns which image took the place of which, in short names.
    pub fn images(&self) -> Option<String> {
        let short = |name: &str| {
            let image = self.text(name)?;
            Some(image.rsplit_once('/').map_or(image, |(_, last)| last).to_owned())
        };
        let new = short("image")?;
        match short("previous_image") {
            Some(old) if old != new => Some(format!("{old} → {new}")),
            Some(_) | None => Some(new),
        }
    }
}

fn shorten(line: &str) -> String {
    match line.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

/// Returns the beginning of a report, in its own lines.
fn shorten_lines(text: &str) -> String {
    const MAX_LINES: usize = 12;
    text.lines().take(MAX_LINES).map(shorten).collect::<Vec<_>>().join("\n")
}
