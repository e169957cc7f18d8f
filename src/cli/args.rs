//! What can be typed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

use crate::domain::{
    CommitPrefix, HostIdentity, ServiceName, Slot, host_identity,
    manifest::{self, AllowDeleteAll},
};

use super::{
    error::CommandError,
    policy::{PolicyArg, PolicyCommand},
    secret_args::{AgeArg, SecretsDirArg, ValidateArgs},
    telemetry,
};

/// The file that commands are about when none is named.
pub const DEFAULT_FILE: &str = "quaymaster.yaml";

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

#[derive(Clone, Debug, Args)]
pub struct FileArg {
    /// The desired-state file
    #[arg(value_name = "FILE", env = "QUAYMASTER_FILE", default_value = DEFAULT_FILE)]
    #[arg(hide_env_values = true)]
    pub file: PathBuf,
}

/// Where the file is, for commands whose own argument is a service.
#[derive(Clone, Debug, Args)]
pub struct FileOption {
    /// The desired-state file, if no controller runs that knows it
    #[arg(long, value_name = "FILE", env = "QUAYMASTER_FILE", hide_env_values = true)]
    pub file: Option<PathBuf>,
}

impl FileOption {
    /// Returns the file that was named, or the one that commands fall back to while no
    /// controller answers.
    ///
    /// # Errors
    ///
    /// Fails if none was named and that one is not here.
    pub fn or_default(&self) -> Result<PathBuf, CommandError> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None if Path::new(DEFAULT_FILE).exists() => Ok(PathBuf::from(DEFAULT_FILE)),
            None => Err(CommandError::NoFile),
        }
    }
}

/// A file on a branch of a Git repository, instead of one on this host.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "From Git")]
pub struct GitArgs {
    /// Read the file from this Git repository: a URL as `git clone` takes it
    #[arg(long, value_name = "URL", env = "QUAYMASTER_GIT", conflicts_with = "file")]
    #[arg(hide_env_values = true)]
    pub git: Option<String>,

    /// The branch that is followed
    #[arg(long, value_name = "BRANCH", env = "QUAYMASTER_GIT_BRANCH", default_value = "main")]
    #[arg(requires = "git", hide_env_values = true)]
    pub branch: String,

    /// The desired-state file in the repository
    #[arg(long, value_name = "PATH", env = "QUAYMASTER_GIT_PATH", default_value = DEFAULT_FILE)]
    #[arg(requires = "git", hide_env_values = true)]
    pub path: String,

    /// How often to look whether the branch has moved (`30s`, `5m`); a webhook or
    /// SIGHUP makes it look at once
    #[arg(long, value_name = "DURATION", env = "QUAYMASTER_GIT_INTERVAL", default_value = "60s")]
    #[arg(value_parser = interval, requires = "git", hide_env_values = true)]
    pub interval: Duration,

    /// Follow the branch also where its history was rewritten. Without this, a commit
    /// that does not descend from the one in force is not followed, and status says so
    #[arg(long, requires = "git")]
    pub allow_force: bool,
}

/// Reads an interval; what is shorter than a second would be a load and no gain.
fn interval(text: &str) -> Result<Duration, String> {
    match manifest::duration(text) {
        Ok(interval) if interval < Duration::from_secs(1) => {
            Err("it cannot be shorter than 1s".to_owned())
        }
        Ok(interval) => Ok(interval),
        Err(why) => Err(why.to_string()),
    }
}

#[derive(Clone, Debug, Args)]
pub struct Converge {
    #[command(flatten)]
    pub file: FileArg,
    #[command(flatten)]
    pub git: GitArgs,
    #[command(flatten)]
    pub deletion: DeletionArg,
    /// How many images to pull at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=32))]
    pub max_pulls: u8,
    #[command(flatten)]
    pub secrets: SecretsDirArg,
}

#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub converge: Converge,
    #[command(flatten)]
    pub listen: ListenArgs,
}

/// What answers over TCP.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Over HTTP")]
pub struct ListenArgs {
    /// Answer `GET /healthz` at this address, and what the options below switch on; a
    /// port alone is one of 127.0.0.1. TLS is for a proxy in front of it
    #[arg(long, value_name = "ADDRESS", env = "QUAYMASTER_LISTEN", value_parser = address)]
    #[arg(hide_env_values = true)]
    pub listen: Option<SocketAddr>,

    /// Let `POST /hooks/git` make the controller look at the branch at once, if it is
    /// signed with the secret in this file, as GitHub, Gitea and GitLab do
    #[arg(long, value_name = "FILE", env = "QUAYMASTER_WEBHOOK_SECRET_FILE")]
    #[arg(requires_all = ["listen", "git"], hide_env_values = true)]
    pub webhook_secret_file: Option<PathBuf>,

    /// Answer `GET /v1/status` to whoever sends the token in this file as `Authorization:
    /// Bearer TOKEN`: `quaymaster wait --url` does
    #[arg(long, value_name = "FILE", env = "QUAYMASTER_STATUS_TOKEN_FILE", requires = "listen")]
    #[arg(hide_env_values = true)]
    pub status_token_file: Option<PathBuf>,
}

/// Reads `ADDRESS:PORT`, or a port of this host alone.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    match port {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().map_err(|_| "write a port, or `ADDRESS:PORT`".to_owned()),
    }
}

#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Only these services; without any, all of them
    #[arg(value_name = "SERVICE")]
    pub services: Vec<ServiceName>,
    /// Wait until this commit is in force; at least its first 7 digits. Without it,
    /// whatever is in force counts
    #[arg(long, value_name = "SHA")]
    pub commit: Option<CommitPrefix>,
    /// Give up after this long (`90s`, `10m`), and exit with 1
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    #[arg(value_parser = manifest::duration)]
    pub timeout: Duration,
    /// Ask the controller that answers here, instead of the one on this host
    #[arg(long, value_name = "URL", env = "QUAYMASTER_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// The token that it wants: the first line of this file; else the environment variable
    /// QUAYMASTER_TOKEN
    #[arg(long, value_name = "FILE", env = "QUAYMASTER_TOKEN_FILE", requires = "url")]
    #[arg(hide_env_values = true)]
    pub token_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub converge: Converge,
    /// Give up waiting after this long (`90s`, `10m`), and exit with 1; what runs is
    /// left running. Without it, a Docker or Caddy that is down is waited for
    #[arg(long, value_name = "DURATION", value_parser = manifest::duration)]
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub struct DeletionArg {
    /// Accept a file without any service, which removes all that run
    #[arg(long)]
    pub allow_delete_all: bool,
}

impl DeletionArg {
    pub fn allowed(&self) -> AllowDeleteAll {
        if self.allow_delete_all { AllowDeleteAll::Yes } else { AllowDeleteAll::No }
    }
}

#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub file: FileArg,
    #[command(flatten)]
    pub deletion: DeletionArg,
    /// Exit with 2 if there is something to do
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub file: FileOption,
    /// Keep showing; when not on a terminal, print a line for each change
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Clone, Debug, Args)]
pub struct ServiceArg {
    /// The service's name in the file
    #[arg(value_name = "SERVICE")]
    pub service: ServiceName,
}

#[derive(Clone, Debug, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub service: ServiceArg,
    #[command(flatten)]
    pub file: FileOption,
}

#[derive(Clone, Debug, Args)]
pub struct FlipArgs {
    #[command(flatten)]
    pub service: ServiceArg,
    #[command(flatten)]
    pub file: FileOption,
}

#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    pub service: ServiceArg,
    #[command(flatten)]
    pub file: FileOption,
    /// Keep printing what is new
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines to begin with
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    pub tail: usize,
    /// The replicas of this slot, whatever serves or is held
    #[arg(long, value_name = "SLOT", value_parser = |text: &str| text.parse::<Slot>())]
    pub slot: Option<Slot>,
}

#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub file: FileOption,
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    pub service: Option<ServiceName>,
    /// How many of the last events
    #[arg(short = 'n', long, value_name = "EVENTS", default_value_t = 50)]
    pub tail: usize,
}

#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub file: FileOption,
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    pub service: Option<ServiceName>,
    /// How many of the last deployments; without it 20 of the whole stack, and one of
    /// a service. One alone is shown in detail
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
}
