//! The proxy: our routes, and everybody else's.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::domain::{
    RouteTable, ServiceName,
    snapshot::{ProxyState, ProxyVersion},
};

/// Somebody else's configuration: a write of ours never changes it.
pub const FOREIGN_ROUTES: &str = "blog.example.com → 10.9.9.9:80";

#[derive(Clone, Debug)]
pub struct Caddy {
    pub table: RouteTable,
    /// Whether our subtree stands exactly as we write it.
    pub intact: bool,
    pub foreign: String,
    pub down_until: i64,
}

impl Caddy {
    pub fn new() -> Caddy {
        Caddy {
            table: RouteTable::new(),
            intact: false,
            foreign: FOREIGN_ROUTES.to_owned(),
            down_until: 0,
        }
    }

    pub fn state(&self) -> ProxyState {
        ProxyState {
            table: self.table.clone(),
            intact: self.intact,
            version: Some(ProxyVersion { major: 2, minor: 11, patch: 0 }),
        }
    }

    /// Makes our part exactly `table`.
    pub fn write(&mut self, table: &RouteTable) {
        self.table = table.clone();
        self.intact = true;
    }

    /// Loses our part: a restart without its saved configuration, or a reload
    /// from a Caddyfile, which only knows the others.
    pub fn wipe(&mut self) {
        self.table.clear();
        self.intact = false;
    }

    /// Drops one service's route by hand.
    pub fn drop_route(&mut self, service: &ServiceName) -> bool {
        let dropped = self.table.remove(service).is_some();
        self.intact &= !dropped;
        dropped
    }

    /// Points one service's route at a nonsense address by hand.
    pub fn misdirect(&mut self, service: &ServiceName) -> bool {
        let Some(state) = self.table.get_mut(service) else { return false };
        let nowhere = SocketAddr::new(IpAddr::from([10, 254, 254, 254]), 1);
        state.backend.dials = BTreeSet::from([nowhere]);
        self.intact = false;
        true
    }

    /// Returns whether requests for any service are sent to this address.
    pub fn names(&self, dial: &SocketAddr) -> bool {
        self.table.values().any(|state| state.backend.dials.contains(dial))
    }
}

impl Default for Caddy {
    fn default() -> Self {
        Caddy::new()
    }
}
