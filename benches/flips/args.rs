//! The arguments.

use std::{env, fmt, path::PathBuf};

use clap::{Parser, ValueEnum};

use super::phase::Phase;

/// Drives clients of seven kinds through flips, deploys, rollbacks and killed
/// replicas, and prints what they noticed. Needs Docker and a Caddy.
#[derive(Debug, Parser)]
#[command(name = "flips")]
pub struct Args {
    /// Flips between two releases that are both warm.
    #[arg(long, value_name = "N", default_value_t = 300)]
    flips: usize,

    /// Deploys of a new release each.
    #[arg(long, value_name = "N", default_value_t = 10)]
    deploys: usize,

    /// Deploys that are taken back by `quaymaster rollback`.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rollbacks: usize,

    /// Replicas of the active release that are killed.
    #[arg(long, value_name = "N", default_value_t = 5)]
    kills: usize,

    /// A Caddy to measure; several times for several. Without it those of
    /// QUAYMASTER_TEST_CADDY, else the one in PATH.
    #[arg(long, value_name = "PATH")]
    caddy: Vec<PathBuf>,

    /// How to flip; several times for several. Without it, both.
    #[arg(long, value_name = "MECHANISM", default_values = ["admin-api", "switch-file"])]
    pub flip: Vec<Mechanism>,

    /// What `cargo bench` always says.
    #[arg(long, hide = true)]
    bench: bool,
}

/// `proxy.caddy.flip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    AdminApi,
    SwitchFile,
}

impl Args {
    /// Returns the Caddys to measure.
    pub fn caddys(&self) -> Vec<PathBuf> {
        if !self.caddy.is_empty() {
            return self.caddy.clone();
        }
        match env::var_os("QUAYMASTER_TEST_CADDY") {
            Some(list) => env::split_paths(&list).collect(),
            None => vec![PathBuf::from("caddy")],
        }
    }

    /// Returns what is to happen, without what is to happen zero times.
    pub fn phases(&self) -> Vec<Phase> {
        let all = [
            Phase::Flips(self.flips),
            Phase::Deploys(self.deploys),
            Phase::Rollbacks(self.rollbacks),
            Phase::Kills(self.kills),
        ];
        all.into_iter().filter(|phase| phase.times() > 0).collect()
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mechanism::AdminApi => "admin-api",
            Mechanism::SwitchFile => "switch-file",
        })
    }
}
