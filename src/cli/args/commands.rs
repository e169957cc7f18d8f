//! What can be typed after the name of each command.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use super::{FileArg, FileOption, GitArgs, SecretsDirArg};
use crate::domain::{
    CommitPrefix, ServiceName, Slot,
    manifest::{self, AllowDeleteAll},
};

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

#[derive(Clone, Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    pub file: FileArg,
    /// Ask for no secret's value: for a machine that has none of them, such as CI's
    #[arg(long)]
    pub without_secrets: bool,
}
