//! The proxy: our routes, and everybody else's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{
    domain::{
        RouteTable, ServiceName, Slot,
        snapshot::{FlipMechanism, NameMechanism, ProxyState, ProxyVersion},
    },
    sim::prng,
};

use super::requests::Requests;

/// Somebody else's configuration: a write of ours never changes it.
pub const FOREIGN_ROUTES: &str = "blog.example.com → 10.9.9.9:80";

/// What a scenario's Caddy keeps and tells; decided by its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It names the active slot alone, and counts what it names no more.
    AdminApi,
    /// It goes on naming the idle slot, and counts everything.
    SwitchFile,
    /// It goes on naming the idle slot, and counts only what it names.
    OldSwitchFile,
    /// It names the active slot alone, and its counts are good for nothing.
    OldAdminApi,
}

impl Kind {
    const ALL: [Kind; 4] =
        [Kind::AdminApi, Kind::SwitchFile, Kind::OldSwitchFile, Kind::OldAdminApi];

    fn of(seed: u64) -> Kind {
        let at = usize::try_from(prng::hash(seed, 0, 5) % 4).expect("less than four");
        Kind::ALL[at]
    }

    fn keeps_idle(self) -> bool {
        match self {
            Kind::SwitchFile | Kind::OldSwitchFile => true,
            Kind::AdminApi | Kind::OldAdminApi => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Caddy {
    pub kind: Kind,
    pub table: RouteTable,
    /// What stands there for each slot that was ever written, where it is kept.
    slots: BTreeMap<(ServiceName, Slot), BTreeSet<SocketAddr>>,
    /// Whether our subtree stands exactly as we write it.
    pub intact: bool,
    pub requests: Requests,
    pub foreign: String,
    pub down_until: i64,
}

impl Caddy {
    pub fn new(seed: u64) -> Caddy {
        Caddy {
            kind: Kind::of(seed),
            table: RouteTable::new(),
            slots: BTreeMap::new(),
            intact: false,
            requests: Requests::new(seed),
            foreign: FOREIGN_ROUTES.to_owned(),
            down_until: 0,
        }
    }

    pub fn state(&self) -> ProxyState {
        ProxyState {
            unclear: BTreeSet::new(),
            table: self.table.clone(),
            intact: self.intact,
            idle: self.idle(),
            flip: FlipMechanism::SwitchFile,
            names: NameMechanism::Caddy,
            refused: BTreeMap::new(),
            version: Some(ProxyVersion { major: 2, minor: 11, patch: 0 }),
        }
    }

    fn idle(&self) -> BTreeMap<ServiceName, BTreeSet<SocketAddr>> {
        let idle = self.table.iter().filter_map(|(service, state)| {
            let dials = self.slots.get(&(service.clone(), state.backend.slot.other()))?;
            Some((service.clone(), dials.clone()))
        });
        idle.collect()
    }

    /// Returns every address that stands in the configuration.
    pub fn named(&self) -> BTreeSet<SocketAddr> {
        self.idle().into_values().flatten().chain(self.routed()).collect()
    }

    /// Returns every address that requests are sent to.
    pub fn routed(&self) -> BTreeSet<SocketAddr> {
        self.table.values().flat_map(|state| state.dials().copied()).collect()
    }

    /// Makes our part exactly `table`.
    pub fn write(&mut self, table: &RouteTable) {
        self.table = table.clone();
        self.intact = true;
        self.slots.retain(|(service, _), _| table.contains_key(service));
        if self.kind.keeps_idle() {
            for (service, state) in table {
                let at = (service.clone(), state.backend.slot);
                self.slots.insert(at, state.backend.dials.clone());
            }
        }
    }

    /// Loses our part: a restart without its saved configuration, or a reload
    /// from a Caddyfile, which only knows the others.
    pub fn wipe(&mut self) {
        self.table.clear();
        self.slots.clear();
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
