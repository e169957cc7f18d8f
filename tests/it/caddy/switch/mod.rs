//! Flips by switch file, with real Caddys: each test with every one there is.

mod crash;
mod damage;
mod flips;
mod sight;

use std::{fs, path::PathBuf};

use quaymaster::domain::{
    ServiceName, Slot,
    snapshot::FlipMechanism,
    stack::{FlipChoice, NameChoice, ProxyConfig},
};
use tempfile::TempDir;

use super::*;
use crate::rig::port;

/// A Caddy, a state folder, and the adapter between them.
struct Quay {
    at: RunningCaddy,
    caddy: Caddy,
    state: TempDir,
    config: ProxyConfig,
    /// Where the one site listens.
    port: u16,
}

impl Quay {
    async fn open(binary: &Path) -> Quay {
        let port = port::free();
        let at = RunningCaddy::start(binary, one_server(port)).await;
        let state = tempfile::tempdir().unwrap();
        let caddy = Caddy::new(&"shop".parse().unwrap(), state.path());
        let config = ProxyConfig { flip: FlipChoice::Auto, ..at.proxy_config() };
        Quay { at, caddy, state, config, port }
    }

    async fn write(&self, table: &RouteTable) {
        self.caddy.write(&self.config, table).await.unwrap();
    }

    async fn observe(&self) -> ProxyState {
        self.caddy.observe(&self.config).await.unwrap()
    }

    /// Asserts that exactly this table stands, by switch file.
    async fn assert_stands(&self, table: &RouteTable) {
        let seen = self.observe().await;
        assert_eq!(&seen.table, table);
        assert!(seen.intact, "{:?}\n{}", self.files(), self.at.read("apps").await);
        assert_eq!(seen.flip, FlipMechanism::SwitchFile);
    }

    /// Returns what Caddy's configuration is, byte for byte.
    async fn configured(&self) -> Vec<u8> {
        self.at.read_bytes("apps").await
    }

    fn folder(&self) -> PathBuf {
        self.state.path().join("switch/shop")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Returns the names of the switch files, sorted.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder()).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.contains('.')).collect();
        names.sort();
        names
    }
}

fn service() -> ServiceName {
    "web".parse().unwrap()
}

/// A table of one service, of this release in this slot.
fn release(slot: Slot, release: &str, dials: &[SocketAddr]) -> RouteTable {
    let mut state = state(HOST, "/*", slot, dials);
    state.backend.release = release.to_owned().try_into().unwrap();
    table(&[("web", state)])
}

/// The table with the other one's release to catch.
fn with_standby(active: &RouteTable, standby: &RouteTable) -> RouteTable {
    let mut table = active.clone();
    for (name, state) in &mut table {
        state.standby = Some(standby[name].backend.clone());
    }
    table
}
