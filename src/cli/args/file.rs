//! Which file a command is about: one on this host, or one on a branch.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use crate::{cli::error::CommandError, domain::manifest};

/// The file that commands are about when none is named.
pub const DEFAULT_FILE: &str = "quaymaster.yaml";

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
            None => Err(CommandError::NoFile(DEFAULT_FILE)),
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
