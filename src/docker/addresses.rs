//! Whose addresses are whose: on the networks of this stack, what it may assign
//! and what containers have, whoever made them.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::{ContainerSummary, EndpointSettings, Ipam, Network},
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions},
};
use std::net::IpAddr;

use crate::domain::{
    Subnet,
    snapshot::{AddressRange, Gateway, HostNetwork},
};

use super::{
    Docker,
    connection::CALL_DEADLINE,
    failure::{CallError, within},
    subnet,
};

impl Docker {
    /// Lists all networks; of those with addresses of ours, all containers too.
    pub(super) async fn look_at_networks(
        &self,
    ) -> Result<BTreeMap<String, HostNetwork>, CallError> {
        let listing = self.client.list_networks(None::<ListNetworksOptions>);
        let mut networks: BTreeMap<String, HostNetwork> = BTreeMap::new();
        for network in within(CALL_DEADLINE, listing).await? {
            let ours = if self.is_own(&network) { ours(&network) } else { None };
            if let Some(name) = network.name {
                let gateway = gateway(network.driver.as_deref(), network.internal, network.ipam);
                let seen = HostNetwork { ours, taken: BTreeMap::new(), gateway };
                networks.insert(name, seen);
            }
        }
        let shared = networks.iter().filter(|(_, network)| network.ours.is_some());
        let shared: Vec<String> = shared.map(|(name, _)| name.clone()).collect();
        if shared.is_empty() {
            return Ok(networks);
        }
        // Also those that do not run: an address that was assigned is theirs.
        let filters = HashMap::from([("network".to_owned(), shared)]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for container in within(CALL_DEADLINE, self.client.list_containers(Some(options))).await? {
            for (network, address) in addresses(&container) {
                if let Some(seen) = networks.get_mut(&network).filter(|n| n.ours.is_some()) {
                    seen.taken.insert(address, name(&container));
                }
            }
        }
        Ok(networks)
    }
}

fn ours(network: &Network) -> Option<AddressRange> {
    let configs = network.ipam.as_ref()?.config.as_ref()?;
    configs.iter().find_map(subnet::ours)
}

/// Returns this host's own address on a bridge with a way out.
fn gateway(driver: Option<&str>, internal: Option<bool>, ipam: Option<Ipam>) -> Option<Gateway> {
    if driver != Some("bridge") || internal == Some(true) {
        return None;
    }
    ipam?.config?.into_iter().find_map(|config| {
        let address = config.gateway?.parse().ok()?;
        let (_, prefix) = config.subnet.as_deref()?.split_once('/')?;
        Some(Gateway { address, subnet: Subnet::around(address, prefix.parse().ok()?)? })
    })
}

/// Returns every address that a container has or was assigned, by network.
fn addresses(container: &ContainerSummary) -> Vec<(String, IpAddr)> {
    let settings = container.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    let of_endpoint = |(network, endpoint): (&String, &EndpointSettings)| {
        let assigned = endpoint.ipam_config.as_ref();
        let texts = [&endpoint.ip_address, &assigned.and_then(|ipam| ipam.ipv4_address.clone())];
        let addresses = texts.map(|text| text.as_deref().and_then(|text| text.parse().ok()));
        addresses.map(|address| address.map(|address| (network.clone(), address)))
    };
    networks.into_iter().flatten().flat_map(of_endpoint).flatten().collect()
}

fn name(container: &ContainerSummary) -> String {
    let first = container.names.iter().flatten().next();
    first.map_or(String::new(), |name| name.trim_start_matches('/').to_owned())
}
