//! What can be typed.

mod commands;
mod file;
mod policy;
mod secrets;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

use super::telemetry;
use crate::domain::{HostIdentity, host_identity};

pub use commands::{
    ApplyArgs, Converge, DeletionArg, FlipArgs, HistoryArgs, ListenArgs, LogsArgs, PlanArgs,
    ReportArgs, RetryArgs, RunArgs, ServiceArg, StatusArgs, ValidateArgs, WaitArgs,
};
pub use file::{FileArg, FileOption, GitArgs};
pub use policy::{PolicyArg, PolicyCheckArgs, PolicyCommand};
pub use secrets::{AgeArg, SecretsDirArg};

/// Keeps every service of a file running on this Docker host, and moves
/// traffic between releases through Caddy without a failed request.
#[derive(Debug, Parser)]
#[command(
    name = "quaymaster",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 it failed or is held, 2 the file or the arguments are wrong.\n\n\
                  A first look:\n  \
                  quaymaster validate quaymaster.yaml\n  \
                  quaymaster plan quaymaster.yaml\n  \
                  quaymaster run quaymaster.yaml"
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Where the controller keeps what cannot be observed
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "QUAYMASTER_STATE_DIR",
        default_value = "/var/lib/quaymaster",
        hide_env_values = true
    )]
    pub state_dir: PathBuf,

    /// Where the controller answers
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "QUAYMASTER_SOCKET",
        default_value = "/run/quaymaster/quaymaster.sock",
        hide_env_values = true
    )]
    pub socket: PathBuf,

    /// Print results (and errors) as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Read variables for ${VAR} from this file; of several, a later one wins.
    /// The environment wins over all of them. Without any, the `.env` beside the
    /// desired-state file is read, if there is one
    #[arg(long, global = true, value_name = "FILE", env = "QUAYMASTER_ENV_FILE")]
    #[arg(value_delimiter = ':', hide_env_values = true)]
    pub env_file: Vec<PathBuf>,

    #[command(flatten)]
    pub age: AgeArg,

    /// What this host is called where the file says `hosts:`; without it, the name
    /// that the machine has
    #[arg(long, global = true, value_name = "NAME", env = "QUAYMASTER_HOST_NAME")]
    #[arg(hide_env_values = true)]
    pub host_name: Option<String>,

    /// A label of this host, for `hosts:` in the file; may be given again
    #[arg(long, global = true, value_name = "KEY=VALUE", env = "QUAYMASTER_HOST_LABELS")]
    #[arg(value_delimiter = ',', value_parser = host_identity::label, hide_env_values = true)]
    pub host_label: Vec<(String, String)>,

    #[command(flatten)]
    pub policy: PolicyArg,

    /// What to log: error, warn, info, debug, trace or off; also per module,
    /// `warn,quaymaster::caddy=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "QUAYMASTER_LOG",
        value_parser = telemetry::parse_filter,
        hide_env_values = true
    )]
    pub log: Option<Targets>,

    /// How to log
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "QUAYMASTER_LOG_FORMAT",
        default_value = "text",
        hide_env_values = true
    )]
    pub log_format: LogFormat,
}

/// Which form results have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    People,
    Json,
}

impl Globals {
    pub fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::People }
    }

    /// Returns which host this is.
    pub fn host(&self) -> HostIdentity {
        let named = self.host_name.clone().filter(|name| !name.is_empty());
        let name = named
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        HostIdentity::new(&name, self.host_label.iter().cloned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line a message
    Text,
    /// One JSON object a message
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep converging until told to stop
    ///
    /// Watches the file, Docker and Caddy, and keeps every service of the file at
    /// its declared image, probe and slot. SIGHUP looks at once; SIGTERM and
    /// SIGINT end it: the step in hand is finished, everything keeps running.
    #[command(after_help = "Examples:\n  \
        quaymaster run /etc/quaymaster/quaymaster.yaml\n  \
        quaymaster run --git git@git.example.com:shop/state.git --path stacks/prod.yaml\n  \
        quaymaster run --git … --listen 9180 --webhook-secret-file /etc/quaymaster/webhook")]
    Run(RunArgs),

    /// Converge once, wait for it, exit
    ///
    /// Ends when every service is settled or held. Exits with 1 if any is held
    /// or degraded, and prints why, with the last lines of its log.
    #[command(after_help = "Examples:\n  \
        quaymaster apply quaymaster.yaml\n  \
        quaymaster apply --timeout 10m quaymaster.yaml")]
    Apply(ApplyArgs),

    /// Show what would change, and why; change nothing
    #[command(after_help = "Examples:\n  \
        quaymaster plan quaymaster.yaml\n  \
        quaymaster plan --exit-code quaymaster.yaml || echo 'there is something to do'")]
    Plan(PlanArgs),

    /// Check a file against a policy, as CI does
    #[command(subcommand)]
    #[command(
        after_help = "Example:\n  quaymaster policy check --policy policy.yaml quaymaster.yaml"
    )]
    Policy(PolicyCommand),

    /// Check the file, and nothing else
    #[command(after_help = "Examples:\n  \
        quaymaster validate --env-file .env quaymaster.yaml\n  \
        quaymaster validate --without-secrets stacks/prod.yaml   # in CI")]
    Validate(ValidateArgs),

    /// Show how every service stands
    ///
    /// Asks the running controller; without one it looks for itself, and changes
    /// nothing.
    #[command(after_help = "Examples:\n  \
        quaymaster status --watch\n  \
        quaymaster status --json | jq '.services[] | {name, state, image}'")]
    Status(StatusArgs),

    /// Wait until a commit is in force and everything it declares is settled
    ///
    /// What CI runs after it has pushed. Asks the running controller, on its socket or
    /// over HTTPS. Exits with 1 if a service is held or stays degraded, and prints why;
    /// also if the commit's file is not valid, and when the time is up.
    #[command(after_help = "Examples:\n  \
        quaymaster wait --commit \"$(git rev-parse HEAD)\"\n  \
        QUAYMASTER_TOKEN=… quaymaster wait --url https://deploy.example.com --commit $SHA shop")]
    Wait(WaitArgs),

    /// Try a held release again
    ///
    /// At once, if a controller runs; else with the next `apply` or `run`.
    #[command(after_help = "Example:\n  quaymaster retry orchestrator")]
    Retry(RetryArgs),

    /// Give traffic back to the release before
    #[command(after_help = "Example:\n  quaymaster rollback orchestrator")]
    Rollback(ServiceArg),

    /// Let a release take the traffic that waits for you to say so
    ///
    /// For a service with `rollout: { auto_promote: false }`. Its release takes the
    /// traffic as soon as it is ready and its gates have passed.
    #[command(after_help = "Example:\n  quaymaster promote orchestrator")]
    Promote(ServiceArg),

    /// Write the other slot into the file, keeping every comment
    ///
    /// For a service that declares `slot: blue` or `slot: green`. The running
    /// controller then flips as after any other edit.
    #[command(after_help = "Example:\n  quaymaster flip orchestrator")]
    Flip(FlipArgs),

    /// Show what a service's replicas print
    ///
    /// Of a held service: the log that was kept of the release that failed.
    #[command(after_help = "Examples:\n  \
        quaymaster logs orchestrator --follow\n  \
        quaymaster logs orchestrator --slot blue --tail 20")]
    Logs(LogsArgs),

    /// Show what happened
    #[command(after_help = "Example:\n  quaymaster history orchestrator")]
    History(HistoryArgs),

    /// Show what became of each deployment
    ///
    /// What was deployed and by which commit, how long its parts took, how its gates
    /// came out, and how it did. Of one service: the last deployment in detail.
    #[command(after_help = "Examples:\n  \
        quaymaster report\n  \
        quaymaster report orchestrator\n  \
        quaymaster report orchestrator --last 10 --json")]
    Report(ReportArgs),
}
