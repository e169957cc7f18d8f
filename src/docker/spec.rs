//! A replica to create, as the body of Docker's create call.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountTmpfsOptions, MountType, NetworkingConfig, PortBinding,
    PortMap, ResourcesUlimits, RestartPolicy as DockerRestartPolicy, RestartPolicyNameEnum,
};
use std::{net::IpAddr, time::Duration};

use crate::{
    domain::{
        ContainerSpec, Release, ServiceName, StackName,
        release::{Healthcheck, MountSource, NetworkAttachment, RestartPolicy},
    },
    plan::NewContainer,
};

use super::{ApiVersion, SecretsFolder, labels, labels::LateNetworks};

/// Returns the body that creates `new`, with restart policy `no`: a start that
/// fails must be seen, not hidden behind the engine's own retries.
pub(super) fn create_body(
    stack: &StackName,
    new: &NewContainer,
    api: ApiVersion,
    secrets: &SecretsFolder,
) -> ContainerCreateBody {
    let spec = &new.release.spec;
    let (now, late) = networks_by_time(spec, api);
    let mut labels = labels::of_new(stack, new);
    if !late.is_empty() {
        let json = serde_json::to_string(&late).expect("a map of strings serialises");
        labels.insert(labels::LATE_NETWORKS.to_owned(), json);
    }
    ContainerCreateBody {
        // By id: the release is this very image, whatever a tag means by now.
        image: Some(new.release.image_id.to_string()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        env: Some(environment(stack, new)),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(whole_seconds),
        healthcheck: spec.healthcheck.as_ref().map(|check| health_config(check, api)),
        exposed_ports: Some(exposed_ports(spec)),
        labels: Some(labels),
        networking_config: (!now.is_empty()).then(|| NetworkingConfig {
            endpoints_config: Some(
                now.iter()
                    .map(|n| {
                        let address = new.addresses.get(&n.network);
                        (n.network.clone(), endpoint(&n.aliases, address))
                    })
                    .collect(),
            ),
        }),
        host_config: Some(HostConfig {
            mounts: Some(mounts(&new.release, secrets)),
            ..host_config(spec, &new.hosts)
        }),
        ..Default::default()
    }
}

/// Returns a network endpoint that answers to these aliases, at this address or
/// at one that the engine chooses.
pub(super) fn endpoint(aliases: &BTreeSet<String>, address: Option<&IpAddr>) -> EndpointSettings {
    let assigned = |address: &IpAddr| match address {
        IpAddr::V4(v4) => {
            EndpointIpamConfig { ipv4_address: Some(v4.to_string()), ..Default::default() }
        }
        IpAddr::V6(v6) => {
            EndpointIpamConfig { ipv6_address: Some(v6.to_string()), ..Default::default() }
        }
    };
    EndpointSettings {
        aliases: Some(aliases.iter().cloned().collect()),
        ipam_config: address.map(assigned),
        ..Default::default()
    }
}

/// Returns Docker's form of a restart policy.
pub(super) fn restart_policy(policy: RestartPolicy) -> DockerRestartPolicy {
    let (name, attempts) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::OnFailure { max_attempts } => {
            (RestartPolicyNameEnum::ON_FAILURE, max_attempts.map(i64::from))
        }
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    DockerRestartPolicy { name: Some(name), maximum_retry_count: attempts }
}

/// Returns a span in whole seconds, the next above.
pub(super) fn whole_seconds(span: Duration) -> i64 {
    let rounded_up = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
    i64::try_from(rounded_up).unwrap_or(i64::MAX)
}

/// Splits the networks into those joined at creation and those joined before
/// the first start: an engine below API 1.44 takes one endpoint at creation.
fn networks_by_time(spec: &ContainerSpec, api: ApiVersion) -> (&[NetworkAttachment], LateNetworks) {
    if api.creates_with_several_networks() {
        return (&spec.networks, LateNetworks::new());
    }
    let (now, late) = spec.networks.split_at(spec.networks.len().min(1));
    (now, late.iter().map(|n| (n.network.clone(), n.aliases.clone())).collect())
}

fn environment(stack: &StackName, new: &NewContainer) -> Vec<String> {
    let ours = [
        ("QUAYMASTER_STACK", stack.to_string()),
        ("QUAYMASTER_SERVICE", new.service.to_string()),
        ("QUAYMASTER_SLOT", new.slot.to_string()),
        ("QUAYMASTER_RELEASE", new.release.id.to_string()),
        ("QUAYMASTER_REPLICA", new.replica.to_string()),
    ];
    let declared = new.release.spec.environment.iter();
    declared
        .filter(|(name, _)| ours.iter().all(|(our, _)| our != name))
        .map(|(name, value)| format!("{name}={}", value.reveal()))
        .chain(ours.iter().map(|(name, value)| format!("{name}={value}")))
        .collect()
}

fn health_config(check: &Healthcheck, api: ApiVersion) -> HealthConfig {
    let nanos = |span: Option<Duration>| {
        span.map(|span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    };
    HealthConfig {
        test: Some(check.test.clone()),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        // Older engines drop it without a word, which makes the check slower
        // to speak, not wrong.
        start_interval: nanos(check.start_interval).filter(|_| api.knows_start_interval()),
        retries: check.retries.map(i64::from),
    }
}

fn exposed_ports(spec: &ContainerSpec) -> Vec<String> {
    let with_protocol =
        |port: &String| if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
    let published =
        spec.ports.iter().map(|p| format!("{}/{}", p.container_port, p.protocol.as_str()));
    let ports: BTreeSet<String> = spec.expose.iter().map(with_protocol).chain(published).collect();
    ports.into_iter().collect()
}

fn host_config(spec: &ContainerSpec, hosts: &BTreeMap<ServiceName, IpAddr>) -> HostConfig {
    let resources = &spec.resources;
    let declared = spec.extra_hosts.iter().map(|(host, at)| format!("{host}:{at}"));
    let extra_hosts = declared.chain(hosts.iter().map(|(name, at)| format!("{name}:{at}")));
    HostConfig {
        network_mode: spec.networks.first().map(|first| first.network.clone()),
        restart_policy: Some(restart_policy(RestartPolicy::No)),
        binds: Some(spec.mounts.iter().filter_map(bind).collect()),
        tmpfs: Some(spec.tmpfs.clone().into_iter().collect()),
        port_bindings: Some(port_bindings(spec)),
        nano_cpus: resources
            .cpu_limit_milli
            .map(|milli| i64::try_from(milli.saturating_mul(1_000_000)).unwrap_or(i64::MAX)),
        memory: resources.memory_limit_bytes,
        memory_reservation: resources.memory_reservation_bytes,
        pids_limit: resources.pids_limit,
        log_config: spec.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: Some(logging.driver.clone().unwrap_or_default()),
            config: Some(logging.options.clone().into_iter().collect()),
        }),
        extra_hosts: Some(extra_hosts.collect()),
        ulimits: Some(
            spec.ulimits
                .iter()
                .map(|(name, &(soft, hard))| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(soft),
                    hard: Some(hard),
                })
                .collect(),
        ),
        cap_add: Some(spec.cap_add.iter().cloned().collect()),
        cap_drop: Some(spec.cap_drop.iter().cloned().collect()),
        readonly_rootfs: Some(spec.read_only),
        init: spec.init,
        shm_size: spec.shm_size_bytes,
        security_opt: Some(spec.security_opt.clone()),
        ..Default::default()
    }
}

/// Returns a bind mount in Docker's short form, which creates a missing source
/// as Compose does; the long form would refuse it.
fn bind(mount: &crate::domain::release::Mount) -> Option<String> {
    let MountSource::Bind(source) = &mount.source else { return None };
    if has_colon(mount) {
        return None;
    }
    let mode = if mount.read_only { ":ro" } else { "" };
    Some(format!("{source}:{}{mode}", mount.target))
}

/// Returns a mount in Docker's long form; None for what [`bind`] covers.
fn mount(mount: &crate::domain::release::Mount) -> Option<Mount> {
    let (typ, source, tmpfs_options) = match &mount.source {
        MountSource::Volume(name) => (MountType::VOLUME, Some(name.clone()), None),
        MountSource::Anonymous => (MountType::VOLUME, None, None),
        // A colon cannot be written in the short form.
        MountSource::Bind(path) if has_colon(mount) => (MountType::BIND, Some(path.clone()), None),
        MountSource::Bind(_) => return None,
        MountSource::Tmpfs { size_bytes } => {
            let options = MountTmpfsOptions { size_bytes: *size_bytes, ..Default::default() };
            (MountType::TMPFS, None, Some(options))
        }
    };
    Some(Mount {
        target: Some(mount.target.clone()),
        source,
        typ: Some(typ),
        read_only: Some(mount.read_only),
        tmpfs_options,
        ..Default::default()
    })
}

/// Returns the mounts in Docker's long form: those that need it, and the secret files,
/// whose missing source must be an error and not a new folder.
fn mounts(release: &Release, secrets: &SecretsFolder) -> Vec<Mount> {
    let spec = &release.spec;
    let of_secrets = secrets.places(&release.id, &spec.secrets).map(|(path, target, _)| Mount {
        target: Some(target.to_owned()),
        source: Some(path.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..Default::default()
    });
    spec.mounts.iter().filter_map(mount).chain(of_secrets).collect()
}

fn has_colon(mount: &crate::domain::release::Mount) -> bool {
    match &mount.source {
        MountSource::Bind(source) => source.contains(':') || mount.target.contains(':'),
        MountSource::Volume(_) | MountSource::Anonymous | MountSource::Tmpfs { .. } => false,
    }
}

fn port_bindings(spec: &ContainerSpec) -> PortMap {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        let key = format!("{}/{}", port.container_port, port.protocol.as_str());
        bindings.entry(key).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: Some(port.host_port.map_or(String::new(), |port| port.to_string())),
        });
    }
    bindings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::docker::tests::new_container;

    fn body(api: &str) -> ContainerCreateBody {
        let mut new = new_container("web");
        let joined = |network: &str| NetworkAttachment {
            network: network.to_owned(),
            aliases: BTreeSet::from(["web".to_owned()]),
        };
        new.release.spec.networks = vec![joined("front"), joined("back")];
        new.release.spec.healthcheck = Some(Healthcheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            interval: None,
            timeout: None,
            start_period: None,
            start_interval: Some(Duration::from_secs(1)),
            retries: None,
        });
        let api = ApiVersion::parse(api).expect("a version");
        let stack = "shop".parse().expect("a name");
        let secrets = SecretsFolder::new(Path::new("/run/secrets"), &stack, None);
        create_body(&stack, &new, api, &secrets)
    }

    fn endpoints(body: &ContainerCreateBody) -> BTreeSet<&str> {
        let networking = body.networking_config.as_ref();
        let endpoints = networking.and_then(|config| config.endpoints_config.as_ref());
        endpoints.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect()
    }

    #[test]
    fn an_old_engine_gets_one_network_and_a_label_for_the_rest() {
        let body = body("1.43");
        assert_eq!(endpoints(&body), BTreeSet::from(["front"]));
        let late = labels::late_networks(&body.labels.expect("labels")).expect("our own label");
        assert_eq!(late.keys().collect::<Vec<_>>(), ["back"]);
        assert_eq!(body.healthcheck.expect("a check").start_interval, None);
    }

    #[test]
    fn a_new_engine_gets_all_networks_at_once() {
        let body = body("1.44");
        assert_eq!(endpoints(&body), BTreeSet::from(["back", "front"]));
        assert!(!body.labels.expect("labels").contains_key(labels::LATE_NETWORKS));
        assert_eq!(body.healthcheck.expect("a check").start_interval, Some(1_000_000_000));
    }

    #[test]
    fn a_fraction_of_a_second_is_not_lost() {
        assert_eq!(whole_seconds(Duration::from_millis(1500)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::MAX), i64::MAX);
    }
}
