//! Floor 4: the command line.
//!
//! [`args`] says what can be typed; one file a command does it; [`view`] makes
//! what is shown, [`report`] what is said of an error. Results go to standard
//! output, everything else to standard error.

mod apply;
pub mod args;
mod bars;
pub mod changes;
pub mod client;
pub mod deployments;
pub mod error;
mod exit;
mod flip;
pub mod history;
mod in_force;
mod logs;
mod look;
mod outcome;
mod plan;
pub mod policy;
mod print;
mod promote;
mod public_client;
pub mod report;
mod retry;
mod rollback;
mod run;
mod screen;
mod session;
mod status;
mod telemetry;
mod validate;
pub mod view;
pub mod wait;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tokio::runtime;

use args::{Cli, Command, Globals, PolicyCommand};
use error::CommandError;
pub use exit::Exit;
use view::Page;

/// How long what is still going on in the background may keep the process.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let Cli { globals, command } = Cli::parse();
    telemetry::start(&globals, &command);
    let exit = run_to_end(&globals, command).unwrap_or_else(|error| {
        eprintln!("{}", report::render(Page::of_stderr(), globals.output(), &error));
        report::exit(&error)
    });
    exit.into()
}

fn run_to_end(globals: &Globals, command: Command) -> Result<Exit, CommandError> {
    let runtime =
        runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let result = runtime.block_on(perform(globals, command));
    runtime.shutdown_timeout(END_TIMEOUT);
    result
}

async fn perform(globals: &Globals, command: Command) -> Result<Exit, CommandError> {
    match command {
        Command::Run(args) => run::run(globals, &args).await,
        Command::Apply(args) => apply::apply(globals, &args).await,
        Command::Plan(args) => plan::plan(globals, &args).await,
        Command::Policy(PolicyCommand::Check(args)) => policy::check(globals, &args).await,
        Command::Validate(args) => validate::validate(globals, &args).await,
        Command::Status(args) => status::status(globals, &args).await,
        Command::Wait(args) => wait::wait(globals, &args).await,
        Command::Retry(args) => retry::retry(globals, &args).await,
        Command::Rollback(args) => rollback::rollback(globals, &args).await,
        Command::Promote(args) => promote::promote(globals, &args).await,
        Command::Flip(args) => flip::flip(globals, &args).await,
        Command::Logs(args) => logs::logs(globals, &args).await,
        Command::History(args) => history::history(globals, &args).await,
        Command::Report(args) => deployments::report(globals, &args).await,
    }
}
