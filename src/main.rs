//! The `quaymaster` command: parse, telemetry, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    quaymaster::cli::main()
}
