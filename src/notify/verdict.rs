//! What an answer says of a letter. Pure.

use std::time::Duration;

use crate::{
    domain::{Letter, telling::Forge},
    http::{Answer, Body, Secrets},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// Trying the same again cannot help.
    Refused(String),
    /// Perhaps later, and then not before this long.
    Later {
        why: String,
        after: Option<Duration>,
    },
}

/// What of an answer's body is told, in characters.
const MAX_CHARS: usize = 120;

/// No text holds a secret.
pub(super) fn of(letter: &Letter, answer: &Answer, secrets: &Secrets) -> Verdict {
    let body = match &answer.body {
        Body::Read(bytes) => String::from_utf8_lossy(bytes),
        Body::TooLong => "".into(),
    };
    if answer.status == 400 && stands_already(letter, &body) {
        return Verdict::Taken;
    }
    let said = secrets.excerpt(&body, MAX_CHARS);
    let why = match said.is_empty() || said.starts_with('<') {
        true => format!("HTTP {}", answer.status),
        false => format!("HTTP {}: {said}", answer.status),
    };
    match answer.status {
        200..300 => Verdict::Taken,
        408 | 425 | 429 | 500.. => Verdict::Later { why, after: answer.retry_after },
        300..400 => Verdict::Refused(format!("HTTP {}: a redirect is not followed", answer.status)),
        _ => Verdict::Refused(why),
    }
}

/// GitLab refuses a status that the commit has already.
fn stands_already(letter: &Letter, body: &str) -> bool {
    match letter {
        Letter::Status { to, .. } => match to.forge {
            Forge::GitLab => body.contains("Cannot transition status"),
            Forge::GitHub | Forge::Gitea => false,
        },
        Letter::News { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;
    use crate::domain::{
        Secret,
        news::{CommitState, CommitStatus, Sender},
        telling::StatusTarget,
    };

    fn letter(forge: Forge) -> Letter {
        let secret = || Secret::new("canary");
        let to = StatusTarget { forge, api: secret(), repository: String::new(), token: secret() };
        let from = Sender { stack: "shop".parse().expect("a name"), host: String::new() };
        let commit = "a".repeat(40).parse().expect("a commit");
        let state = CommitState::Pending;
        let status = CommitStatus { commit, state, description: String::new() };
        Letter::Status { to, from, status }
    }

    fn verdict(forge: Forge, status: u16, body: &str) -> Verdict {
        let body = Body::Read(body.as_bytes().to_vec());
        let retry_after = Some(Duration::from_secs(7));
        let answer = Answer { status, headers: HeaderMap::new(), body, retry_after };
        of(&letter(forge), &answer, &Secrets::new(vec!["canary".to_owned()]))
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let hub = |status| verdict(Forge::GitHub, status, "");
        assert_eq!([200, 201, 204].map(hub), [Verdict::Taken, Verdict::Taken, Verdict::Taken]);
        for status in [408, 425, 429, 500, 502, 599] {
            let after = Some(Duration::from_secs(7));
            assert_eq!(hub(status), Verdict::Later { why: format!("HTTP {status}"), after });
        }
        for status in [301, 307, 400, 401, 403, 404, 422] {
            assert!(matches!(hub(status), Verdict::Refused(_)), "{status}");
        }
    }

    #[test]
    fn a_status_that_gitlab_has_already_is_told() {
        let said = "{\"message\":\"Cannot transition status via :run from :running\"}";
        assert_eq!(verdict(Forge::GitLab, 400, said), Verdict::Taken);
        assert!(matches!(verdict(Forge::GitHub, 400, said), Verdict::Refused(_)));
    }

    #[test]
    fn what_comes_back_is_told_without_a_secret() {
        let refused = |body: &str| verdict(Forge::GitHub, 404, body);
        assert_eq!(refused("no_service"), Verdict::Refused("HTTP 404: no_service".to_owned()));
        assert_eq!(refused("<html>"), Verdict::Refused("HTTP 404".to_owned()));
        let Verdict::Refused(why) = refused("of canary") else { panic!("taken") };
        assert!(!why.contains("canary"), "{why}");
    }
}
