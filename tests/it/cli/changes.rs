//! What `plan` says, from a file, what runs, and what the planner makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use quaymaster::{
    cli::{
        changes::{Action, Changes, changes},
        view::{self, Page, Palette},
    },
    controller::status::{FileStanding, report},
    domain::{
        Container, ContainerId, HostIdentity, Memory, Observed, Resolution, Slot, Snapshot, Stack,
        Timestamp,
        manifest::{self, AllowDeleteAll, Input},
        memory::{Accepted, Placement, ServiceMemory},
        snapshot::{ContainerState, Host, ObserveFailure, ProxyState},
        time::Now,
    },
    plan::{plan, remember},
};

use super::reports::digest;
use crate::manifest::secrets::TestVault;

const NOW: Now = Now { at: Timestamp(1_000_000), unix_ms: 0 };

fn stack(yaml: &str) -> Stack {
    let input = Input {
        file_name: "quaymaster.yaml",
        text: yaml.as_bytes(),
        variables: &|_| None,
        read_file: &|_| Err(io::ErrorKind::NotFound.into()),
        vault: &TestVault,
        base_dir: Path::new("/etc/quaymaster"),
        allow_delete_all: AllowDeleteAll::No,
        host: &HostIdentity::default(),
        policy: None,
    };
    manifest::parse(&input).unwrap_or_else(|report| panic!("{report}"))
}

/// A world in which `stack` has long been settled in blue.
fn settled(stack: &Stack) -> (Snapshot, Memory) {
    let accepted =
        Accepted { stack: stack.clone(), file: "/etc/quaymaster/quaymaster.yaml".into() };
    let mut memory = Memory { accepted: Some(accepted), ..Memory::default() };
    let mut containers = Vec::new();
    for service in stack.services.values() {
        let release = service.release(digest('a'), digest('b'));
        let resolution = Resolution { digest: digest('a'), image_id: digest('b') };
        memory.resolutions.insert(service.image.clone(), resolution);
        let remembered = ServiceMemory {
            releases: vec![release.clone()],
            active: Some(Placement { slot: Slot::Blue, release: release.id.clone() }),
            good: vec![release.id.clone()],
            ..ServiceMemory::default()
        };
        memory.services.insert(service.name.clone(), remembered);
        containers.extend((1..=service.replicas).map(|replica| Container {
            id: ContainerId(format!("{}{replica}", service.name)),
            name: format!("shop-{}-blue-{}-{replica}", service.name, release.id),
            service: service.name.clone(),
            slot: Slot::Blue,
            release: release.id.clone(),
            replica,
            image: release.image.clone(),
            digest: release.digest.clone(),
            image_id: release.image_id.clone(),
            route_port: None,
            state: ContainerState::Running { health: None },
            addresses: BTreeMap::new(),
            gateways: BTreeMap::new(),
            calls_by_proxy: BTreeSet::new(),
            created_at: 0,
        }));
    }
    let snapshot = Snapshot {
        containers: Observed::Known(containers),
        proxy: Observed::Known(ProxyState { intact: true, ..ProxyState::default() }),
        jobs: Vec::new(),
        in_flight: Observed::Unknown(ObserveFailure::NotAsked),
        host: Observed::Known(Host::default()),
        probes: BTreeMap::new(),
        measured: BTreeMap::new(),
        pulls: BTreeMap::new(),
        outcomes: Vec::new(),
        busy: BTreeMap::new(),
        claimed: BTreeSet::new(),
    };
    let early = Now { at: Timestamp(0), unix_ms: 0 };
    let mut memory = remember(stack, &memory, &snapshot, early);
    let replicas = memory.services.values_mut().flat_map(|service| service.replicas.values_mut());
    replicas.for_each(|replica| replica.restart_policy_set = true);
    (snapshot, memory)
}

fn changes_to(before: &str, after: &str) -> Changes {
    let before = stack(before);
    let after = stack(after);
    let (seen, memory) = settled(&before);
    let memory = remember(&after, &memory, &seen, NOW);
    let plan = plan(&after, &seen, &memory, NOW);
    let file =
        FileStanding { path: "quaymaster.yaml".into(), valid: true, problem: None, git: None };
    let report = report(&after, &file, &seen, &memory, &plan, NOW);
    changes(&after, &seen, &memory, &plan, &report, Some(&before))
}

fn rendered(changes: &Changes) -> String {
    let page = Page { width: Some(100), palette: Palette::Plain };
    view::changes::render(page, changes).join("\n")
}

const BEFORE: &str = "
name: shop
services:
  gateway: { image: 'gateway:1' }
  worker:
    image: worker:1
    environment: { MODE: slow, TOKEN: hunter2 }
    rollout: { strategy: blue-green, drain_timeout: 10s }
  old: { image: 'old:1' }
";

#[test]
fn what_a_promotion_waits_for_is_part_of_the_way() {
    let file = |tag: u32| {
        format!(
            "
name: shop
proxy: {{ caddy: {{}} }}
services:
  gateway:
    image: 'gateway:{tag}'
    route: {{ host: shop.example, port: 80 }}
    rollout_group: release
    rollout:
      pre_promotion: [ {{ job: {{ command: [./migrate, --now] }} }} ]
      post_promotion: [ {{ http: {{ path: /ok, port: 80 }} }} ]
      auto_promote: false
  worker: {{ image: 'worker:{tag}', rollout_group: release, rollout: {{ strategy: blue-green }} }}
  edge: {{ image: 'edge:1', hosts: [edge-1] }}
"
        )
    };
    insta::assert_snapshot!(rendered(&changes_to(&file(1), &file(2))), @r"
        shop

        ~ gateway
            pulling the image
            image  gateway:1 → gateway:2
            route  shop.example/* to port 80
            ⇒ pull gateway:2, start 1 replica in green, probe until ready, pass `job ./migrate`, wait for
            `quaymaster promote gateway`, wait until worker can follow too, flip blue → green, drain the old
            ones for at most 30s, flip back if `http :80/ok` fails in the bake, keep blue warm for 10m30s

        ~ worker
            pulling the image
            image  worker:1 → worker:2
            ⇒ pull worker:2, start 1 replica in green, probe until ready, wait until gateway can follow too,
            cut over to green, drain the old ones for at most 30s, keep blue warm for 10m30s

        On other hosts: edge

        It would begin with:
          pull gateway:2
          pull worker:2

        Services: 2 to change.
    ");
}

#[test]
fn an_edit_is_shown_service_by_service() {
    let after = "
name: shop
services:
  gateway: { image: 'gateway:1' }
  worker:
    image: worker:2
    environment: { MODE: fast, TOKEN: correct-horse }
    deploy: { replicas: 2 }
    rollout: { strategy: blue-green, drain_timeout: 20s }
  search: { image: 'search:1' }
";
    let changes = changes_to(BEFORE, after);
    let actions: Vec<(&str, Action)> =
        changes.services.iter().map(|one| (one.name.as_str(), one.action)).collect();
    assert_eq!(
        actions,
        [
            ("gateway", Action::Keep),
            ("old", Action::Remove),
            ("search", Action::Create),
            ("worker", Action::Change),
        ]
    );
    assert!(changes.something_to_do);
    insta::assert_snapshot!("changes", rendered(&changes));
}

#[test]
fn no_secret_value_is_in_a_diff() {
    let after = BEFORE.replace("hunter2", "correct-horse");
    let changes = changes_to(BEFORE, &after);
    let json = serde_json::to_string(&changes).expect("plain data serialises");
    for text in [rendered(&changes), json] {
        assert!(text.contains("environment.TOKEN"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("correct-horse"), "{text}");
    }
}

#[test]
fn a_rotated_secret_is_named_and_not_shown() {
    let with = |value: &str| {
        format!(
            "name: shop\nsecrets: {{ db: {{ age: \"age:{value}\" }} }}\nservices:\n  gateway: {{ image: 'gateway:1', secrets: [db] }}\n"
        )
    };
    let changes = changes_to(&with("hunter2"), &with("correct-horse"));
    let json = serde_json::to_string(&changes).expect("plain data serialises");
    for text in [rendered(&changes), json] {
        assert!(text.contains("secrets./run/secrets/db.content"), "{text}");
        // Neither as they are nor in Base64.
        for hidden in ["hunter2", "correct-horse", "aHVudGVy", "Y29ycmVjd"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}

#[test]
fn an_unchanged_file_is_nothing_to_do() {
    let changes = changes_to(BEFORE, BEFORE);
    assert!(!changes.something_to_do, "{changes:#?}");
    assert!(changes.services.iter().all(|one| one.action == Action::Keep), "{changes:#?}");
}
