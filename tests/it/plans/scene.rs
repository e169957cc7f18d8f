//! A stack and a snapshot, written down in a few words; the plan, rendered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use quaymaster::{
    domain::{
        Backend, Container, ContainerId, ContainerSpec, DependsOn, Digest, Failover, Fingerprint,
        ImageRef, Memory, Observed, Probe, ProbeCheck, Release, Rollout, Route, RouteState,
        Service, ServiceKind, Slot, SlotChoice, Snapshot, Stack, Strategy, Telling, Timestamp,
        memory::{Placement, ReplicaMemory, Traffic},
        release::{NetworkAttachment, RestartPolicy},
        snapshot::{
            AddressRange, ContainerState, Host, HostNetwork, InFlight, LocalImage, ObserveFailure,
            ProbeStanding, ProxyState, Subject, Unlisted,
        },
        stack::{AdminEndpoint, FlipChoice, Images, NameChoice, ProxyConfig},
        time::Now,
    },
    plan::{Plan, check, plan, remember},
};

pub use ContainerState::{Created, Exited};
pub use Slot::{Blue, Green};
pub use quaymaster::domain::snapshot::Work;
pub const RUNNING: ContainerState = ContainerState::Running { health: None };

/// A thousand seconds: long after anything that a scene calls "before".
pub const NOW: Timestamp = Timestamp(1_000_000);

pub struct Scene {
    pub stack: Stack,
    pub seen: Snapshot,
    pub memory: Memory,
    pub now: Timestamp,
}

pub fn digest(text: &str) -> Digest {
    format!("sha256:{}", Fingerprint::of(text).as_str()).parse().expect("a digest")
}

/// A routed blue-green service with one replica of `shop:v1`.
pub fn service(name: &str) -> Service {
    Service {
        name: name.parse().expect("a name"),
        image: format!("{name}:v1").parse().expect("an image"),
        slot: SlotChoice::Auto,
        kind: ServiceKind::LongRunning,
        replicas: 1,
        route: Some(Route {
            hosts: vec![format!("{name}.example")],
            path: "/*".to_owned(),
            port: 8080,
            preview: None,
        }),
        probe: Probe {
            check: ProbeCheck::Tcp { port: 8080 },
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            healthy_after: 2,
            unhealthy_after: 3,
        },
        spec: ContainerSpec {
            route_port: Some(8080),
            networks: vec![NetworkAttachment {
                network: "demo_default".to_owned(),
                aliases: BTreeSet::from([name.to_owned()]),
            }],
            restart: RestartPolicy::Always,
            ..ContainerSpec::default()
        },
        depends_on: BTreeMap::new(),
        rollout: Rollout {
            strategy: Strategy::BlueGreen,
            progress_deadline: Duration::from_secs(60),
            min_healthy_time: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            bake: Duration::from_secs(10),
            scale_down_delay: Duration::from_secs(100),
            auto_revert: true,
            failover: Failover::Standby,
            pre_promotion: Vec::new(),
            post_promotion: Vec::new(),
            auto_promote: true,
        },
        rollout_group: None,
        standby: None,
        upstreams: None,
    }
}

/// The same without a route.
pub fn worker(name: &str) -> Service {
    let mut worker = service(name);
    worker.route = None;
    worker.spec.route_port = None;
    worker.rollout.strategy = Strategy::Rolling;
    worker
}

/// `service`, declaring another tag.
pub fn tagged(mut service: Service, tag: &str) -> Service {
    service.image = format!("{}:{tag}", service.name).parse().expect("an image");
    service
}

pub fn release(service: &Service, tag: &str) -> Release {
    let service = tagged(service.clone(), tag);
    let text = service.image.to_string();
    service.release(digest(&text), digest(&format!("id of {text}")))
}

pub fn placement(service: &Service, slot: Slot, tag: &str) -> Placement {
    Placement { slot, release: release(service, tag).id }
}

impl Scene {
    /// The file declares these; nothing runs, and every image they name is here.
    pub fn of(services: impl IntoIterator<Item = Service>) -> Scene {
        let services: BTreeMap<_, _> =
            services.into_iter().map(|service| (service.name.clone(), service)).collect();
        let images = services.values().map(|service| local_image(&service.image)).collect();
        let admin = AdminEndpoint::Tcp { host: "127.0.0.1".to_owned(), port: 2019 };
        Scene {
            stack: Stack {
                telling: Telling::default(),
                name: "demo".parse().expect("a name"),
                commit: None,
                proxy: Some(ProxyConfig {
                    admin,
                    listen: None,
                    flip: FlipChoice::default(),
                    names: NameChoice::default(),
                }),
                services,
                on_other_hosts: BTreeSet::new(),
                networks: BTreeMap::new(),
                volumes: BTreeMap::new(),
                external_networks: Vec::new(),
                external_volumes: Vec::new(),
                images: Images::default(),
                signatures: Vec::new(),
            },
            seen: Snapshot {
                containers: Observed::Known(Vec::new()),
                proxy: Observed::Known(ProxyState { intact: true, ..ProxyState::default() }),
                jobs: Vec::new(),
                in_flight: Observed::Unknown(ObserveFailure::NotAsked),
                host: Observed::Known(Host {
                    images,
                    networks: BTreeMap::from([("demo_default".to_owned(), HostNetwork::default())]),
                    volumes: BTreeSet::new(),
                    disk: None,
                    listening: None,
                }),
                probes: BTreeMap::new(),
                measured: BTreeMap::new(),
                pulls: BTreeMap::new(),
                outcomes: Vec::new(),
                busy: BTreeMap::new(),
                claimed: BTreeSet::new(),
            },
            memory: Memory { pruned_at: Some(NOW), ..Memory::default() },
            now: NOW,
        }
    }

    /// A replica that runs and is ready, and has been for long.
    pub fn ready(self, name: &str, slot: Slot, tag: &str, number: u32) -> Scene {
        let mut scene = self.replica(name, slot, tag, number, RUNNING);
        let id = scene.containers().last().expect("just added").id.clone();
        scene
            .seen
            .probes
            .insert(id.clone(), ProbeStanding { ready: true, probes: 2, last_failure: None });
        scene.remember_replica(name, &id).probed_ready_since = Some(Timestamp(0));
        scene
    }

    /// A step is in flight on the replica that was added last.
    pub fn in_hand(mut self, work: Work) -> Scene {
        let last = self.containers().last().expect("just added");
        let subject =
            Subject::Replica { service: last.service.clone(), container: last.name.clone() };
        self.seen.busy.insert(subject, work);
        self
    }

    /// A replica that runs and whose probes fail.
    pub fn failing(self, name: &str, slot: Slot, tag: &str, number: u32) -> Scene {
        let mut scene = self.replica(name, slot, tag, number, RUNNING);
        let id = scene.containers().last().expect("just added").id.clone();
        let last_failure = Some("HTTP 503".to_owned());
        scene.seen.probes.insert(id, ProbeStanding { ready: false, probes: 9, last_failure });
        scene
    }

    /// A replica in any state, seen before.
    pub fn replica(
        mut self,
        name: &str,
        slot: Slot,
        tag: &str,
        number: u32,
        state: ContainerState,
    ) -> Scene {
        let service = self.stack.services.get(&name.parse().expect("a name"));
        let service = service.cloned().unwrap_or_else(|| service_of_old(name));
        let release = release(&service, tag);
        let position = self.containers().len();
        let id = ContainerId(format!("{name}-{slot}-{tag}-{number}"));
        let address = IpAddr::from([10, 0, 0, u8::try_from(position + 2).expect("few")]);
        let runs = matches!(state, ContainerState::Running { .. });
        self.containers_mut().push(Container {
            id: id.clone(),
            name: format!("demo-{name}-{slot}-{}-{number}", release.id),
            service: name.parse().expect("a name"),
            slot,
            release: release.id.clone(),
            replica: number,
            image: release.image.clone(),
            digest: release.digest.clone(),
            image_id: release.image_id.clone(),
            route_port: service.spec.route_port,
            state,
            addresses: BTreeMap::from_iter(runs.then(|| ("demo_default".to_owned(), address))),
            gateways: BTreeMap::new(),
            calls_by_proxy: BTreeSet::new(),
            created_at: i64::try_from(position).expect("few"),
        });
        if let Observed::Known(host) = &mut self.seen.host {
            host.images.push(local_image(&release.image));
        }
        let remembered = self.memory.services.entry(service.name.clone()).or_default();
        if !remembered.releases.contains(&release) {
            remembered.releases.push(release);
        }
        remembered.replicas.insert(id, ReplicaMemory::default());
        self
    }

    /// The route points at this placement's running replicas, and did for long.
    pub fn routed(mut self, name: &str, slot: Slot, tag: &str) -> Scene {
        let service = self.service(name);
        let target = placement(&service, slot, tag);
        let at_target: Vec<Container> = self
            .containers()
            .iter()
            .filter(|c| c.slot == slot && c.release == target.release && c.is_running())
            .cloned()
            .collect();
        let dials = at_target.iter().flat_map(|c| c.addresses.values());
        let state = RouteState {
            route: service.route.clone().expect("a route"),
            backend: Backend {
                slot,
                release: target.release.clone(),
                dials: dials.map(|ip| (*ip, 8080).into()).collect(),
            },
            standby: None,
            stream_close_delay: service.rollout.drain_timeout,
            inside: None,
        };
        for container in at_target {
            self.remember_replica(name, &container.id).traffic = Traffic::Routed;
        }
        let Observed::Known(proxy) = &mut self.seen.proxy else { panic!("the proxy is known") };
        proxy.table.insert(service.name.clone(), state);
        self.active(name, slot, tag)
    }

    /// The route's standby is what is ready of this placement.
    pub fn catching(mut self, name: &str, slot: Slot, tag: &str) -> Scene {
        let service = self.service(name);
        let Placement { slot, release } = placement(&service, slot, tag);
        let at = self.containers().iter().filter(|c| c.slot == slot && c.release == release);
        let dials = at.flat_map(|c| c.addresses.values()).map(|ip| (*ip, 8080).into()).collect();
        let Observed::Known(proxy) = &mut self.seen.proxy else { panic!("the proxy is known") };
        let state = proxy.table.get_mut(&service.name).expect("it is routed");
        state.standby = Some(Backend { slot, release, dials });
        self
    }

    /// The memory says that this placement is active, and long baked.
    pub fn active(mut self, name: &str, slot: Slot, tag: &str) -> Scene {
        let service = self.service(name);
        let target = placement(&service, slot, tag);
        let remembered = self.memory.services.entry(service.name.clone()).or_default();
        remembered.good.push(target.release.clone());
        remembered.active = Some(target);
        remembered.promoted_at = Some(Timestamp(0));
        for (id, replica) in &mut remembered.replicas {
            if id.0.contains(&format!("-{slot}-{tag}-")) {
                replica.restart_policy_set = true;
            }
        }
        self
    }

    /// Everything of a placement lost its route so long ago.
    pub fn unrouted_for(mut self, name: &str, slot: Slot, tag: &str, seconds: i64) -> Scene {
        let since = Timestamp(self.now.0 - seconds * 1000);
        let remembered = self.memory.services.get_mut(&name.parse().expect("a name"));
        for (id, replica) in &mut remembered.expect("seen before").replicas {
            if id.0.contains(&format!("-{slot}-{tag}-")) {
                replica.traffic = Traffic::UnroutedSince(since);
            }
        }
        self
    }

    /// The stack's network has addresses to assign, from 10.0.0.2 on. Those that
    /// run have theirs; one that does not had one too.
    pub fn with_addresses(mut self) -> Scene {
        let at = |(position, container): (usize, &Container)| {
            let address = IpAddr::from([10, 0, 0, u8::try_from(position + 2).expect("few")]);
            (address, container.name.clone())
        };
        let taken = self.containers().iter().enumerate().map(at).collect();
        let range = AddressRange { first: [10, 0, 0, 2].into(), last: [10, 0, 0, 9].into() };
        let Observed::Known(host) = &mut self.seen.host else { panic!("the host is known") };
        let network = HostNetwork { ours: Some(range), taken, gateway: None };
        host.networks.insert("demo_default".to_owned(), network);
        self
    }

    /// The proxy has these addresses for the idle slot of a service.
    pub fn idle(mut self, name: &str, last_octets: &[u8]) -> Scene {
        let dials = last_octets.iter().map(|octet| ([10, 0, 0, *octet], 8080).into()).collect();
        let Observed::Known(proxy) = &mut self.seen.proxy else { panic!("the proxy is known") };
        proxy.idle.insert(name.parse().expect("a name"), dials);
        self
    }

    /// The proxy has counted so many requests to the first replica of a placement,
    /// and none to any other.
    pub fn counted(mut self, name: &str, slot: Slot, tag: &str, requests: u64) -> Scene {
        let at = placement(&self.service(name), slot, tag);
        let mut here =
            self.containers().iter().filter(|c| c.slot == slot && c.release == at.release);
        let dial = here.next().and_then(|c| c.dials().next()).expect("it has an address");
        let listed = BTreeMap::from([(dial, requests)]);
        self.seen.in_flight = Observed::Known(InFlight { listed, unlisted: Unlisted::Idle });
        self
    }

    /// So much later, with the memory of a pass now.
    pub fn later(mut self, millis: i64) -> Scene {
        self.memory = self.pass().0;
        self.now = Timestamp(self.now.0 + millis);
        self
    }

    pub fn edit(mut self, change: impl FnOnce(&mut Scene)) -> Scene {
        change(&mut self);
        self
    }

    pub fn proxy_is_unknown(self) -> Scene {
        self.edit(|scene| {
            let failure = ObserveFailure::Failed("connection refused".to_owned());
            scene.seen.proxy = Observed::Unknown(failure);
        })
    }

    pub fn service(&self, name: &str) -> Service {
        self.stack.services[&name.parse().expect("a name")].clone()
    }

    pub fn containers(&self) -> &Vec<Container> {
        self.seen.containers.known().expect("the engine is known")
    }

    pub fn containers_mut(&mut self) -> &mut Vec<Container> {
        match &mut self.seen.containers {
            Observed::Known(containers) => containers,
            Observed::Unknown(_) => panic!("the engine is known"),
        }
    }

    pub fn remember_replica(&mut self, name: &str, id: &ContainerId) -> &mut ReplicaMemory {
        let service = self.memory.services.entry(name.parse().expect("a name")).or_default();
        service.replicas.entry(id.clone()).or_default()
    }

    /// Does one pass of pure functions. Every plan must also pass the check.
    pub fn pass(&self) -> (Memory, Plan) {
        let now = Now { at: self.now, unix_ms: 0 };
        let memory = remember(&self.stack, &self.memory, &self.seen, now);
        let plan = plan(&self.stack, &self.seen, &memory, now);
        let violations = check(&self.stack, &self.seen, &memory, now, &plan);
        assert!(violations.is_empty(), "{violations:?}\n{}", self.render(&plan));
        (memory, plan)
    }

    /// Returns the plan as text: a line a step, then a line a service and
    /// barrier. Release ids read as their tags.
    pub fn plan(&self) -> String {
        self.render(&self.pass().1)
    }

    fn render(&self, plan: &Plan) -> String {
        let mut lines: Vec<String> = plan.steps.iter().map(|step| step.to_string()).collect();
        for (name, service) in &plan.services {
            let state = format!("{:?}", service.state).to_lowercase();
            lines.push(format!("{name} is {state}: {}", service.reason));
            let waits = service.waiting_on.iter().map(|wait| wait.describe(self.now));
            lines.extend(waits.map(|wait| format!("  waits: {wait}")));
        }
        let mut text = lines.join("\n");
        for service in self.stack.services.values() {
            for tag in ["v1", "v2", "v3"] {
                text = text.replace(release(service, tag).id.as_str(), tag);
            }
        }
        text
    }
}

pub fn local_image(image: &ImageRef) -> LocalImage {
    let text = image.to_string();
    LocalImage {
        id: digest(&format!("id of {text}")),
        tags: BTreeSet::from([text.clone()]),
        digests: BTreeSet::from([image.familiar_digest(&digest(&text))]),
        pulled_as: BTreeSet::from([digest(&text)]),
    }
}

fn service_of_old(name: &str) -> Service {
    service(name)
}

pub fn depends(mut service: Service, on: &str, condition: DependsOn) -> Service {
    service.depends_on.insert(on.parse().expect("a name"), condition);
    service
}
