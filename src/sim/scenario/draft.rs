//! Short ways to write down services and what their images do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    domain::{
        ContainerSpec, DependsOn, Failover, Gate, GateCheck, ImageRef, Probe, ProbeCheck, Rollout,
        Route, Secret, Service, ServiceKind, ServiceName, SlotChoice, Stack, Strategy, Telling,
        gate::JobSpec,
        release::{Healthcheck, Mount, MountSource, NetworkAttachment, RestartPolicy},
        stack::{
            AdminEndpoint, FlipChoice, Images, NameChoice, NetworkSpec, ProxyConfig, VolumeSpec,
        },
    },
    sim::world::{GateFate, Shelf, SignatureFate, Version, behaviour::Behaviour},
};

const STACK: &str = "sim";
const NETWORK: &str = "sim_default";

/// A service, as far as scenarios differ.
#[derive(Clone, Debug)]
pub struct ServiceDraft {
    pub name: &'static str,
    pub strategy: Strategy,
    pub slot: SlotChoice,
    pub version: u32,
    pub replicas: u32,
    pub check: ProbeCheck,
    pub kind: ServiceKind,
    pub routed: bool,
    /// Changing it makes a new release of the same image.
    pub knob: u32,
    /// Changing it changes the declaration and not the release.
    pub host: u32,
    pub drain_timeout: Duration,
    pub min_healthy_time: Duration,
    pub progress_deadline: Duration,
    pub bake: Duration,
    pub scale_down_delay: Duration,
    pub depends_on: Option<(&'static str, DependsOn)>,
    pub pre_promotion: Vec<GateDraft>,
    pub post_promotion: Vec<GateDraft>,
    pub group: Option<&'static str>,
}

/// A gate, as far as scenarios differ: what becomes of it is the version's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateDraft {
    Job,
    Measured,
}

impl GateDraft {
    fn gate(self) -> Gate {
        let command = vec!["/check".to_owned()];
        let check = match self {
            GateDraft::Job => GateCheck::Job(JobSpec {
                command: Some(command),
                image: None,
                environment: BTreeMap::new(),
            }),
            GateDraft::Measured => GateCheck::Exec { command },
        };
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(20));
        Gate { check, interval, timeout, failure_limit: 0 }
    }
}

impl ServiceDraft {
    /// Returns a routed blue-green service with short times.
    pub fn new(name: &'static str) -> ServiceDraft {
        ServiceDraft {
            name,
            strategy: Strategy::BlueGreen,
            slot: SlotChoice::Auto,
            version: 1,
            replicas: 1,
            check: ProbeCheck::Tcp { port: 8000 },
            kind: ServiceKind::LongRunning,
            routed: true,
            knob: 0,
            host: 0,
            drain_timeout: Duration::from_secs(3),
            min_healthy_time: Duration::from_millis(500),
            progress_deadline: Duration::from_secs(40),
            bake: Duration::from_secs(5),
            scale_down_delay: Duration::from_secs(8),
            depends_on: None,
            pre_promotion: Vec::new(),
            post_promotion: Vec::new(),
            group: None,
        }
    }

    fn service(&self) -> Service {
        let name = service_name(self.name);
        let port = 8000;
        let route = self.routed.then(|| Route {
            hosts: vec![format!("{name}{}.example.com", self.host)],
            path: "/*".to_owned(),
            port,
            preview: None,
        });
        Service {
            image: image(self.name, self.version),
            slot: self.slot,
            kind: self.kind,
            replicas: self.replicas,
            probe: Probe {
                check: self.check.clone(),
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(1),
                healthy_after: 1,
                unhealthy_after: 3,
            },
            spec: self.spec(route.is_some().then_some(port)),
            route,
            depends_on: self.depends_on.iter().map(|(on, how)| (service_name(on), *how)).collect(),
            rollout: Rollout {
                strategy: self.strategy,
                progress_deadline: self.progress_deadline,
                min_healthy_time: self.min_healthy_time,
                drain_timeout: self.drain_timeout,
                bake: self.bake,
                scale_down_delay: self.scale_down_delay,
                auto_revert: true,
                failover: Failover::Standby,
                pre_promotion: self.pre_promotion.iter().map(|it| it.gate()).collect(),
                post_promotion: self.post_promotion.iter().map(|it| it.gate()).collect(),
                auto_promote: true,
            },
            rollout_group: self.group.map(service_name),
            standby: None,
            upstreams: None,
            name,
        }
    }

    fn spec(&self, route_port: Option<u16>) -> ContainerSpec {
        let volume = Mount {
            source: MountSource::Volume(volume(self.name)),
            target: "/data".to_owned(),
            read_only: false,
        };
        let healthcheck = Healthcheck {
            test: vec!["CMD".to_owned(), "/check".to_owned()],
            interval: None,
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        };
        ContainerSpec {
            environment: BTreeMap::from([("KNOB".to_owned(), Secret::new(self.knob.to_string()))]),
            mounts: (self.strategy == Strategy::Recreate).then_some(volume).into_iter().collect(),
            networks: vec![NetworkAttachment {
                network: NETWORK.to_owned(),
                aliases: BTreeSet::from([self.name.to_owned()]),
            }],
            route_port,
            healthcheck: (self.check == ProbeCheck::Docker).then_some(healthcheck),
            restart: match self.kind {
                ServiceKind::LongRunning => RestartPolicy::Always,
                ServiceKind::OneShot => RestartPolicy::No,
            },
            ..ContainerSpec::default()
        }
    }
}

/// Returns the stack that declares these services.
pub fn stack_of(drafts: &[ServiceDraft]) -> Arc<Stack> {
    let services: BTreeMap<ServiceName, Service> =
        drafts.iter().map(|draft| (service_name(draft.name), draft.service())).collect();
    let volumes = drafts.iter().filter(|draft| draft.strategy == Strategy::Recreate);
    let admin = AdminEndpoint::Tcp { host: "127.0.0.1".to_owned(), port: 2019 };
    Arc::new(Stack {
        telling: Telling::default(),
        name: STACK.parse().expect("a valid name"),
        commit: None,
        proxy: Some(ProxyConfig {
            admin,
            listen: None,
            flip: FlipChoice::default(),
            names: NameChoice::default(),
        }),
        volumes: volumes.map(|draft| (volume(draft.name), VolumeSpec::default())).collect(),
        services,
        on_other_hosts: BTreeSet::new(),
        networks: BTreeMap::from([(NETWORK.to_owned(), NetworkSpec::default())]),
        external_networks: Vec::new(),
        external_volumes: Vec::new(),
        images: Images { retain_releases: 2, ..Images::default() },
        signatures: Vec::new(),
    })
}

/// Returns one version of a service's image.
pub fn version_of(name: &str, version: u32, behaviour: Behaviour) -> Version {
    let image = image(name, version);
    let (gates, job_code) = (GateFate::Passes, 0);
    let (shelf, signature) = (Shelf::Present, SignatureFate::Signed);
    Version { image, behaviour, shelf, pull_time: 800, gates, job_code, signature }
}

pub fn service_name(name: &str) -> ServiceName {
    name.parse().expect("a valid name")
}

fn image(name: &str, version: u32) -> ImageRef {
    format!("registry.example.com/sim/{name}:v{version}").parse().expect("a valid reference")
}

fn volume(name: &str) -> String {
    format!("{STACK}_{name}-data")
}

/// What must become of a release in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It serves.
    Healthy,
    /// It is held.
    Bad,
    /// Either is right.
    Unclear,
}

/// Returns what must become of a version in a service, whatever becomes of others.
pub fn fate(version: &Version, service: &Service) -> Fate {
    match ungated_fate(version, service) {
        Fate::Healthy => gates_fate(version, service),
        fate @ (Fate::Bad | Fate::Unclear) => fate,
    }
}

fn gates_fate(version: &Version, service: &Service) -> Fate {
    let before = service.rollout.pre_promotion.iter().map(|gate| {
        let passes = match (gate.job(), version.gates) {
            (Some(_), _) => version.job_code == 0,
            (None, GateFate::Passes | GateFate::PassesAfter(_) | GateFate::FailsAfter(_)) => true,
            (None, GateFate::Fails | GateFate::NeverAnswers) => false,
        };
        if passes { Fate::Healthy } else { Fate::Bad }
    });
    let after = service.rollout.post_promotion.iter().map(|gate| {
        let passes = match (gate.job(), version.gates) {
            (Some(_), _) => version.job_code == 0,
            (None, GateFate::Passes | GateFate::PassesAfter(_)) => true,
            (None, GateFate::Fails | GateFate::FailsAfter(_) | GateFate::NeverAnswers) => false,
        };
        // Without anything to go back to it goes on serving.
        if passes { Fate::Healthy } else { Fate::Unclear }
    });
    before.chain(after).find(|fate| *fate != Fate::Healthy).unwrap_or(Fate::Healthy)
}

fn ungated_fate(version: &Version, service: &Service) -> Fate {
    match version.shelf {
        Shelf::Missing | Shelf::Denied => return Fate::Bad,
        Shelf::Present | Shelf::Flaky(_) | Shelf::RateLimited(_) | Shelf::LocalOnly => {}
    }
    if version.signature == SignatureFate::Unsigned {
        return Fate::Bad;
    }
    match (service.kind, &service.probe.check, version.behaviour) {
        (_, _, Behaviour::CannotStart) => Fate::Bad,
        (ServiceKind::OneShot, _, Behaviour::ExitsAfter { code: 0, .. }) => Fate::Healthy,
        (ServiceKind::OneShot, _, _) => Fate::Bad,
        (ServiceKind::LongRunning, ProbeCheck::Started, behaviour) => match behaviour {
            Behaviour::ReadyAfter(_)
            | Behaviour::NeverReady
            | Behaviour::ReadyThenSick { .. }
            | Behaviour::Flapping { .. } => Fate::Healthy,
            Behaviour::ExitsAfter { .. }
            | Behaviour::ReadyThenExits { .. }
            | Behaviour::CannotStart => Fate::Unclear,
        },
        (ServiceKind::LongRunning, _, behaviour) => match behaviour {
            Behaviour::ReadyAfter(_) => Fate::Healthy,
            Behaviour::NeverReady | Behaviour::ExitsAfter { .. } | Behaviour::CannotStart => {
                Fate::Bad
            }
            Behaviour::ReadyThenExits { .. }
            | Behaviour::ReadyThenSick { .. }
            | Behaviour::Flapping { .. } => Fate::Unclear,
        },
    }
}
