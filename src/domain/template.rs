//! Templates: what a webhook is sent instead of JSON, in the language of Jinja.
//!
//! A template is tried out when the file is read, on facts that are all there and on
//! facts that are all missing: what is wrong with it is the file's mistake, and not
//! found out when there is something to tell.

use std::{collections::BTreeMap, fmt};

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

use super::{
    Secret,
    facts::{Fact, Facts},
};

/// The longest text that a template may make.
const MAX_BYTES: usize = 64 * 1024;

/// How many instructions a template may take: a loop over a log takes a few hundred.
const FUEL: u64 = 50_000;

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
        let environment = environment();
        let parsed = environment.template_from_str(text).map_err(|error| faulty(&error))?;
        let mut unknown: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !Facts::NAMES.contains(&name.as_str()) && !is_global(name));
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
    /// Fails if it does something with these facts that cannot be done, such as
    /// dividing by one.
    pub fn fill_in(&self, facts: &Facts) -> Result<String, BadTemplate> {
        let values: BTreeMap<&str, Value> =
            facts.iter().map(|(name, fact)| (name, value(fact))).collect();
        let filled = environment().render_str(self.0.reveal(), values);
        let filled = filled.map_err(|error| faulty(&error))?;
        match filled.len() > MAX_BYTES {
            true => Err(BadTemplate::TooLong),
            false => Ok(filled),
        }
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

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
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

/// Whether it is a function that every template has.
fn is_global(name: &str) -> bool {
    environment().globals().any(|(global, _)| global == name)
}

fn faulty(error: &Error) -> BadTemplate {
    let what = match error.kind() {
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
        assert!(
            why_not("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}")
                .contains("too many steps")
        );
        assert!(why_not("{{ took_ms / 2 }}").contains("cannot be filled in"));
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
