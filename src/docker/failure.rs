//! What Docker refuses, in its own words, as [`Failure`]s.

use std::{error::Error as _, future::Future, time::Duration};

use crate::domain::{
    snapshot::{Failure, FailureKind},
    time::human,
};

/// The most characters of Docker's words that a failure carries.
const MAX_WORDS: usize = 1000;

/// One call to the engine that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("Docker did not answer within {}", human(*.0))]
    Deadline(Duration),
    #[error(transparent)]
    Docker(#[from] bollard::errors::Error),
}

/// Makes one call with a deadline over all of it. Bollard's own covers the
/// response's headers only, so a body that stops half-way would hang forever.
pub(super) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(CallError::Deadline(deadline)),
    }
}

impl CallError {
    /// Returns the HTTP status, if the engine answered at all.
    pub fn status(&self) -> Option<u16> {
        match self {
            CallError::Docker(bollard::errors::Error::DockerResponseServerError {
                status_code,
                ..
            }) => Some(*status_code),
            CallError::Docker(_) | CallError::Deadline(_) => None,
        }
    }

    /// Returns whether these are the engine's words: it was reached and refused.
    pub fn is_answer(&self) -> bool {
        use bollard::errors::Error;
        matches!(
            self,
            CallError::Docker(
                Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. }
            )
        )
    }

    /// Returns whether the engine said this, in any case.
    pub fn says(&self, text: &str) -> bool {
        self.words().to_lowercase().contains(&text.to_lowercase())
    }

    /// Returns what the engine said, or why it could not be asked.
    pub fn words(&self) -> String {
        use bollard::errors::Error;
        let words = match self {
            CallError::Deadline(_) => self.to_string(),
            CallError::Docker(Error::DockerResponseServerError { message, .. }) => message.clone(),
            CallError::Docker(Error::DockerStreamError { error }) => error.clone(),
            CallError::Docker(Error::RequestTimeoutError) => {
                "Docker did not answer in time".to_owned()
            }
            CallError::Docker(other) => format!("Docker does not answer: {}", root_cause(other)),
        };
        words.trim().chars().take(MAX_WORDS).collect()
    }

    /// Returns the failure of `doing`, with the meaning that the caller found in it.
    pub fn into_failure(self, kind: FailureKind, doing: &str) -> Failure {
        Failure { kind, message: format!("cannot {doing}: {}", self.words()) }
    }

    /// Returns the failure of `doing` as one that may pass by itself.
    pub fn transient(self, doing: &str) -> Failure {
        self.into_failure(FailureKind::Transient, doing)
    }
}

fn root_cause(error: &bollard::errors::Error) -> String {
    // Hyper's own text ("client error (Connect)") says nothing; its cause does.
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        cause = source.to_string();
        next = source.source();
    }
    cause
}

/// Returns what a refused start means: a container that can never start as it
/// is, or one that may when its surroundings change.
pub(super) fn of_start(error: &CallError) -> FailureKind {
    // Measured on 20.10: a command that is missing or may not be executed is a
    // 400, a port that is taken a 500, a network that is gone a 404.
    let never = [
        "executable file not found",
        "exec format error",
        "unable to find user",
        "unable to find group",
    ];
    if error.status() == Some(400) || never.iter().any(|words| error.says(words)) {
        FailureKind::Refused
    } else {
        FailureKind::Transient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status_code: u16, message: &str) -> CallError {
        CallError::Docker(bollard::errors::Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        })
    }

    #[test]
    fn a_taken_port_may_become_free_and_a_missing_command_may_not() {
        let taken = answered(500, "Bind for 0.0.0.0:80 failed: port is already allocated");
        assert_eq!(of_start(&taken), FailureKind::Transient);
        let missing = answered(400, "exec: \"nope\": executable file not found in $PATH");
        assert_eq!(of_start(&missing), FailureKind::Refused);
        let network = answered(404, "network a_default not found");
        assert_eq!(of_start(&network), FailureKind::Transient);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_meets_the_deadline() {
        let deadline = Duration::from_millis(3);
        let never = std::future::pending::<Result<(), bollard::errors::Error>>();
        let error = within(deadline, never).await.expect_err("it never answers");
        assert_eq!(error.words(), "Docker did not answer within 3ms");
        assert_eq!(error.status(), None);
    }
}
