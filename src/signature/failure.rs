//! What a look that did not find the signature means for the next try.

use std::time::Duration;

use crate::domain::{
    SignatureWanted,
    snapshot::{Failure, FailureKind},
};

use super::flaw::Flaw;

/// Nobody could tell: it is tried again.
pub(super) fn transient(name: &str, why: &str) -> Failure {
    let message = format!("cannot look for the signature of {name}: {why}");
    Failure { kind: FailureKind::Transient, message }
}

/// The registry knows us not, or not enough: trying again cannot help.
pub(super) fn denied(name: &str, registry: &str, status: u16) -> Failure {
    let message = format!(
        "cannot look for the signature of {name}: {registry} answers {status} \
         (docker login {registry})"
    );
    Failure { kind: FailureKind::Refused, message }
}

pub(super) fn rate_limited(name: &str, retry_after: Option<Duration>) -> Failure {
    let message = format!("cannot look for the signature of {name}: too many requests");
    Failure { kind: FailureKind::RateLimited { retry_after }, message }
}

/// The registry has no signature that counts.
pub(super) fn unsigned(wanted: &SignatureWanted, seen: &[Flaw]) -> Failure {
    let (image, signers) = (&wanted.image, wanted.signers());
    let what = match seen.iter().max() {
        Some(flaw) => flaw.to_string(),
        None => "the registry has no signature of it".to_owned(),
    };
    let message = format!(
        "{image} is not signed by {signers}: {what} (`cosign sign --key … {image}`, \
         then `quaymaster retry`)"
    );
    Failure { kind: FailureKind::Refused, message }
}
