//! What can be typed about the policy of a host.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{FileArg, Globals};
use crate::source::PolicyFile;

/// Where the policy of a host is, unless somebody says otherwise.
const DEFAULT_POLICY: &str = "/etc/quaymaster/policy.yaml";

/// Where the policy of this host is.
#[derive(Clone, Debug, Args)]
pub struct PolicyArg {
    /// What this host lets run: registries, signatures, container options. Without it,
    /// /etc/quaymaster/policy.yaml is read, if there is one
    #[arg(long, global = true, value_name = "FILE", env = "QUAYMASTER_POLICY")]
    #[arg(hide_env_values = true)]
    pub policy: Option<PathBuf>,
}

impl Globals {
    /// Returns where the policy of this host is.
    pub fn policy(&self) -> PolicyFile {
        match &self.policy.policy {
            Some(path) => PolicyFile::Named(path.clone()),
            None => PolicyFile::IfThere(PathBuf::from(DEFAULT_POLICY)),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check that a host with this policy would let the file in
    ///
    /// Needs no Docker: the rules about what the file says are checked as a controller
    /// checks them. Exits with 2 if the file or the policy is not valid, or the file
    /// breaks a rule.
    #[command(after_help = "Examples:\n  \
        quaymaster policy check --policy policy.yaml quaymaster.yaml\n  \
        quaymaster policy check --policy policy.yaml --signatures quaymaster.yaml")]
    Check(PolicyCheckArgs),
}

#[derive(Clone, Debug, Args)]
pub struct PolicyCheckArgs {
    #[command(flatten)]
    pub file: FileArg,
    /// Look also for the signatures of images that are named by digest, with Docker's
    /// credentials; exits with 1 if one is missing or cannot be looked for
    #[arg(long)]
    pub signatures: bool,
}
