//! Tests that need another process run this binary again, for one ignored test.

use std::process::{Command, Stdio};

/// Names the environment variable that tells a child it is one.
pub const CHILD: &str = "QUAYMASTER_TEST_CHILD";

/// Returns a command that runs only `test` (its full path) in a new process,
/// with `argument` as what [`argument`] returns there. Its standard output is
/// piped, and begins with lines of the test harness.
pub fn running(test: &str, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("we run from a file"));
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Returns the argument a child was started with; None in any other process,
/// such as one told to run all ignored tests.
pub fn argument() -> Option<String> {
    std::env::var(CHILD).ok()
}
