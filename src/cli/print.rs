//! Results go to standard output, and to nowhere else.

use std::io::{self, Write};

use serde::Serialize;

use super::{args::Output, error::CommandError};
use crate::server::api::Accepted;

/// Prints lines for people.
///
/// # Errors
///
/// Fails if standard output cannot be written; a reader that has gone away
/// (`| head`) is no error.
pub fn lines(lines: &[String]) -> Result<(), CommandError> {
    let mut text = lines.join("\n");
    text.push('\n');
    write(&text)
}

/// Prints one value as JSON, indented, as programs and people can both read it.
///
/// # Errors
///
/// As [`lines`].
pub fn json(value: &impl Serialize) -> Result<(), CommandError> {
    let mut text = serde_json::to_string_pretty(value).expect("plain data serialises");
    text.push('\n');
    write(&text)
}

/// Prints one value as JSON on a line of its own, for a stream of values.
///
/// # Errors
///
/// As [`lines`].
pub fn json_line(value: &impl Serialize) -> Result<(), CommandError> {
    let mut text = serde_json::to_string(value).expect("plain data serialises");
    text.push('\n');
    write(&text)
}

/// Prints text as it is.
///
/// # Errors
///
/// As [`lines`].
pub fn write(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(CommandError::Print),
    }
}

/// Prints that a request is followed.
///
/// # Errors
///
/// As [`lines`].
pub fn accepted(output: Output, accepted: &Accepted) -> Result<(), CommandError> {
    match output {
        Output::Json => json(accepted),
        Output::People => lines(std::slice::from_ref(&accepted.text)),
    }
}
