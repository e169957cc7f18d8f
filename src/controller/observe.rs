//! Looking at everything, at once.

use std::collections::BTreeMap;

use super::Controller;
use crate::{
    domain::{
        Container, ContainerId, Observed, Snapshot, Stack,
        snapshot::{Failure, ObserveFailure, Outcome, ProxyState},
    },
    plan::{Plan, upstreams},
    ports::{Clock, Engine, Gatekeeper, Ledger, ProbeTarget, Prober, Proxy, Source},
};

impl<E, X, P, G, L, S, C> Controller<E, X, P, G, L, S, C>
where
    E: Engine + 'static,
    X: Proxy + 'static,
    P: Prober + 'static,
    G: Gatekeeper + 'static,
    L: Ledger + 'static,
    S: Source + 'static,
    C: Clock + 'static,
{
    /// Observes what every pass needs: one list call, one read of the proxy.
    pub(super) async fn observe(&self, outcomes: Vec<Outcome>) -> Snapshot {
        let ports = &self.ports;
        let busy = self.busy.clone();
        let claimed = self.claimed.values().flatten().copied().collect();
        let proxy = async {
            match &self.stack.proxy {
                Some(config) => ports.proxy.observe(config).await,
                None => Ok(ProxyState { intact: true, ..ProxyState::default() }),
            }
        };
        let (containers, proxy) = futures::join!(ports.engine.containers(), proxy);
        let (containers, jobs) = match observed(containers) {
            Observed::Known(mut listed) => {
                listed.replicas.extend(upstreams::containers(&self.stack));
                (Observed::Known(listed.replicas), listed.jobs)
            }
            Observed::Unknown(why) => (Observed::Unknown(why), Vec::new()),
        };
        if let Observed::Known(containers) = &containers {
            ports.prober.watch(probe_targets(&self.stack, containers));
        }
        Snapshot {
            containers,
            jobs,
            proxy: observed(proxy),
            in_flight: Observed::Unknown(ObserveFailure::NotAsked),
            host: Observed::Unknown(ObserveFailure::NotAsked),
            probes: ports.prober.standings(),
            measured: ports.gates.measured(),
            pulls: ports.engine.pulls(),
            outcomes,
            busy,
            claimed,
        }
    }

    /// Observes what only some passes need, as far as this plan wants it.
    pub(super) async fn observe_more(&self, plan: &Plan, seen: &mut Snapshot) {
        let host = async {
            if plan.wants_host {
                seen.host = observed(self.ports.engine.host().await);
            }
        };
        let in_flight = async {
            if let Some(config) = &self.stack.proxy
                && plan.wants_in_flight
            {
                seen.in_flight = observed(self.ports.proxy.in_flight(config).await);
            }
        };
        futures::join!(host, in_flight);
    }
}

fn observed<T>(result: Result<T, Failure>) -> Observed<T> {
    match result {
        Ok(part) => Observed::Known(part),
        Err(failure) => Observed::Unknown(ObserveFailure::Failed(failure.message)),
    }
}

/// Every running replica of a declared service, where the proxy reaches it.
fn probe_targets(stack: &Stack, containers: &[Container]) -> BTreeMap<ContainerId, ProbeTarget> {
    let running = containers.iter().filter(|container| container.is_running());
    running
        .filter_map(|container| {
            let service = stack.services.get(&container.service)?;
            let networks = service.spec.networks.iter();
            let address = networks
                .filter_map(|attachment| container.addresses.get(&attachment.network))
                .chain(container.addresses.values())
                .next()
                .copied();
            let mut probe = service.probe.clone();
            if service.upstreams.is_some() {
                probe.check = probe.check.at_port(container.route_port);
            }
            let target = ProbeTarget { probe, address };
            Some((container.id.clone(), target))
        })
        .collect()
}
