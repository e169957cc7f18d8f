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
