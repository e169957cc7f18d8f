//! What must not be told of a gate (S9).

use crate::{
    domain::{
        Gate, GateCheck,
        gate::{HttpCheck, HttpTarget},
    },
    http::{Secrets, address},
};

impl Secrets {
    pub(super) fn of(gate: &Gate) -> Secrets {
        let mut found = Vec::new();
        match &gate.check {
            GateCheck::Http(HttpCheck { target, headers, .. }) => {
                found.extend(headers.values().flat_map(|value| Secrets::of_header(value.reveal())));
                match target {
                    HttpTarget::Url(url) => found.extend(address::secrets(url.reveal())),
                    HttpTarget::Replica { path, .. } => found.extend(address::query_secrets(path)),
                }
            }
            GateCheck::Prometheus { url, .. } => found.extend(address::secrets(url.reveal())),
            // The program may be told, its arguments not.
            GateCheck::Exec { command } => found.extend(command.iter().skip(1).cloned()),
            GateCheck::Job(_) => {}
        }
        Secrets::new(found)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::domain::Secret;

    const HIDDEN: &str = "(hidden: it holds a secret)";

    fn secrets() -> Secrets {
        let headers = BTreeMap::from([
            ("Authorization".to_owned(), Secret::new("Basic cGstbGYtMTpzay1sZi0yMjI=")),
            ("X-Count".to_owned(), Secret::new("1")),
        ]);
        Secrets::of(&Gate {
            check: GateCheck::Http(HttpCheck {
                target: HttpTarget::Url(Secret::new(
                    "https://me%21:pass%20word@a.example/?k=canary&n=1",
                )),
                headers,
                status: None,
                json: None,
            }),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failure_limit: 0,
        })
    }

    #[test]
    fn what_holds_a_secret_is_not_told() {
        for text in [
            "cGstbGYtMTpzay1sZi0yMjI=",
            "got Basic cGstbGYtMTpzay1sZi0yMjI=!",
            "sk-lf-222",
            "pass word",
            "pass\n word",
            "pass%20word",
            "xxcanaryxx",
            "k=canary&n=1",
        ] {
            assert_eq!(secrets().excerpt(text, 80), HIDDEN, "{text}");
        }
    }

    #[test]
    fn everything_else_is_told_in_one_short_line() {
        assert_eq!(secrets().excerpt("1", 80), "1");
        assert_eq!(secrets().excerpt("two\n  words\u{1b}[0m", 80), "two words [0m");
        assert_eq!(secrets().excerpt(&"ä".repeat(100), 80).chars().count(), 81);
    }
}
