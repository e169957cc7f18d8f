//! Where log lines go: standard error, and nowhere else.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry};

use super::args::{Command, Globals, LogFormat};

/// Starts logging for the rest of the process.
pub fn start(globals: &Globals, command: &Command) {
    let filter = globals.log.clone().unwrap_or_else(|| default_filter(command));
    let ansi = io::stderr().is_terminal() && console::colors_enabled_stderr();
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(ansi).with_target(false);
    let layer = match globals.log_format {
        // The journal stamps lines itself; a terminal wants the words first.
        LogFormat::Text if under_journal() => layer.without_time().boxed(),
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    let subscriber = registry().with(layer.with_filter(filter));
    // Only a second call in one process could fail, and the first one stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// A controller tells what it does; every other command only what is wrong, and
/// `apply` has its own way of showing that.
fn default_filter(command: &Command) -> Targets {
    let ours = match command {
        Command::Run(_) => LevelFilter::INFO,
        Command::Apply(_) => LevelFilter::ERROR,
        Command::Plan(_)
        | Command::Policy(_)
        | Command::Validate(_)
        | Command::Status(_)
        | Command::Wait(_)
        | Command::Retry(_)
        | Command::Rollback(_)
        | Command::Promote(_)
        | Command::Flip(_)
        | Command::Logs(_)
        | Command::History(_)
        | Command::Report(_) => LevelFilter::WARN,
    };
    at_level(ours)
}

/// Reads `--log`. A level alone is about this program: what its libraries say at
/// `debug` would bury it.
///
/// # Errors
///
/// Fails if the text is neither a level nor a list of `MODULE=LEVEL`.
pub fn parse_filter(text: &str) -> Result<Targets, String> {
    match text.parse::<LevelFilter>() {
        Ok(level) => Ok(at_level(level)),
        Err(_) => text.parse::<Targets>().map_err(|error| error.to_string()),
    }
}

fn at_level(ours: LevelFilter) -> Targets {
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("quaymaster", ours)
}

fn under_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}
