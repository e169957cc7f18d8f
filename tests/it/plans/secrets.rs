//! Which secret files have to be in place, and which may go.

use quaymaster::{
    domain::{
        ContainerId, GateKey, Observed, SecretBytes, SecretFile, Service,
        said::SaidLine,
        snapshot::{JobContainer, ObserveFailure},
    },
    plan::{NewHold, SecretFiles, secret_files},
};

use super::scene::*;

fn with_secret(value: &str) -> Service {
    let mut shop = service("shop");
    let file = SecretFile {
        name: "db".to_owned(),
        content: SecretBytes::new(value),
        uid: None,
        gid: None,
        mode: 0o444,
    };
    shop.spec.secrets.insert("/run/secrets/db".to_owned(), file);
    shop
}

/// Returns the values that are put in place after a pass, and how many releases need
/// theirs, if it is known.
fn kept(scene: &Scene) -> (Vec<String>, Option<usize>) {
    let (memory, plan) = scene.pass();
    let SecretFiles { of, needed } = secret_files(&scene.stack, &scene.seen, &memory, &plan);
    let files = of.values().flat_map(|files| files.values());
    let mut values: Vec<String> =
        files.map(|file| file.content.as_text().reveal().to_owned()).collect();
    values.sort();
    (values, needed.map(|needed| needed.len()))
}

fn settled(value: &str) -> Scene {
    Scene::of([with_secret(value)]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1")
}

/// The file says another value by now.
fn rotated(scene: Scene, value: &str) -> Scene {
    scene.edit(|scene| {
        let shop = with_secret(value);
        scene.stack.services.insert(shop.name.clone(), shop);
    })
}

#[test]
fn what_runs_has_its_files() {
    assert_eq!(kept(&settled("old")), (vec!["old".to_owned()], Some(1)));
}

#[test]
fn what_is_about_to_be_created_has_its_own_and_what_runs_keeps_the_old() {
    let scene = rotated(settled("old"), "new");
    assert_eq!(kept(&scene), (vec!["new".to_owned(), "old".to_owned()], None));
}

#[test]
fn nothing_is_removed_while_a_step_is_in_hand_or_the_engine_unseen() {
    let busy = settled("old").in_hand(Work::Tends);
    assert_eq!(kept(&busy), (vec!["old".to_owned()], None));
    let unseen = settled("old").edit(|scene| {
        let why = ObserveFailure::Failed("connection refused".to_owned());
        scene.seen.containers = Observed::Unknown(why);
    });
    assert_eq!(kept(&unseen), (Vec::new(), None));
}

#[test]
fn with_the_memory_lost_the_declaration_tells_what_is_in_them() {
    let scene = settled("old").edit(|scene| {
        scene.memory.services.clear();
        scene.memory.resolutions.clear();
    });
    let (_, plan) = scene.pass();
    let kept = secret_files(&scene.stack, &scene.seen, &scene.memory, &plan);
    assert_eq!(kept.of.len(), 1);
    // A release that nothing tells the content of keeps what it has.
    let other = rotated(scene, "new");
    let kept = secret_files(&other.stack, &other.seen, &other.memory, &plan);
    assert!(kept.of.is_empty() && kept.needed.is_none_or(|needed| needed.len() == 1));
}

#[test]
fn a_job_has_the_files_of_its_release() {
    let scene = settled("old").edit(|scene| {
        let container = scene.containers()[0].clone();
        let gate = "aaaaaaaaaaaa".to_owned().try_into().expect("an id");
        scene.seen.jobs.push(JobContainer {
            id: ContainerId("job".to_owned()),
            name: "demo-shop-job".to_owned(),
            key: GateKey { service: container.service, release: container.release, gate },
            digest: container.digest,
            image_id: container.image_id,
            state: RUNNING,
            created_at: 0,
        });
        scene.containers_mut().clear();
    });
    let (memory, plan) = scene.pass();
    let kept = secret_files(&scene.stack, &scene.seen, &memory, &plan);
    let values: Vec<_> = kept.of.values().flat_map(|files| files.keys()).collect();
    assert_eq!(values, ["/run/secrets/db"]);
}

#[test]
fn a_secret_does_not_change_the_release_of_a_service_without_one() {
    let json = serde_json::to_string(&service("shop").spec).expect("it serialises");
    assert!(!json.contains("secrets"), "{json}");
    assert_ne!(release(&with_secret("a"), "v1").id, release(&with_secret("b"), "v1").id);
    assert_eq!(release(&with_secret("a"), "v1").id, release(&with_secret("a"), "v1").id);
}

#[test]
fn a_kept_log_shows_no_line_of_a_secret() {
    let key = "-----BEGIN KEY-----\n  first-line-of-it\nsecond-line-of-it\nx\n-----END KEY-----\n";
    let mut shop = with_secret(key);
    shop.spec.environment.insert("A".to_owned(), quaymaster::domain::Secret::new("a-variable"));
    let hold = NewHold {
        service: shop.name.clone(),
        hold: quaymaster::domain::memory::Hold {
            declaration: shop.declaration(),
            release: None,
            image: shop.image.clone(),
            reason: String::new(),
            log: Vec::new(),
            gates: Vec::new(),
            by: Default::default(),
            at_unix_ms: 0,
        },
        of: quaymaster::domain::snapshot::HoldOf::Declared,
        log_of: None,
        secrets: shop.secrets().collect(),
        variables: shop.variables().collect(),
    };
    let lines = [
        ("key=first-line-of-it", "key=(hidden)"),
        ("second-line-of-it!", "(hidden)!"),
        ("-----END KEY-----", "(hidden)"),
        ("a-variable x", "(hidden) x"),
        ("nothing of it", "nothing of it"),
    ];
    for (line, shown) in lines {
        assert_eq!(hold.scrub(&SaidLine::whole(line)), shown);
    }
}
