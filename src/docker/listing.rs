//! One line of Docker's container list, read as a [`Container`] or, of a gate, a
//! [`JobContainer`].
//!
//! The list alone must do, because a pass that changes nothing inspects
//! nothing: exit codes, and on older engines health, are read from the text that
//! `docker ps` shows.

use std::{collections::BTreeMap, net::IpAddr};

use bollard::models::{
    ContainerSummary, ContainerSummaryHealthStatusEnum as ListedHealth,
    ContainerSummaryStateEnum as ListedState, EndpointSettings,
};

use crate::domain::{
    Container, ContainerId, GateKey, Subnet,
    image::BadImage,
    snapshot::{ContainerState, Gateway, Health, JobContainer},
};

use super::labels::{self, BadLabels};

/// The exit code of a container whose list entry tells none: never a success.
const UNKNOWN_EXIT_CODE: i64 = -1;

/// Why a container that carries our stack's label cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the engine lists no {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Labels(#[from] BadLabels),
    #[error(transparent)]
    Image(#[from] BadImage),
}

/// What one entry of the list is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Replica(Box<Container>),
    Job(Box<JobContainer>),
}

/// Reads one entry of the list.
pub(super) fn read(summary: ContainerSummary) -> Result<Entry, Unreadable> {
    let identity = labels::read(summary.labels.as_ref().ok_or(Unreadable::Missing("labels"))?)?;
    let state = state(&summary)?;
    let (addresses, gateways) = match state {
        ContainerState::Running { .. } => (addresses(&summary), gateways(&summary)),
        // It still shows its old address, which may be another's by now.
        ContainerState::Created
        | ContainerState::Restarting
        | ContainerState::Paused
        | ContainerState::Exited { .. }
        | ContainerState::Removing => (BTreeMap::new(), BTreeMap::new()),
    };
    let name = name(&summary).ok_or(Unreadable::Missing("name"))?;
    let id = ContainerId(summary.id.ok_or(Unreadable::Missing("id"))?);
    let image_id = summary.image_id.ok_or(Unreadable::Missing("image id"))?.parse()?;
    let created_at = summary.created.unwrap_or(0);
    if let Some(gate) = identity.job {
        let key = GateKey { service: identity.service, release: identity.release, gate };
        let digest = identity.digest;
        let job = JobContainer { id, name, key, digest, image_id, state, created_at };
        return Ok(Entry::Job(Box::new(job)));
    }
    Ok(Entry::Replica(Box::new(Container {
        name,
        id,
        service: identity.service,
        slot: identity.slot,
        release: identity.release,
        replica: identity.replica,
        image: identity.image,
        digest: identity.digest,
        image_id,
        route_port: identity.route_port,
        state,
        addresses,
        gateways,
        calls_by_proxy: identity.calls_by_proxy,
        created_at,
    })))
}

fn name(summary: &ContainerSummary) -> Option<String> {
    // Legacy links add names such as `/other/alias`; our own has one slash.
    let names = summary.names.as_ref()?;
    names
        .iter()
        .filter_map(|name| name.strip_prefix('/'))
        .find(|n| !n.contains('/'))
        .map(str::to_owned)
}

fn state(summary: &ContainerSummary) -> Result<ContainerState, Unreadable> {
    let status = summary.status.as_deref().unwrap_or_default();
    Ok(match summary.state {
        Some(ListedState::CREATED) => ContainerState::Created,
        // Until it has stopped it still runs.
        Some(ListedState::RUNNING | ListedState::STOPPING) => {
            ContainerState::Running { health: health(summary, status) }
        }
        Some(ListedState::RESTARTING) => ContainerState::Restarting,
        Some(ListedState::PAUSED) => ContainerState::Paused,
        Some(ListedState::EXITED) => ContainerState::Exited { code: exit_code(status) },
        Some(ListedState::REMOVING | ListedState::DEAD) => ContainerState::Removing,
        Some(ListedState::EMPTY) | None => return Err(Unreadable::Missing("state")),
    })
}

/// Reads `Exited (137) 2 seconds ago`.
fn exit_code(status: &str) -> i64 {
    status
        .strip_prefix("Exited (")
        .and_then(|rest| rest.split_once(')'))
        .and_then(|(code, _)| code.parse().ok())
        .unwrap_or(UNKNOWN_EXIT_CODE)
}

fn health(summary: &ContainerSummary, status: &str) -> Option<Health> {
    let listed = summary.health.as_ref().and_then(|health| health.status);
    match listed {
        Some(ListedHealth::STARTING) => Some(Health::Starting),
        Some(ListedHealth::HEALTHY) => Some(Health::Healthy),
        Some(ListedHealth::UNHEALTHY) => Some(Health::Unhealthy),
        Some(ListedHealth::NONE | ListedHealth::EMPTY) => None,
        // Before API 1.52 the list has no such field, only `Up 3 minutes (healthy)`.
        None if status.ends_with("(healthy)") => Some(Health::Healthy),
        None if status.ends_with("(unhealthy)") => Some(Health::Unhealthy),
        None if status.ends_with("(health: starting)") => Some(Health::Starting),
        None => None,
    }
}

fn addresses(summary: &ContainerSummary) -> BTreeMap<String, IpAddr> {
    let with_address = |(network, endpoint): (&String, &EndpointSettings)| {
        Some((network.clone(), address(endpoint)?))
    };
    endpoints(summary).filter_map(with_address).collect()
}

fn gateways(summary: &ContainerSummary) -> BTreeMap<String, Gateway> {
    let with_gateway = |(network, endpoint): (&String, &EndpointSettings)| {
        Some((network.clone(), gateway(endpoint)?))
    };
    endpoints(summary).filter_map(with_gateway).collect()
}

fn endpoints(summary: &ContainerSummary) -> impl Iterator<Item = (&String, &EndpointSettings)> {
    let settings = summary.network_settings.as_ref();
    settings.and_then(|settings| settings.networks.as_ref()).into_iter().flatten()
}

/// None on a network without a way out: there the field is empty.
fn gateway(endpoint: &EndpointSettings) -> Option<Gateway> {
    let address = endpoint.gateway.as_deref()?.parse().ok()?;
    let prefix = u8::try_from(endpoint.ip_prefix_len?).ok()?;
    Some(Gateway { address, subnet: Subnet::around(address, prefix)? })
}

fn address(endpoint: &EndpointSettings) -> Option<IpAddr> {
    let parse = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    parse(&endpoint.ip_address).or_else(|| parse(&endpoint.global_ipv6_address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::tests::new_container;

    fn read(summary: ContainerSummary) -> Result<Container, Unreadable> {
        match super::read(summary)? {
            Entry::Replica(container) => Ok(*container),
            Entry::Job(job) => panic!("{} was taken for a job", job.name),
        }
    }

    /// An entry as the engine lists it, with our labels.
    fn listed(state: &str, status: &str) -> ContainerSummary {
        let stack = "shop".parse().expect("a name");
        let json = serde_json::json!({
            "Id": "4f1c", "Names": ["/db/link", "/shop-web-blue-1"], "Created": 1700000000,
            "ImageID": format!("sha256:{}", "a".repeat(64)),
            "State": state, "Status": status,
            "Labels": labels::of_new(&stack, &new_container("web")),
            "NetworkSettings": { "Networks": {
                "shop_default": { "IPAddress": "172.18.0.3", "GlobalIPv6Address": "",
                    "Gateway": "172.18.0.1", "IPPrefixLen": 16 },
                "six": { "IPAddress": "", "GlobalIPv6Address": "fd00::3" },
                "none": { "IPAddress": "", "GlobalIPv6Address": "", "Gateway": "", "IPPrefixLen": 0 },
            } },
        });
        serde_json::from_value(json).expect("bollard's own shape")
    }

    #[test]
    fn a_running_container_has_its_addresses() {
        let container = read(listed("running", "Up 2 minutes")).expect("readable");
        assert_eq!(container.name, "shop-web-blue-1");
        assert_eq!(container.state, ContainerState::Running { health: None });
        let addresses: Vec<String> =
            container.addresses.iter().map(|(name, at)| format!("{name} {at}")).collect();
        assert_eq!(addresses, ["shop_default 172.18.0.3", "six fd00::3"]);
        let gateways: Vec<String> = container
            .gateways
            .iter()
            .map(|(name, at)| format!("{name} {} of {}", at.address, at.subnet))
            .collect();
        assert_eq!(gateways, ["shop_default 172.18.0.1 of 172.18.0.0/16"]);
    }

    #[test]
    fn a_container_that_does_not_run_has_no_address() {
        for (state, status) in [
            ("exited", "Exited (1) 3 seconds ago"),
            ("restarting", "Restarting (1) 3 seconds ago"),
            ("created", "Created"),
            ("dead", "Dead"),
            ("paused", "Up 3 seconds (Paused)"),
        ] {
            let container = read(listed(state, status)).expect("readable");
            assert!(container.addresses.is_empty() && container.gateways.is_empty(), "{state}");
        }
    }

    #[test]
    fn exit_codes_are_read_from_the_text() {
        let code = |status| read(listed("exited", status)).expect("readable").state;
        assert_eq!(code("Exited (0) Less than a second ago"), ContainerState::Exited { code: 0 });
        assert_eq!(code("Exited (137) 2 days ago"), ContainerState::Exited { code: 137 });
        assert_eq!(code("gone"), ContainerState::Exited { code: UNKNOWN_EXIT_CODE });
    }

    #[test]
    fn health_is_read_from_the_text_of_an_old_engine() {
        let health = |status| read(listed("running", status)).expect("readable").state;
        let running = |health| ContainerState::Running { health };
        assert_eq!(health("Up 3 seconds (healthy)"), running(Some(Health::Healthy)));
        assert_eq!(health("Up 3 seconds (unhealthy)"), running(Some(Health::Unhealthy)));
        assert_eq!(health("Up 3 seconds (health: starting)"), running(Some(Health::Starting)));
    }

    #[test]
    fn health_is_read_from_the_field_of_a_new_engine() {
        let mut summary = listed("running", "Up 3 seconds");
        summary.health = serde_json::from_value(serde_json::json!({"Status": "unhealthy"})).ok();
        let state = read(summary).expect("readable").state;
        assert_eq!(state, ContainerState::Running { health: Some(Health::Unhealthy) });
    }

    #[test]
    fn a_container_without_a_state_is_unreadable() {
        let mut summary = listed("running", "Up");
        summary.state = None;
        assert_eq!(read(summary).expect_err("no state"), Unreadable::Missing("state"));
    }
}
