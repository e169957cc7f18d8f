//! Networks and volumes: made when missing, with the stack's label.
//!
//! Docker 20.10 makes a second network of the same name without a word, and then
//! refuses every container that names it as "ambiguous". So we look before we
//! create, one at a time, and a double that came about all the same (a crash with
//! a call in flight) is put right.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::{Ipam, IpamConfig, Network, NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::ListNetworksOptionsBuilder,
};

use crate::domain::{
    snapshot::{Failure, FailureKind},
    stack::{NetworkSpec, VolumeSpec},
};

use super::{
    Docker,
    connection::{CALL_DEADLINE, LOOK_DEADLINE},
    failure::{CallError, within},
    labels,
    subnet::Subnet,
};

/// How often a free subnet is asked for because somebody took the last one.
const MAX_SUBNET_TRIES: u32 = 8;

/// What the name of a network ends with that is there only to learn a subnet.
const SCOUT: &str = "-scout";

impl Docker {
    pub(super) async fn ensure_network(
        &self,
        name: &str,
        spec: &NetworkSpec,
    ) -> Result<(), Failure> {
        let doing = || format!("create network {name}");
        let _alone = self.network_creation.lock().await;
        if !self.networks_named(name).await.map_err(|e| e.transient(&doing()))?.is_empty() {
            return Ok(());
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: spec.driver.clone(),
            internal: Some(spec.internal),
            enable_ipv6: Some(spec.enable_ipv6),
            ipam: (!spec.subnets.is_empty()).then(|| ipam(declared(spec))),
            options: Some(spec.driver_opts.clone().into_iter().collect()),
            labels: Some(self.labelled(&spec.labels)),
            ..Default::default()
        };
        let is_bridge = spec.driver.as_deref().is_none_or(|driver| driver == "bridge");
        let created = match is_bridge && spec.subnets.is_empty() {
            true => self.create_on_a_free_subnet(request).await,
            false => self.create_network_as(request).await,
        };
        created.map_err(|error| refused_or_transient(error, &doing()))
    }

    async fn create_network_as(&self, request: NetworkCreateRequest) -> Result<(), CallError> {
        match within(CALL_DEADLINE, self.client.create_network(request)).await {
            Ok(_) => Ok(()),
            // Newer engines refuse the double themselves.
            Err(error) if error.status() == Some(409) && error.says("already exists") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Docker assigns an address that is asked for only where the subnet was asked
    /// for too, and only Docker knows which are free. So it is asked for a network,
    /// and then for the real one on the same subnet. Whoever takes it in between
    /// makes us ask again.
    async fn create_on_a_free_subnet(
        &self,
        mut request: NetworkCreateRequest,
    ) -> Result<(), CallError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let free = self.free_subnet(&request.name).await?;
            request.ipam = free.map(|subnet| ipam(vec![subnet.shared()]));
            match self.create_network_as(request.clone()).await {
                Err(error) if is_taken(&error) && tries < MAX_SUBNET_TRIES => {}
                result => return result,
            }
        }
    }

    /// Returns a subnet that Docker would choose now; None if that is one that
    /// cannot be shared.
    async fn free_subnet(&self, name: &str) -> Result<Option<Subnet>, CallError> {
        let scout = format!("{name}{SCOUT}");
        // A crash may have left one behind.
        self.remove_scouts(&scout).await?;
        let is_scout = BTreeMap::from([(labels::SCOUT.to_owned(), "true".to_owned())]);
        let request = NetworkCreateRequest {
            name: scout.clone(),
            labels: Some(self.labelled(&is_scout)),
            ..Default::default()
        };
        self.create_network_as(request).await?;
        let seen = self.networks_named(&scout).await?;
        self.remove_scouts(&scout).await?;
        let configs = seen.into_iter().filter_map(|network| network.ipam?.config).flatten();
        Ok(configs.filter_map(|config| Subnet::parse(&config.subnet?)).next())
    }

    async fn remove_scouts(&self, name: &str) -> Result<(), CallError> {
        let is_scout = |network: &Network| {
            let labels = network.labels.as_ref();
            self.is_own(network) && labels.is_some_and(|l| l.contains_key(labels::SCOUT))
        };
        for network in self.networks_named(name).await?.into_iter().filter(is_scout) {
            let id = network.id.as_deref().unwrap_or_default();
            within(CALL_DEADLINE, self.client.remove_network(id)).await?;
        }
        Ok(())
    }

    /// Leaves one network of this name: ours that nothing has joined give way.
    pub(super) async fn settle_duplicates(&self, name: &str) -> Result<(), CallError> {
        let _alone = self.network_creation.lock().await;
        let mut doubles = self.networks_named(name).await?;
        // Docker refuses to remove one that a running container has joined, so
        // trying the newest first keeps the one that is in use.
        doubles.sort_by(|a, b| b.created.cmp(&a.created));
        let mut left = doubles.len();
        for network in doubles.iter().filter(|network| self.is_own(network)) {
            if left <= 1 {
                break;
            }
            let id = network.id.as_deref().unwrap_or_default();
            if within(CALL_DEADLINE, self.client.remove_network(id)).await.is_ok() {
                tracing::warn!(network = name, id, "removed a second network of the same name");
                left -= 1;
            }
        }
        if left > 1 {
            tracing::warn!(network = name, "{left} networks have this name; remove all but one");
        }
        Ok(())
    }

    async fn networks_named(&self, name: &str) -> Result<Vec<Network>, CallError> {
        // Docker's filter matches parts of names.
        let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let mut networks = within(LOOK_DEADLINE, self.client.list_networks(Some(options))).await?;
        networks.retain(|network| network.name.as_deref() == Some(name));
        Ok(networks)
    }

    pub(super) fn is_own(&self, network: &Network) -> bool {
        let labels = network.labels.as_ref();
        labels
            .and_then(|labels| labels.get(labels::STACK))
            .is_some_and(|s| s == self.stack.as_str())
    }

    /// Creating a volume is idempotent in Docker: an existing one of the same
    /// driver counts as created.
    pub(super) async fn ensure_volume(&self, name: &str, spec: &VolumeSpec) -> Result<(), Failure> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: spec.driver.clone(),
            driver_opts: Some(spec.driver_opts.clone().into_iter().collect()),
            labels: Some(self.labelled(&spec.labels)),
            ..Default::default()
        };
        match within(CALL_DEADLINE, self.client.create_volume(request)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused_or_transient(error, &format!("create volume {name}"))),
        }
    }

    fn labelled(&self, declared: &BTreeMap<String, String>) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> = declared.clone().into_iter().collect();
        labels.insert(labels::STACK.to_owned(), self.stack.to_string());
        labels
    }
}

/// Returns whether the subnet was somebody's already. Of the very same one, 20.10
/// says so of its gateway.
fn is_taken(error: &CallError) -> bool {
    error.says("overlap") || error.says("failed to allocate gateway")
}

/// The subnets that the file declares, shared where they can be.
fn declared(spec: &NetworkSpec) -> Vec<IpamConfig> {
    let as_it_is =
        |subnet: &String| IpamConfig { subnet: Some(subnet.clone()), ..Default::default() };
    let config =
        |subnet: &String| Subnet::parse(subnet).map_or_else(|| as_it_is(subnet), Subnet::shared);
    spec.subnets.iter().map(config).collect()
}

fn ipam(configs: Vec<IpamConfig>) -> Ipam {
    Ipam { config: Some(configs), ..Default::default() }
}

fn refused_or_transient(error: CallError, doing: &str) -> Failure {
    let kind = match error.status() {
        Some(400) => FailureKind::Refused,
        Some(_) | None => FailureKind::Transient,
    };
    error.into_failure(kind, doing)
}
