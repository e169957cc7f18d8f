//! What an HTTP answer says of a release. Pure.
//!
//! A tool behind a `url:` that is in trouble itself (5xx, 429) says nothing; every
//! other answer is one. A replica's answers are the release's own, whatever they are.
//! What is not JSON where JSON is asked for has failed.

use serde_json::Value;

use crate::domain::{
    gate::{Condition, HttpCheck, HttpTarget, JsonCheck},
    snapshot::Measurement,
};

use crate::http::{Body, Secrets};

/// The longest value that is told, in characters.
const MAX_VALUE_CHARS: usize = 80;

/// `body` is what was read, where `check` asks for a value.
pub(super) fn judge(check: &HttpCheck, status: u16, body: &Body, secrets: &Secrets) -> Measurement {
    if !is_wanted(status, check.status) {
        return match check.target {
            HttpTarget::Url(_) if status >= 500 || status == 429 => {
                Measurement::Unanswered(format!("HTTP {status}"))
            }
            HttpTarget::Url(_) | HttpTarget::Replica { .. } => {
                Measurement::Failed(format!("HTTP {status}"))
            }
        };
    }
    match &check.json {
        None => Measurement::Passed(format!("HTTP {status}")),
        Some(json) => judge_json(json, body, secrets),
    }
}

fn is_wanted(status: u16, wanted: Option<u16>) -> bool {
    match wanted {
        Some(wanted) => status == wanted,
        None => (200..300).contains(&status),
    }
}

fn judge_json(json: &JsonCheck, body: &Body, secrets: &Secrets) -> Measurement {
    let bytes = match body {
        Body::Read(bytes) => bytes,
        Body::TooLong => return Measurement::Failed("the answer is longer than 1 MiB".to_owned()),
    };
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else {
        return Measurement::Failed("the answer is not JSON".to_owned());
    };
    let at = match json.pointer.as_str() {
        "" => "the answer".to_owned(),
        pointer => secrets.excerpt(pointer, MAX_VALUE_CHARS),
    };
    let value = answer.pointer(&json.pointer).unwrap_or(&Value::Null);
    match (value, &json.condition) {
        (Value::Null, _) => Measurement::Failed(format!("nothing at {at}")),
        (_, None) => Measurement::Passed(format!("{at} is there")),
        (Value::Array(_), Some(_)) => Measurement::Failed(format!("{at} is a list")),
        (Value::Object(_), Some(_)) => Measurement::Failed(format!("{at} is an object")),
        (Value::Number(number), Some(condition)) => {
            let is_met = number.as_f64().is_some_and(|number| condition.is_met_by(number));
            compared(is_met, &at, &number.to_string(), condition, secrets)
        }
        (Value::String(text), Some(condition)) => {
            compared(condition.is_met_by_text(text), &at, text, condition, secrets)
        }
        (Value::Bool(flag), Some(condition)) => {
            let text = flag.to_string();
            compared(condition.is_met_by_text(&text), &at, &text, condition, secrets)
        }
    }
}

fn compared(
    is_met: bool,
    at: &str,
    value: &str,
    condition: &Condition,
    secrets: &Secrets,
) -> Measurement {
    let value = match value.is_empty() {
        true => "empty".to_owned(),
        false => secrets.excerpt(value, MAX_VALUE_CHARS),
    };
    match is_met {
        true => Measurement::Passed(format!("{at} is {value}")),
        // A number is no secret; a word to compare with may be one.
        false if condition.compares_numbers() => {
            Measurement::Failed(format!("{at} is {value}, not {condition}"))
        }
        false => Measurement::Failed(format!("{at} is {value}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::domain::{Gate, GateCheck, Secret};

    fn url() -> HttpTarget {
        HttpTarget::Url(Secret::new("https://a.example/"))
    }

    fn replica() -> HttpTarget {
        HttpTarget::Replica { path: "/smoke".to_owned(), port: 80 }
    }

    fn judged(
        target: HttpTarget,
        wanted: Option<u16>,
        json: Option<(&str, &str)>,
        (status, body): (u16, &str),
    ) -> Measurement {
        let json = json.map(|(pointer, condition)| JsonCheck {
            pointer: pointer.to_owned(),
            condition: (!condition.is_empty()).then(|| condition.parse().expect("a condition")),
        });
        let headers = BTreeMap::from([("X-Key".to_owned(), Secret::new("Canary-5f1e"))]);
        let check = HttpCheck { target, headers, status: wanted, json };
        let secrets = Secrets::of(&Gate {
            check: GateCheck::Http(check.clone()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failure_limit: 0,
        });
        judge(&check, status, &Body::Read(body.as_bytes().to_vec()), &secrets)
    }

    fn passed(text: &str) -> Measurement {
        Measurement::Passed(text.to_owned())
    }

    fn failed(text: &str) -> Measurement {
        Measurement::Failed(text.to_owned())
    }

    #[test]
    fn trouble_behind_a_url_says_nothing_of_the_release() {
        let status = |target, wanted, status| judged(target, wanted, None, (status, ""));
        assert_eq!(status(url(), None, 204), passed("HTTP 204"));
        assert_eq!(status(url(), None, 302), failed("HTTP 302"));
        assert_eq!(status(url(), None, 404), failed("HTTP 404"));
        for trouble in [500, 503, 429] {
            let unanswered = Measurement::Unanswered(format!("HTTP {trouble}"));
            assert_eq!(status(url(), None, trouble), unanswered);
            assert_eq!(status(replica(), None, trouble), failed(&format!("HTTP {trouble}")));
            let wanted = Some(trouble);
            assert_eq!(status(url(), wanted, trouble), passed(&format!("HTTP {trouble}")));
        }
        assert_eq!(status(url(), Some(302), 302), passed("HTTP 302"));
        assert_eq!(status(replica(), Some(204), 200), failed("HTTP 200"));
    }

    #[test]
    fn values_are_compared_as_what_they_are() {
        let body =
            r#"{"n": 1.5, "s": "ok", "t": "2", "b": true, "l": [{"x": 0}], "z": null, "e": ""}"#;
        let value =
            |pointer, condition| judged(url(), None, Some((pointer, condition)), (200, body));
        assert_eq!(value("/n", ">= 1"), passed("/n is 1.5"));
        assert_eq!(value("/n", "> 2"), failed("/n is 1.5, not > 2"));
        assert_eq!(value("/s", "== ok"), passed("/s is ok"));
        assert_eq!(value("/s", "== up"), failed("/s is ok"));
        assert_eq!(value("/t", ">= 2"), passed("/t is 2"));
        assert_eq!(value("/b", "== true"), passed("/b is true"));
        assert_eq!(value("/l/0/x", "== 0"), passed("/l/0/x is 0"));
        assert_eq!(value("/l", "== 1"), failed("/l is a list"));
        assert_eq!(value("/l/0", "== 1"), failed("/l/0 is an object"));
        assert_eq!(value("", "== 1"), failed("the answer is an object"));
        assert_eq!(value("/e", "== ok"), failed("/e is empty"));
        assert_eq!(value("/l", ""), passed("/l is there"));
        assert_eq!(value("/z", ""), failed("nothing at /z"));
        assert_eq!(value("/z", "!= 1"), failed("nothing at /z"));
        assert_eq!(value("/a/b", ""), failed("nothing at /a/b"));
    }

    #[test]
    fn what_is_no_json_has_failed() {
        for target in [url(), replica()] {
            let answer = judged(target, None, Some(("/a", "")), (200, "<html>Canary-5f1e"));
            assert_eq!(answer, failed("the answer is not JSON"));
        }
    }

    #[test]
    fn a_value_is_told_in_one_short_line_that_holds_no_secret() {
        let value = |body: &str| judged(url(), None, Some(("/v", "== x")), (200, body));
        assert_eq!(value("{\"v\": \"a\\nb\\u001b[2J\"}"), failed("/v is a b [2J"));
        let long = format!("{{\"v\": \"{}\"}}", "y".repeat(5000));
        assert_eq!(value(&long), failed(&format!("/v is {}…", "y".repeat(80))));
        let leak = format!("{{\"v\": \"{} Canary-5f1e\"}}", "y".repeat(5000));
        assert!(!format!("{:?}", value(&leak)).contains("Canary"));
        assert!(!format!("{:?}", value("{\"v\": \"Canary-5f1e\"}")).contains("Canary"));
    }
}
