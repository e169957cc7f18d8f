//! What a failed pull means, read from what was said.
//!
//! The status tells little: Docker 20.10 answers 500 to wrong credentials, to a
//! registry that is down and to a rate limit alike, and after a 200 there is only
//! text. The words below were read off real registries and Docker's sources.

use std::time::Duration;

use crate::domain::{
    ImageRef,
    snapshot::{Failure, FailureKind},
};

use super::failure::CallError;

/// The registry asks for fewer requests.
const RATE_LIMITED: &[&str] =
    &["toomanyrequests", "too many requests", "429", "rate limit", "rate exceeded"];

/// The way to the registry is broken. Asked before the refusals: what a broken
/// way says may contain their words.
const UNREACHABLE: &[&str] = &[
    "dial tcp",
    "dial unix",
    "no such host",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "tls: ",
    "tls handshake",
    "x509: ",
    "http: server gave http response to https client",
    "context deadline exceeded",
    "client.timeout exceeded",
    ": eof",
];

const DISK_FULL: &[&str] = &["no space left on device", "disk quota exceeded"];

/// The registry knows us not, or not enough.
const DENIED: &[&str] = &[
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "denied",
    "forbidden",
    "incorrect username or password",
    "insufficient_scope",
    "http response 401",
    "http response 403",
];

/// There is no such thing to pull.
const NOT_THERE: &[&str] = &[
    "manifest unknown",
    "name unknown",
    "not found",
    "does not exist",
    "no matching manifest",
    "does not match the specified platform",
    "invalid reference format",
    "cannot be used on this platform",
];

/// Returns the failure of pulling `image`, in the registry's words, with the
/// mend where there is one.
pub(super) fn of(error: &CallError, image: &ImageRef) -> Failure {
    let words = error.words();
    let (kind, mend) = if error.is_answer() {
        meaning(&words, error.status())
    } else {
        // Docker itself cannot be reached; "permission denied" is then its
        // socket's, not the registry's.
        (FailureKind::Transient, Mend::None)
    };
    let mend = match mend {
        Mend::None => String::new(),
        Mend::Login => format!(" (docker login {})", image.registry()),
        Mend::FreeSpace => " (free some space on Docker's disk)".to_owned(),
    };
    Failure { kind, message: format!("cannot pull {image}: {words}{mend}") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mend {
    None,
    Login,
    FreeSpace,
}

fn meaning(words: &str, status: Option<u16>) -> (FailureKind, Mend) {
    let words = words.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    if status == Some(429) || says(RATE_LIMITED) {
        return (FailureKind::RateLimited { retry_after: retry_after(&words) }, Mend::None);
    }
    if says(DISK_FULL) {
        return (FailureKind::Transient, Mend::FreeSpace);
    }
    if says(UNREACHABLE) {
        return (FailureKind::Transient, Mend::None);
    }
    if matches!(status, Some(401 | 403)) || says(DENIED) {
        return (FailureKind::Refused, Mend::Login);
    }
    if matches!(status, Some(400 | 404)) || says(NOT_THERE) {
        return (FailureKind::Refused, Mend::None);
    }
    (FailureKind::Transient, Mend::None)
}

/// Reads `retry-after: 1m30.5s` (GHCR, in Go's notation) or `retry-after: 30`.
/// The header itself stays with the engine.
fn retry_after(words: &str) -> Option<Duration> {
    let told = words.split_once("retry-after:")?.1.trim_start();
    let told = told.split([',', ' ', '"', ';', '\n']).next()?;
    match told.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => go_duration(told),
    }
}

fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = &rest[number_end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "μs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as registries and the engine say them, with the engine's status.
    #[test]
    fn each_answer_has_its_meaning() {
        let refused = FailureKind::Refused;
        let transient = FailureKind::Transient;
        let limited = FailureKind::RateLimited { retry_after: None };
        let cases = [
            (
                404,
                "manifest for 127.0.0.1:5000/app:2 not found: manifest unknown: manifest unknown",
                refused,
                Mend::None,
            ),
            (
                404,
                "pull access denied for app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                refused,
                Mend::Login,
            ),
            (
                500,
                "Head http://127.0.0.1:5000/v2/app/manifests/1: no basic auth credentials",
                refused,
                Mend::Login,
            ),
            (500, "Head https://ghcr.io/v2/a/b/manifests/1: denied: denied", refused, Mend::Login),
            (
                500,
                "Get https://registry.example/v2/: unauthorized: authentication required",
                refused,
                Mend::Login,
            ),
            (500, "error parsing HTTP 403 response body: 403 Forbidden", refused, Mend::Login),
            (500, "toomanyrequests: You have reached your pull rate limit.", limited, Mend::None),
            (500, "received unexpected HTTP status: 429 Too Many Requests", limited, Mend::None),
            (
                500,
                "Get https://nowhere.example/v2/: dial tcp: lookup nowhere.example on 10.0.0.2:53: no such host",
                transient,
                Mend::None,
            ),
            (
                500,
                "Get http://127.0.0.1:1/v2/: dial tcp 127.0.0.1:1: connect: connection refused",
                transient,
                Mend::None,
            ),
            (
                500,
                "Get https://r.example/v2/: x509: certificate signed by unknown authority",
                transient,
                Mend::None,
            ),
            (
                500,
                "Get https://r.example/v2/: net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
                transient,
                Mend::None,
            ),
            (500, "received unexpected HTTP status: 502 Bad Gateway", transient, Mend::None),
            (400, "invalid reference format", refused, Mend::None),
            (
                404,
                "no matching manifest for linux/amd64 in the manifest list entries",
                refused,
                Mend::None,
            ),
            (
                200,
                "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
                transient,
                Mend::FreeSpace,
            ),
        ];
        for (status, words, kind, mend) in cases {
            assert_eq!(meaning(words, Some(status)), (kind, mend), "{words}");
        }
    }

    #[test]
    fn a_socket_that_denies_us_is_not_a_registry_that_does() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = CallError::Docker(bollard::errors::Error::from(denied));
        let failure = of(&error, &"app:1".parse().expect("a reference"));
        assert_eq!(failure.kind, FailureKind::Transient);
        assert!(failure.message.contains("Docker does not answer"), "{failure}");
    }

    #[test]
    fn a_told_pace_is_kept() {
        let limited = |words: &str| match meaning(words, Some(500)).0 {
            FailureKind::RateLimited { retry_after } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(limited("toomanyrequests: retry-after: 30"), Some(Duration::from_secs(30)));
        assert_eq!(
            limited("toomanyrequests: retry-after: 1m2.5s, allowed: 44000/minute"),
            Some(Duration::from_millis(62_500))
        );
        assert_eq!(
            limited("toomanyrequests: retry-after: 629.351µs, allowed: 44000/minute"),
            Some(Duration::from_nanos(629_351))
        );
        assert_eq!(limited("toomanyrequests: retry-after: soon"), None);
    }
}
