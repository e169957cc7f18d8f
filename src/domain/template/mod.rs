//! Templates: what a webhook is sent instead of JSON, in a small part of Jinja.
//!
//! A template is tried out when the file is read, on facts that are all there and on
//! facts that are all missing: what is wrong with it is the file's mistake, and not
//! found out when there is something to tell. Whatever it says, it takes little memory
//! and time: [`subset`] refuses what lets a text grow, every filter checks how long its
//! text becomes, what it writes has an end, and fuel ends what takes too many steps.

mod subset;

use std::{collections::BTreeMap, fmt, io};

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, filters, value::Kwargs};
use serde::{Deserialize, Serialize};

use super::{
    Secret,
    facts::{Fact, Facts},
};

/// The longest text that a template may make, also on its way through a filter.
const MAX_BYTES: usize = 64 * 1024;

/// How many instructions a template may take: a hundred facts and a loop over a log
/// take some five hundred.
const FUEL: u64 = 5_000;

/// A template that works.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(Secret);

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

/// Why a text is no template. Quotes nothing of it but the names of variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    #[error("it knows no `{0}`")]
    UnknownVariable(String),
    #[error("{what}{}", at_line(*line))]
    Faulty { what: &'static str, line: Option<usize> },
    #[error("it makes a text of more than {MAX_BYTES} bytes")]
    TooLong,
}

impl Template {
    /// Reads a template and tries it out.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, names something that there is not, or cannot be
    /// filled in.
    pub fn parse(text: &str) -> Result<Template, BadTemplate> {
        subset::check(text)?;
        let environment = environment();
        let parsed = environment.template_from_str(text).map_err(|error| faulty(&error))?;
        let mut unknown: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !Facts::NAMES.contains(&name.as_str()));
        unknown.sort();
        if let Some(name) = unknown.into_iter().next() {
            return Err(BadTemplate::UnknownVariable(name));
        }
        let template = Template(Secret::new(text));
        template.fill_in(&Facts::sample())?;
        template.fill_in(&Facts::default())?;
        Ok(template)
    }

    /// Returns the text with the facts in it.
    ///
    /// # Errors
    ///
    /// Fails if it does something with these facts that cannot be done, such as asking
    /// for the tenth line of a log, or if the text is too long. Fails also for what
    /// [`Template::parse`] refuses: what is remembered may be older than its rules.
    pub fn fill_in(&self, facts: &Facts) -> Result<String, BadTemplate> {
        subset::check(self.0.reveal())?;
        let values: BTreeMap<&str, Value> =
            facts.iter().map(|(name, fact)| (name, value(fact))).collect();
        let environment = environment();
        let parsed = environment.template_from_str(self.0.reveal());
        let parsed = parsed.map_err(|error| faulty(&error))?;
        let mut filled = Bounded(Vec::new());
        parsed.render_captured_to(values, &mut filled).map_err(|error| faulty(&error))?;
        Ok(String::from_utf8_lossy(&filled.0).into_owned())
    }

    /// Returns whether what it makes is JSON, whatever the facts are.
    pub fn makes_json(&self) -> bool {
        let is_json = |facts| {
            self.fill_in(&facts)
                .is_ok_and(|text| serde_json::from_str::<serde_json::Value>(&text).is_ok())
        };
        is_json(Facts::sample()) && is_json(Facts::default())
    }
}

/// A text that is written until it is too long.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An engine that has the filters of here and nothing else: several of its own make
/// texts as long as a number in the template says.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("tojson", |value: Value| {
        let json = filters::tojson(&bounded(value)?, None, Kwargs::from_iter(NO_ARGUMENTS))?;
        bounded(json)
    });
    environment.add_filter("upper", |text: Value| {
        bounded(Value::from(bounded(text)?.to_string().to_uppercase()))
    });
    environment.add_filter("lower", |text: Value| {
        bounded(Value::from(bounded(text)?.to_string().to_lowercase()))
    });
    environment.add_filter("trim", |text: Value| {
        bounded(text).map(|text| Value::from(text.to_string().trim()))
    });
    environment.add_filter("length", |value: Value| filters::length(&value));
    environment.add_filter("default", default);
    environment.add_filter("join", join);
    environment
}

const NO_ARGUMENTS: [(&str, Value); 0] = [];

/// What is not known is empty here, and never undefined.
fn default(value: Value, other: Value) -> Value {
    match value.is_true() {
        true => value,
        false => other,
    }
}

fn join(list: Value, separator: Option<Value>) -> Result<Value, Error> {
    let separator = separator.map(|it| it.to_string()).unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in list.try_iter()?.enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&item.to_string());
        if joined.len() > MAX_BYTES {
            return Err(too_long());
        }
    }
    Ok(Value::from(joined))
}

fn bounded(value: Value) -> Result<Value, Error> {
    match value.as_str().is_some_and(|text| text.len() > MAX_BYTES) {
        true => Err(too_long()),
        false => Ok(value),
    }
}

fn too_long() -> Error {
    Error::new(ErrorKind::WriteFailure, "the text is too long")
}

/// What is missing is an empty text, so that a template need not ask for it first.
fn value(fact: &Fact) -> Value {
    match fact {
        Fact::Text(text) => Value::from(text.as_deref().unwrap_or_default()),
        Fact::Number(Some(number)) => Value::from(*number),
        Fact::Number(None) => Value::from(""),
        Fact::Lines(lines) => lines.iter().map(String::as_str).map(Value::from).collect(),
    }
}

fn faulty(error: &Error) -> BadTemplate {
    let what = match error.kind() {
        ErrorKind::WriteFailure => return BadTemplate::TooLong,
        ErrorKind::SyntaxError => {
            "it cannot be read: a `{{`, `{%` or `{#` is not closed, or what is in it is no expression"
        }
        ErrorKind::UndefinedError => "it asks for something that there is not",
        ErrorKind::UnknownFilter => "it uses a filter that there is not",
        ErrorKind::UnknownFunction => "it calls a function that there is not",
        ErrorKind::UnknownTest => "it uses a test that there is not",
        ErrorKind::OutOfFuel => "it takes too many steps",
        _ => "it cannot be filled in",
    };
    BadTemplate::Faulty { what, line: error.line() }
}

fn at_line(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(", in its line {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why_not(text: &str) -> String {
        Template::parse(text).expect_err("a mistake").to_string()
    }

    #[test]
    fn what_is_wrong_is_found_when_it_is_read() {
        assert_eq!(why_not("{{ sevice }}"), "it knows no `sevice`");
        assert_eq!(
            why_not("a\n{{ service.name }}"),
            "it asks for something that there is not, in its line 2"
        );
        assert!(why_not("{{ service").contains("cannot be read"));
        assert!(why_not("{{ service|shout }}").contains("a filter that there is not"));
        assert!(why_not("{{ range(9) }}").contains("knows no `range`"));
        assert!(why_not("{{ took_ms|join }}").contains("cannot be filled in"));
        assert!(why_not("{{ text|tojson(9) }}").contains("cannot be filled in"));
        assert!(why_not("{{ text|indent(100000000000) }}").contains("a filter that there is not"));
    }

    #[test]
    fn no_template_takes_much_memory_or_time() {
        let nested = |depth: usize| {
            let (open, close) = ("{% for a in log %}", "{% endfor %}");
            format!("{}{{{{ a }}}}{}", open.repeat(depth), close.repeat(depth))
        };
        assert!(why_not(&nested(20)).contains("too many steps"));
        let chained = |value: &str, filter: &str| {
            let room = (480 - value.len()) / filter.len();
            format!("{{{{ {value}{} }}}}", filter.repeat(room))
        };
        assert!(why_not(&chained("'\"'", "|tojson")).contains("more than 65536 bytes"));
        let joins = format!("{{{{ {}text{} }}}}", "['','','']|join(".repeat(20), ")".repeat(20));
        assert!(why_not(&joins).contains("more than 65536 bytes"));
        assert!(why_not(&"x".repeat(MAX_BYTES + 1)).contains("more than 65536 bytes"));
        // What is deep is read within the stack of a thread.
        for deep in [
            chained("text", "|trim"),
            chained("text", "~id"),
            chained("", "not ").replace(" }}", " text }}"),
            format!("{{{{ {}text{} }}}}", "(".repeat(120), ")".repeat(120)),
            "{% if log %}".repeat(64) + &"{% endif %}".repeat(64),
            "{% if log %}".to_owned() + &"{% elif log %}".repeat(63) + "{% endif %}",
        ] {
            let _ = Template::parse(&deep);
        }
        // A remembered one is no exception.
        let remembered = Template(Secret::new("{{ 'x' * 100000000000 }}"));
        assert!(remembered.fill_in(&Facts::sample()).is_err());
    }

    #[test]
    fn facts_are_filled_in_and_can_be_escaped() {
        let facts = Facts::sample();
        let fill = |text: &str| {
            Template::parse(text).expect("a template").fill_in(&facts).expect("filled in")
        };
        assert_eq!(fill("{{ service }} {{ event }}"), "web promoted");
        assert_eq!(
            fill("{% for line in log %}[{{ line }}]{% endfor %}"),
            "[GET /health 500][\"quoted\" \\ done]"
        );
        assert_eq!(fill("{{ (service ~ ' ')|upper|trim }} {{ log|length }}"), "WEB 2");
        assert_eq!(fill("{{ ''|default('-') }} {{ log|join(', ')|lower|length }}"), "- 32");
        let json = fill("{\"log\": {{ log|tojson }}}");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["log"][1], "\"quoted\" \\ done");
    }

    #[test]
    fn json_is_known_from_text() {
        let makes_json = |text: &str| Template::parse(text).expect("a template").makes_json();
        assert!(makes_json("{\"text\": {{ text|tojson }}, \"n\": {{ took_ms|tojson }}}"));
        assert!(!makes_json("{\"text\": \"{{ log }}\"}"));
        assert!(!makes_json("{{ text }}"));
    }

    #[test]
    fn nothing_of_a_template_is_shown() {
        let template = Template::parse("token canary {{ text }}").expect("a template");
        assert!(!format!("{template:?}").contains("canary"));
    }
}
