//! Hand-written reports to render.

use quaymaster::{
    controller::status::{
        Declared, FileStanding, HoldStatus, PartStanding, ProxyStanding, ReplicaCount,
        ServiceStatus, SlotStatus, Slots, StatusReport,
    },
    domain::{
        Digest, ImageRef, ReleaseId, Slot, Strategy, memory::HeldBy, snapshot::FlipMechanism,
    },
    plan::ServiceState,
};

/// Returns a stack with a service in each state.
pub fn every_state() -> StatusReport {
    let mut gateway = service("gateway", "registry.example.com/shop/gateway:1.4.2");
    gateway.waiting_on = vec!["blue warm for rollback, 9m41s left".to_owned()];

    let mut orchestrator =
        service("orchestrator", "registry.example.com/shop/orchestrator:3f9c2ab");
    orchestrator.state = ServiceState::Progressing;
    orchestrator.active_slot = Some(Slot::Blue);
    orchestrator.declared.image = image("registry.example.com/shop/orchestrator:77b01de");
    orchestrator.reason =
        "rolling out; serving registry.example.com/shop/orchestrator:3f9c2ab".to_owned();
    orchestrator.waiting_on =
        vec!["1 of 2 ready in green, 9m12s left (HTTP 503 from /health)".to_owned()];
    orchestrator.replicas = ReplicaCount { ready: 2, declared: 2 };

    let mut worker = service("worker", "registry.example.com/shop/worker:2.0.0");
    worker.state = ServiceState::Held;
    worker.strategy = Strategy::Rolling;
    worker.declared.image = image("registry.example.com/shop/worker:2.1.0");
    worker.reason =
        "shop-worker-green-1 exited with code 1; still serving registry.example.com/shop/worker:2.0.0"
            .to_owned();
    worker.hold = Some(HoldStatus {
        image: image("registry.example.com/shop/worker:2.1.0"),
        release: Some(release("0badc0de0bad")),
        reason: "shop-worker-green-1 exited with code 1".to_owned(),
        log: (1..=12)
            .map(|n| format!("line {n} of what it said before it gave up for want of a queue"))
            .collect(),
        gates: Vec::new(),
        by: HeldBy::Failure,
        at_unix_ms: 1_795_258_800_000,
    });

    let mut postgres = service("postgres", "postgres:15-alpine");
    postgres.state = ServiceState::Degraded;
    postgres.strategy = Strategy::Recreate;
    postgres.reason = "0 of 1 replicas ready".to_owned();
    postgres.replicas = ReplicaCount { ready: 0, declared: 1 };

    let mut search = service("search", "search:1");
    search.state = ServiceState::Unknown;
    search.reason = "the proxy cannot be seen: nothing moves".to_owned();
    search.active_slot = None;

    StatusReport {
        unreached: Vec::new(),
        at_unix_ms: 1_795_258_920_000,
        controlled: true,
        stack: "shop".parse().expect("a name"),
        state: ServiceState::Held,
        file: FileStanding {
            path: "/etc/quaymaster/quaymaster.yaml".into(),
            valid: true,
            problem: None,
            git: None,
        },
        commit: None,
        docker: PartStanding { known: true, why: None },
        proxy: ProxyStanding {
            used: true,
            part: PartStanding { known: true, why: None },
            version: Some("2.11.7".to_owned()),
            flip: Some(FlipMechanism::SwitchFile),
            names: None,
            untold: Default::default(),
            promised: Default::default(),
        },
        services: vec![gateway, orchestrator, postgres, search, worker],
        orphans: Vec::new(),
    }
}

/// Returns a service that is settled in green.
pub fn service(name: &str, image_text: &str) -> ServiceStatus {
    let image = image(image_text);
    ServiceStatus {
        name: name.parse().expect("a name"),
        state: ServiceState::Settled,
        reason: "runs as declared".to_owned(),
        strategy: Strategy::BlueGreen,
        active_slot: Some(Slot::Green),
        image: image.clone(),
        digest: Some(digest('a')),
        release: Some(release("123456789abc")),
        commit: None,
        last_good: Some(release("123456789abc")),
        waiting_on: Vec::new(),
        to_promote: false,
        barriers: Vec::new(),
        declared: Declared { image: image.clone(), slot: None },
        gates: Vec::new(),
        hosts: vec![format!("{name}.example.com")],
        name_answered: None,
        replicas: ReplicaCount { ready: 1, declared: 1 },
        hold: None,
        slots: Slots {
            blue: None,
            green: Some(SlotStatus {
                image,
                release: release("123456789abc"),
                ready: 1,
                replicas: 1,
            }),
        },
    }
}

pub fn image(text: &str) -> ImageRef {
    text.parse().expect("an image reference")
}

pub fn release(text: &str) -> ReleaseId {
    ReleaseId::try_from(text.to_owned()).expect("a release id")
}

pub fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().expect("a digest")
}
