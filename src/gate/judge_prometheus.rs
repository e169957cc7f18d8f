//! What Prometheus' answer says of a release. Pure.
//!
//! The format is that of its HTTP API, `/api/v1/query`. A query that it refuses is
//! the file's mistake and has failed; silence, trouble and no data say nothing.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::{gate::Condition, snapshot::Measurement};

use crate::http::{Body, Secrets};

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

pub(super) fn judge(
    condition: &Condition,
    status: u16,
    body: &Body,
    secrets: &Secrets,
) -> Measurement {
    let unanswered = |text: &str| Measurement::Unanswered(text.to_owned());
    let answer = match body {
        Body::Read(bytes) => serde_json::from_slice::<Answer>(bytes).ok(),
        Body::TooLong => return Measurement::Failed("more samples than 1 MiB holds".to_owned()),
    };
    match (status, answer) {
        // `bad_data` and `execution`: no later answer will be another.
        (400..500, Some(Answer { status, error: Some(error), .. })) if status == "error" => {
            Measurement::Failed(format!("Prometheus: {}", secrets.in_a_few_words(&error)))
        }
        (200..300, Some(Answer { status, data: Some(data), .. })) if status == "success" => {
            judge_data(condition, &data)
        }
        (200..300, _) => unanswered("this is no answer of Prometheus"),
        (status, _) => unanswered(&format!("HTTP {status}")),
    }
}

fn judge_data(condition: &Condition, data: &Data) -> Measurement {
    let values: Option<Vec<f64>> = match (data.result_type.as_str(), &data.result) {
        ("scalar", sample) => value_of(sample).map(|value| vec![value]),
        ("vector", Value::Array(series)) => {
            series.iter().map(|one| value_of(one.get("value")?)).collect()
        }
        ("string" | "matrix", _) => None,
        _ => return Measurement::Unanswered("this is no answer of Prometheus".to_owned()),
    };
    match values {
        Some(values) => judge_values(condition, &values),
        None => Measurement::Failed(
            "the query answers with a text, a range or a histogram, not with numbers".to_owned(),
        ),
    }
}

/// Returns the number of `[time, "number"]`.
fn value_of(sample: &Value) -> Option<f64> {
    sample.get(1)?.as_str()?.parse().ok()
}

fn judge_values(condition: &Condition, values: &[f64]) -> Measurement {
    // 0/0 of a ratio without traffic: as good as no sample.
    if values.iter().all(|value| value.is_nan()) {
        return Measurement::Unanswered("no data".to_owned());
    }
    let count = values.len();
    match (values.iter().find(|value| !condition.is_met_by(**value)), values) {
        (Some(bad), [_]) => Measurement::Failed(format!("{bad} is not {condition}")),
        (Some(bad), _) => {
            let others = values.iter().filter(|value| !condition.is_met_by(**value)).count();
            Measurement::Failed(format!("{bad} is not {condition} ({others} of {count} samples)"))
        }
        (None, [only]) => Measurement::Passed(only.to_string()),
        (None, _) => {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            Measurement::Passed(format!("{least} to {most} ({count} samples)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Gate, GateCheck, Secret};

    fn judged(condition: &str, status: u16, body: &str) -> Measurement {
        let condition: Condition = condition.parse().expect("a condition");
        let secrets = Secrets::of(&Gate {
            check: GateCheck::Prometheus {
                url: Secret::new("http://me:Canary-5f1e@127.0.0.1:9090"),
                query: "up".to_owned(),
                condition: condition.clone(),
            },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failure_limit: 0,
        });
        judge(&condition, status, &Body::Read(body.as_bytes().to_vec()), &secrets)
    }

    fn vector(values: &[&str]) -> String {
        let samples: Vec<String> = values
            .iter()
            .map(|value| format!(r#"{{"metric":{{"job":"x"}},"value":[1700000000.1,"{value}"]}}"#))
            .collect();
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
            samples.join(",")
        )
    }

    fn passed(text: &str) -> Measurement {
        Measurement::Passed(text.to_owned())
    }

    fn failed(text: &str) -> Measurement {
        Measurement::Failed(text.to_owned())
    }

    fn unanswered(text: &str) -> Measurement {
        Measurement::Unanswered(text.to_owned())
    }

    #[test]
    fn every_sample_meets_the_condition() {
        assert_eq!(judged(">= 1", 200, &vector(&["1"])), passed("1"));
        assert_eq!(judged(">= 1", 200, &vector(&["1", "3", "2"])), passed("1 to 3 (3 samples)"));
        assert_eq!(judged(">= 1", 200, &vector(&["0.5"])), failed("0.5 is not >= 1"));
        assert_eq!(
            judged(">= 1", 200, &vector(&["1", "0.5", "0"])),
            failed("0.5 is not >= 1 (2 of 3 samples)")
        );
        assert_eq!(judged("< 1", 200, &vector(&["+Inf"])), failed("inf is not < 1"));
        assert_eq!(judged("< 1", 200, &vector(&["-Inf"])), passed("-inf"));
    }

    #[test]
    fn no_data_says_nothing() {
        assert_eq!(judged(">= 1", 200, &vector(&[])), unanswered("no data"));
        assert_eq!(judged("!= 1", 200, &vector(&["NaN", "NaN"])), unanswered("no data"));
        assert_eq!(
            judged(">= 1", 200, &vector(&["1", "NaN"])),
            failed("NaN is not >= 1 (1 of 2 samples)")
        );
    }

    #[test]
    fn a_scalar_is_one_sample_and_a_text_is_none() {
        let of = |kind: &str, result: &str| {
            let body = format!(
                r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#
            );
            judged("== 2", 200, &body)
        };
        assert_eq!(of("scalar", r#"[1700000000.1,"2"]"#), passed("2"));
        assert_eq!(of("scalar", r#"[1700000000.1,"NaN"]"#), unanswered("no data"));
        let not_numbers =
            failed("the query answers with a text, a range or a histogram, not with numbers");
        assert_eq!(of("string", r#"[1700000000.1,"2"]"#), not_numbers);
        assert_eq!(of("matrix", "[]"), not_numbers);
        assert_eq!(of("vector", r#"[{"metric":{},"histogram":[1,{}]}]"#), not_numbers);
        assert_eq!(of("graph", "[]"), unanswered("this is no answer of Prometheus"));
    }

    #[test]
    fn a_bad_query_has_failed_and_trouble_says_nothing() {
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error:\n unexpected \")\""}"#;
        let told = failed("Prometheus: parse error: unexpected \")\"");
        assert_eq!(judged("> 0", 400, error), told);
        assert_eq!(judged("> 0", 422, error), told);
        assert_eq!(judged("> 0", 503, error), unanswered("HTTP 503"));
        assert_eq!(judged("> 0", 401, "no entry"), unanswered("HTTP 401"));
        assert_eq!(judged("> 0", 200, "<html>"), unanswered("this is no answer of Prometheus"));
        let leak = error.replace("unexpected", "for me:Canary-5f1e");
        assert!(!format!("{:?}", judged("> 0", 400, &leak)).contains("Canary"));
        let long = error.replace("unexpected", &"x".repeat(5000));
        let Measurement::Failed(text) = judged("> 0", 400, &long) else { panic!("not failed") };
        assert!(text.chars().count() < 250, "{text}");
    }
}
