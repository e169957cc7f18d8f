//! Slots of a service that runs elsewhere: each is a list of addresses.
//!
//! Nothing of it is created or stopped here. Each address stands as a replica that
//! runs, so that probes, gates, flips and the bake are those of any other service.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    Container, ContainerId, Digest, Fingerprint, Resolution, Service, Slot, Stack,
    snapshot::ContainerState,
};

/// What the addresses stand under in place of a network's name.
const NETWORK: &str = "upstreams";

/// Returns the replicas that the addresses of a stack's services stand for.
pub fn containers(stack: &Stack) -> Vec<Container> {
    stack.services.values().flat_map(of_service).collect()
}

/// Returns what the addresses of a slot are in place of an image.
pub fn resolution(service: &Service, slot: Slot) -> Option<Resolution> {
    let dials = service.upstreams.as_ref()?.get(&slot)?;
    let digest = format!("sha256:{}", Fingerprint::of(dials).as_str());
    let digest: Digest = digest.parse().expect("a fingerprint is 64 hexadecimal digits");
    Some(Resolution { image_id: digest.clone(), digest })
}

fn of_service(service: &Service) -> Vec<Container> {
    let slots = service.upstreams.iter().flatten();
    let of_slot = slots.filter_map(|(slot, dials)| {
        let found = resolution(service, *slot)?;
        let release = service.release(found.digest.clone(), found.image_id.clone());
        let first = dials.first()?;
        Some(dials.iter().zip(1..).map(move |(dial, replica)| Container {
            id: ContainerId(format!("{}/{slot}/{dial}", service.name)),
            name: dial.to_string(),
            service: service.name.clone(),
            slot: *slot,
            release: release.id.clone(),
            replica,
            image: first.to_string().parse().unwrap_or_else(|_| service.image.clone()),
            digest: found.digest.clone(),
            image_id: found.image_id.clone(),
            route_port: Some(dial.port()),
            state: ContainerState::Running { health: None },
            addresses: BTreeMap::from([(NETWORK.to_owned(), dial.ip())]),
            gateways: BTreeMap::new(),
            calls_by_proxy: BTreeSet::new(),
            created_at: 0,
        }))
    });
    of_slot.flatten().collect()
}
