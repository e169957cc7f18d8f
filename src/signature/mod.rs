//! Signatures of images, as cosign makes them with a key, looked up in the registry.
//!
//! ```text
//! verify ─ find (which signatures the registry has) ─ registry (asking it)
//!    └──── judge: simple_signing, bundle ─ key
//! ```
//!
//! Both published formats count: the `.sig` tag with simple-signing payloads, and the
//! Sigstore bundle that cosign 3 writes as an OCI referrer. What says what was signed is
//! judged by pure functions; what the registry hands out is believed only as far as a
//! digest or a signature holds it. Deliberately absent: certificates, transparency logs
//! and timestamps. Whoever has the private key signs, and nobody else is asked.

mod bundle;
mod challenge;
mod failure;
mod find;
mod flaw;
mod insecure;
mod key;
mod registry;
#[cfg(test)]
mod sample;
mod simple_signing;

use std::{path::PathBuf, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, timeout_at};

use crate::{
    credentials,
    domain::{SignatureWanted, snapshot::Failure},
    http::Connector,
    ports::Verifier,
};

use failure::{transient, unsigned};
use find::Found;
use flaw::Flaw;
use registry::Registry;

/// How long one look at a registry may take, all in all.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the verifier takes from the host.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with Docker's `config.json`; None asks without credentials.
    pub docker_config: Option<PathBuf>,
    /// Docker's own settings, of which the registries without TLS are taken.
    pub daemon_config: PathBuf,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            docker_config: credentials::default_folder(),
            daemon_config: PathBuf::from("/etc/docker/daemon.json"),
        }
    }
}

/// Looks for signatures in registries.
pub struct Signatures {
    connector: Connector,
    options: Options,
}

impl Signatures {
    pub fn new(options: Options) -> Signatures {
        Signatures { connector: Connector::by_environment(), options }
    }

    async fn look(&self, wanted: &SignatureWanted, until: Instant) -> Result<(), Failure> {
        let name = &wanted.image.name;
        let (host, repository) = name.split_once('/').unwrap_or(("", name));
        let login = credentials::of_registry(self.options.docker_config.as_deref(), host).await?;
        let may_be_plain = insecure::may_be_plain(host, &self.options.daemon_config).await;
        let registry =
            Registry::reach(&self.connector, (host, repository), login, may_be_plain, until)
                .await?;
        let mut seen = Vec::new();
        let mut trouble = None;
        // The newer format first: it is what cosign writes today.
        let formats =
            [find::bundles(&registry, wanted).boxed(), find::simple(&registry, wanted).boxed()];
        for format in formats {
            match format.await {
                Ok(Found::Signed) => return Ok(()),
                Ok(Found::Unsigned(flaws)) => seen.extend::<Vec<Flaw>>(flaws),
                Err(failure) => trouble = trouble.or(Some(failure)),
            }
        }
        // What could not be looked at may be what was wanted.
        Err(trouble.unwrap_or_else(|| unsigned(wanted, &seen)))
    }
}

impl Verifier for Signatures {
    fn verify<'a>(&'a self, wanted: &'a SignatureWanted) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let until = Instant::now() + DEADLINE;
            match timeout_at(until, self.look(wanted, until)).await {
                Ok(looked) => looked,
                Err(_elapsed) => Err(transient(&wanted.image.name, "no answer in time")),
            }
        })
    }
}
