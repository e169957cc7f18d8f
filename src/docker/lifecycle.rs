//! The life of one container: listed, created, started, stopped, removed.
//!
//! Each call is idempotent, because a crash may come between the engine's doing
//! and our hearing of it: what is done already counts as done.

use std::{collections::BTreeSet, time::Duration};

use bollard::{
    models::{ContainerInspectResponse, ContainerUpdateBody, MountPoint, NetworkConnectRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        StopContainerOptionsBuilder,
    },
};

use crate::{
    domain::{
        ContainerId,
        release::RestartPolicy,
        snapshot::{Failure, FailureKind, Listed},
    },
    plan::NewContainer,
};

use super::{
    Docker,
    connection::{CALL_DEADLINE, LOOK_DEADLINE},
    failure::{self, CallError, within},
    labels,
    listing::{self, Entry},
    spec,
};

/// How long the engine may take to kill what outlived its grace period.
const KILL_MARGIN: Duration = Duration::from_secs(60);

/// The grace period of a container that names none (Docker's own).
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

impl Docker {
    pub(super) async fn list_containers(&self) -> Result<Listed, Failure> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&self.own()).build();
        let listed = within(LOOK_DEADLINE, self.client.list_containers(Some(options)))
            .await
            .map_err(|error| error.transient("list containers"))?;
        let mut containers = Listed::default();
        for summary in listed {
            let id = summary.id.clone().unwrap_or_default();
            match listing::read(summary) {
                Ok(Entry::Replica(container)) => containers.replicas.push(*container),
                Ok(Entry::Job(container)) => containers.jobs.push(*container),
                Err(why) => self.warn_once_of(id, &why),
            }
        }
        Ok(containers)
    }

    fn warn_once_of(&self, id: String, why: &listing::Unreadable) {
        let mut known = self.unreadable.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.insert(id.clone()) {
            tracing::warn!(container = id, %why, "left alone: it has our stack's label but is not ours to read");
        }
    }

    pub(super) async fn create_replica(&self, new: &NewContainer) -> Result<(), Failure> {
        self.refuse_beside_compose(new).await?;
        let release = &new.release;
        self.secrets
            .put(&release.id, &release.spec.secrets)
            .map_err(|error| error.into_failure(&creating(new)))?;
        let networks = new.release.spec.networks.iter().map(|joined| joined.network.as_str());
        let created = self.unambiguously(networks, || self.try_create(new)).await;
        let Err(error) = created else { return Ok(()) };
        match error.status() {
            Some(409) => self.adopt(new, error).await,
            Some(404) if error.says("no such image") => {
                Err(error.into_failure(FailureKind::NoSuchImage, &creating(new)))
            }
            Some(400) => {
                Err(redacted(error.into_failure(FailureKind::Refused, &creating(new)), new))
            }
            Some(_) | None => Err(redacted(error.transient(&creating(new)), new)),
        }
    }

    async fn try_create(&self, new: &NewContainer) -> Result<(), CallError> {
        let options = CreateContainerOptionsBuilder::new().name(&new.name).build();
        let body = spec::create_body(&self.stack, new, self.api, &self.secrets);
        let created =
            within(CALL_DEADLINE, self.client.create_container(Some(options), body)).await?;
        for warning in created.warnings {
            tracing::warn!(container = new.name, %warning, "Docker warns");
        }
        Ok(())
    }

    /// Tells our own replica, made by a call whose answer we did not hear, from
    /// a foreign container that has the name.
    async fn adopt(&self, new: &NewContainer, conflict: CallError) -> Result<(), Failure> {
        let holder = match self.inspect(&new.name).await {
            Ok(holder) => holder,
            // It was there a moment ago; the next try finds the name free.
            Err(_) => return Err(conflict.transient(&creating(new))),
        };
        let id = ContainerId(holder.id.unwrap_or_default());
        let labels = holder.config.and_then(|config| config.labels).unwrap_or_default();
        if labels::is_replica(&labels, &self.stack, new) {
            return Ok(());
        }
        Err(Failure {
            kind: FailureKind::NameTaken,
            message: format!(
                "cannot {}: container {id} has the name {name} and is not this replica; \
                 rename it (docker rename {id} {name}-old) or remove it (docker rm {id})",
                creating(new),
                name = new.name,
            ),
        })
    }

    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<(), Failure> {
        const DOING: &str = "start the container";
        let _in_hand = self.containers_in_hand.enter(id).await;
        let seen = self.inspect(&id.0).await.map_err(|error| error.transient(DOING))?;
        let joined =
            seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let labels = seen.config.and_then(|config| config.labels).unwrap_or_default();
        if seen.mounts.iter().flatten().any(|mount| self.is_of_secrets(mount)) {
            let release = labels::release(&labels);
            let put_back = release.map_or(Ok(()), |release| self.secrets.put_back(&release));
            put_back.map_err(|error| error.into_failure(DOING))?;
        }
        let late = labels::late_networks(&labels).map_err(|why| Failure {
            kind: FailureKind::Refused,
            message: format!("cannot {DOING}: {why}"),
        })?;
        let names = || joined.keys().chain(late.keys()).map(String::as_str);
        for (network, aliases) in late.iter().filter(|(name, _)| !joined.contains_key(*name)) {
            self.unambiguously(names(), || self.join(id, network, aliases))
                .await
                .map_err(|error| error.transient(&format!("join network {network}")))?;
        }
        // "It runs already" is a 304, which bollard counts as success.
        let start = || within(CALL_DEADLINE, self.client.start_container(&id.0, None));
        self.unambiguously(names(), start).await.map_err(|error| {
            let kind = failure::of_start(&error);
            error.into_failure(kind, DOING)
        })
    }

    fn is_of_secrets(&self, mount: &MountPoint) -> bool {
        mount.source.as_ref().is_some_and(|source| self.secrets.holds(source))
    }

    /// Joins a network that the engine would not take at creation. It is part of
    /// starting, so that a crash after the creation leaves nothing half done.
    async fn join(
        &self,
        id: &ContainerId,
        network: &str,
        aliases: &BTreeSet<String>,
    ) -> Result<(), CallError> {
        let request = NetworkConnectRequest {
            container: id.0.clone(),
            endpoint_config: Some(spec::endpoint(aliases, None)),
        };
        match within(CALL_DEADLINE, self.client.connect_network(network, request)).await {
            Err(error) if error.says("already exists in network") => Ok(()),
            result => result,
        }
    }

    /// Makes a call that names networks; if two have one name, puts that right
    /// and makes it once more.
    async fn unambiguously<'a, F: Future<Output = Result<(), CallError>>>(
        &self,
        networks: impl Iterator<Item = &'a str>,
        call: impl Fn() -> F,
    ) -> Result<(), CallError> {
        match call().await {
            Err(error) if error.says("ambiguous") => {
                for network in networks {
                    self.settle_duplicates(network).await?;
                }
                call().await
            }
            result => result,
        }
    }

    pub(super) async fn update_restart_policy(
        &self,
        id: &ContainerId,
        policy: RestartPolicy,
    ) -> Result<(), CallError> {
        let update = ContainerUpdateBody {
            restart_policy: Some(spec::restart_policy(policy)),
            ..Default::default()
        };
        within(CALL_DEADLINE, self.client.update_container(&id.0, update)).await
    }

    pub(super) async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Option<Duration>,
    ) -> Result<(), Failure> {
        const DOING: &str = "stop the container";
        let _in_hand = self.containers_in_hand.enter(id).await;
        // First the policy: `always` would start it again with the next daemon.
        match self.update_restart_policy(id, RestartPolicy::No).await {
            Ok(()) => {}
            Err(error) if error.status() == Some(404) => return Ok(()),
            Err(error) if error.says("marked for removal") => return Ok(()),
            Err(error) => return Err(error.transient(DOING)),
        }
        let patience = match grace {
            Some(grace) => grace,
            None => self.own_grace(id).await,
        } + KILL_MARGIN;
        let mut options = StopContainerOptionsBuilder::new();
        if let Some(grace) = grace {
            options = options.t(i32::try_from(spec::whole_seconds(grace)).unwrap_or(i32::MAX));
        }
        // The engine answers when the container has stopped, so the client must
        // outwait the grace period.
        let client = self.client.clone().with_timeout(patience);
        match within(patience, client.stop_container(&id.0, Some(options.build()))).await {
            Ok(()) => Ok(()),
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error.transient(DOING)),
        }
    }

    /// Returns the grace period that the container was created with.
    async fn own_grace(&self, id: &ContainerId) -> Duration {
        let seen = self.inspect(&id.0).await.ok();
        seen.and_then(|seen| seen.config?.stop_timeout)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DEFAULT_GRACE, Duration::from_secs)
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<(), Failure> {
        let _in_hand = self.containers_in_hand.enter(id).await;
        // Never by force: a container that still runs is one the plan did not
        // mean. `v` takes anonymous volumes; named ones Docker keeps.
        let options = RemoveContainerOptionsBuilder::new().v(true).force(false).build();
        match within(CALL_DEADLINE, self.client.remove_container(&id.0, Some(options))).await {
            Ok(()) => Ok(()),
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) if error.says("is already in progress") => Ok(()),
            Err(error) => Err(error.transient("remove the container")),
        }
    }

    async fn inspect(&self, name_or_id: &str) -> Result<ContainerInspectResponse, CallError> {
        within(CALL_DEADLINE, self.client.inspect_container(name_or_id, None)).await
    }
}

fn creating(new: &NewContainer) -> String {
    format!("create {}", new.name)
}

/// Returns the failure without any value of the container's environment: Docker
/// quotes what it refuses (S9).
fn redacted(mut failure: Failure, new: &NewContainer) -> Failure {
    // Longest first, so that a value which contains another leaves no rest.
    let mut values: Vec<&str> = new.release.spec.environment.values().map(|v| v.reveal()).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in values.into_iter().filter(|value| !value.is_empty()) {
        failure.message = failure.message.replace(value, "(hidden)");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{docker::tests::new_container, domain::Secret};

    #[test]
    fn a_refusal_never_quotes_the_environment() {
        let mut new = new_container("web");
        let environment = &mut new.release.spec.environment;
        environment.insert("SHORT".to_owned(), Secret::new("hunter"));
        environment.insert("LONG".to_owned(), Secret::new("hunter2"));
        environment.insert("EMPTY".to_owned(), Secret::new(""));
        let message = "invalid: LONG=hunter2 SHORT=hunter".to_owned();
        let failure = redacted(Failure { kind: FailureKind::Refused, message }, &new);
        assert_eq!(failure.message, "invalid: LONG=(hidden) SHORT=(hidden)");
    }
}
