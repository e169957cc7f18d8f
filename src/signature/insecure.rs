//! Which registries may be asked without TLS: those on this host, and those that Docker
//! is told are so.

use std::{net::IpAddr, path::Path};

use serde::Deserialize;

/// Whether a registry that does not speak TLS is asked all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayBePlain {
    Yes,
    No,
}

#[derive(Default, Deserialize)]
struct Daemon {
    #[serde(default, rename = "insecure-registries")]
    insecure_registries: Vec<String>,
}

/// Decides as Docker does; networks in its list (`10.0.0.0/8`) are not looked at.
pub(super) async fn may_be_plain(registry: &str, daemon_config: &Path) -> MayBePlain {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback || host == "localhost" {
        return MayBePlain::Yes;
    }
    let text = tokio::fs::read(daemon_config).await.unwrap_or_default();
    let daemon: Daemon = serde_json::from_slice(&text).unwrap_or_default();
    match daemon.insecure_registries.iter().any(|named| named == registry) {
        true => MayBePlain::Yes,
        false => MayBePlain::No,
    }
}
