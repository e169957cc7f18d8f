//! What can be typed about secrets.

use std::path::PathBuf;

use clap::Args;

use crate::{docker, source::AgeIdentity};

/// What decrypts.
#[derive(Clone, Debug, Args)]
pub struct AgeArg {
    /// The age identity that decrypts the file's secrets; without it
    /// /etc/quaymaster/age.key, if there is one
    #[arg(long, global = true, value_name = "FILE", env = "QUAYMASTER_AGE_IDENTITY")]
    #[arg(hide_env_values = true)]
    pub age_identity: Option<PathBuf>,
}

impl AgeArg {
    /// Returns the identity that was named, or the usual one.
    pub fn identity(&self) -> AgeIdentity {
        let named = self.age_identity.clone().filter(|path| !path.as_os_str().is_empty());
        named.map_or_else(AgeIdentity::default, AgeIdentity::named)
    }
}

/// Where secret files are.
#[derive(Clone, Debug, Args)]
pub struct SecretsDirArg {
    /// Where containers' secret files are put: a folder in memory (tmpfs) that outlives
    /// the controller
    #[arg(long, value_name = "DIR", env = "QUAYMASTER_SECRETS_DIR", hide_env_values = true)]
    #[arg(default_value = docker::SECRETS_DIR)]
    pub secrets_dir: PathBuf,
}
