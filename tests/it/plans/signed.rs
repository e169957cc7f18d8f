//! Signatures: closed for what is new, open for what serves.

use insta::assert_snapshot;
use quaymaster::{
    domain::{
        Observed, SignatureWanted, SignedImage,
        gate::{Gate, GateCheck, JobSpec},
        signature::{SignatureRule, SigningKey},
        snapshot::{Failure, FailureKind, Outcome, Work},
    },
    plan::{self, check, plan, remember},
};

use super::scene::*;

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3R0ZtpfBd3Y8DaXuB1gM8JPlhsDI
EfXO/WsMJEN14hEn8wajX2HklqL7igZPFICv6tBUGylIHp2mTH2Nhv38mg==
-----END PUBLIC KEY-----";

/// Every image must be signed from now on.
fn signed_only(scene: Scene) -> Scene {
    scene.edit(|scene| {
        let key = SigningKey::from_pem("ci.pub", KEY).expect("a key");
        let images = "*".parse().expect("a prefix");
        scene.stack.signatures = vec![SignatureRule { images, keys: vec![key] }];
    })
}

/// What is asked about the release of this tag.
fn wanted(scene: &Scene, name: &str, tag: &str) -> SignatureWanted {
    let release = release(&scene.service(name), tag);
    scene.stack.signature_of(&release.image, &release.digest).expect("it must be signed")
}

fn image(scene: &Scene, name: &str, tag: &str) -> SignedImage {
    wanted(scene, name, tag).image
}

/// A look at the signature of this tag has ended.
fn looked(scene: Scene, tag: &str, result: Result<(), FailureKind>) -> Scene {
    scene.edit(|scene| {
        let image = image(scene, "shop", tag);
        let message = "ci.pub has not signed it".to_owned();
        let result = result.map_err(|kind| Failure { kind, message });
        scene.seen.outcomes.push(Outcome::Verified { image, result });
    })
}

/// v1 serves in blue, and the file wants v2.
fn to_v2() -> Scene {
    let scene = Scene::of([tagged(service("shop"), "v2")]);
    scene.ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1")
}

#[test]
fn nothing_is_created_before_its_signature_was_seen() {
    assert_snapshot!(signed_only(to_v2()).plan(), @r"
        verify that shop:v2 is signed by ci.pub
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
    ");
}

#[test]
fn what_was_seen_to_be_signed_is_created() {
    assert_snapshot!(looked(signed_only(to_v2()), "v2", Ok(())).plan(), @r"
        create demo-shop-green-v2-1 (shop:v2 in green)
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn what_is_not_signed_is_held_at_once_and_the_old_serves() {
    let refused = Err(FailureKind::Refused);
    assert_snapshot!(looked(signed_only(to_v2()), "v2", refused).plan(), @r"
        hold shop:v2: ci.pub has not signed it
        shop is held: ci.pub has not signed it; still serving shop:v1
    ");
}

#[test]
fn a_registry_that_cannot_tell_is_asked_again_later() {
    let transient = Err(FailureKind::Transient);
    assert_snapshot!(looked(signed_only(to_v2()), "v2", transient).plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
          waits: try 2 in 1s: ci.pub has not signed it
    ");
    let later = looked(signed_only(to_v2()), "v2", transient).later(400);
    let later = later.edit(|scene| scene.seen.outcomes.clear()).later(600);
    assert_snapshot!(later.plan(), @r"
        verify that shop:v2 is signed by ci.pub
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
    ");
}

#[test]
fn a_look_in_hand_is_not_begun_twice() {
    let scene = signed_only(to_v2()).edit(|scene| {
        let subject = plan::signature_subject(&wanted(scene, "shop", "v2"));
        scene.seen.busy.insert(subject, Work::Tends);
    });
    assert_snapshot!(scene.plan(), @r"
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
    ");
}

#[test]
fn what_was_made_before_the_rule_is_neither_started_nor_promoted() {
    let ready = signed_only(to_v2().ready("shop", Green, "v2", 1));
    assert_snapshot!(ready.plan(), @r"
        verify that shop:v2 is signed by ci.pub
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
    ");
    let made = signed_only(to_v2().replica("shop", Green, "v2", 1, Created));
    assert_snapshot!(made.plan(), @r"
        verify that shop:v2 is signed by ci.pub
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
          waits: 0 of 1 ready in green, 1m1s left
    ");
    assert_snapshot!(looked(ready, "v2", Ok(())).plan(), @r"
        write routes: shop: blue v1 → green v2
        shop is progressing: rolling out; serving shop:v1
    ");
}

#[test]
fn a_standby_that_is_not_signed_is_held() {
    let mut declared = service("shop");
    declared.standby = Some("shop:v2".parse().expect("an image"));
    let scene = Scene::of([declared]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    let scene = signed_only(scene).edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
        host.images.push(local_image(&"shop:v2".parse().expect("an image")));
    });
    let refused = looked(scene, "v2", Err(FailureKind::Refused));
    assert_snapshot!(refused.plan(), @r"
        hold shop:v2: ci.pub has not signed it
        shop is progressing: settling
    ");
}

#[test]
fn what_serves_is_created_again_without_asking() {
    let scene = Scene::of([service("shop")]).ready("shop", Blue, "v1", 1);
    let scene = signed_only(scene.routed("shop", Blue, "v1"));
    let lost = scene.edit(|scene| scene.containers_mut().clear());
    assert_snapshot!(lost.plan(), @r"
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        shop is degraded: 0 of 1 replicas ready
    ");
}

#[test]
fn going_back_to_a_release_that_was_good_asks_nobody() {
    let scene = signed_only(to_v2()).edit(|scene| {
        // v2 is held, and v1 lost its containers.
        scene.containers_mut().clear();
    });
    let refused = looked(scene, "v2", Err(FailureKind::Refused));
    assert_snapshot!(refused.plan(), @r"
        hold shop:v2: ci.pub has not signed it
        create demo-shop-blue-v1-1 (shop:v1 in blue)
        shop is held: ci.pub has not signed it; going back to shop:v1
    ");
}

#[test]
fn other_keys_are_asked_about_anew() {
    let scene = looked(signed_only(to_v2()), "v2", Ok(())).later(0);
    let known = image(&scene, "shop", "v2");
    assert_eq!(scene.memory.verified, [known]);
    let scene = scene.edit(|scene| {
        scene.seen.outcomes.clear();
        let other = KEY.replace("3R0Z", "3R0a");
        let key = SigningKey::from_pem("new.pub", &other).expect("a key");
        scene.stack.signatures[0].keys = vec![key];
    });
    assert_snapshot!(scene.plan(), @r"
        verify that shop:v2 is signed by new.pub
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
    ");
    // What was found by the old key is of no use any more.
    assert_eq!(scene.pass().0.verified, []);
}

#[test]
fn a_replica_more_of_a_signed_release_needs_no_second_look() {
    let mut two = service("shop");
    two.replicas = 2;
    let scene = signed_only(Scene::of([two]).replica("shop", Blue, "v1", 1, RUNNING));
    assert_snapshot!(looked(scene, "v1", Ok(())).plan(), @r"
        create demo-shop-blue-v1-2 (shop:v1 in blue)
        shop is progressing: first deployment
          waits: 0 of 2 ready in blue, 1m1s left
    ");
}

#[test]
fn a_standby_must_be_signed_too() {
    let mut shop = service("shop");
    shop.standby = Some("shop:v2".parse().expect("an image"));
    let scene = Scene::of([shop]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    let scene = signed_only(scene).edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
        host.images.push(local_image(&"shop:v2".parse().expect("an image")));
    });
    assert_snapshot!(scene.plan(), @r"
        verify that shop:v2 is signed by ci.pub
        shop is progressing: settling
          waits: the signature of shop:v2 to be verified
          waits: standby in green, 0 of 1 ready
    ");
    let scene = signed_only(scene);
    assert_snapshot!(looked(scene, "v2", Err(FailureKind::Refused)).plan(), @r"
        hold shop:v2: ci.pub has not signed it
        shop is progressing: settling
    ");
}

/// A release that is ready, and whose migration has an image of its own.
fn with_a_job() -> Scene {
    let mut shop = tagged(service("shop"), "v2");
    let job = "tools:v3".parse().expect("an image");
    let spec = JobSpec { command: None, image: Some(job), environment: Default::default() };
    shop.rollout.pre_promotion.push(Gate {
        check: GateCheck::Job(spec),
        interval: std::time::Duration::from_secs(1),
        timeout: std::time::Duration::from_secs(60),
        failure_limit: 0,
    });
    let scene = Scene::of([shop]).ready("shop", Blue, "v1", 1).routed("shop", Blue, "v1");
    let scene = signed_only(scene.ready("shop", Green, "v2", 1));
    scene.edit(|scene| {
        let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
        host.images.push(local_image(&"tools:v3".parse().expect("an image")));
    })
}

#[test]
fn a_job_with_an_image_of_its_own_must_be_signed_too() {
    assert_snapshot!(with_a_job().plan(), @r"
        verify that shop:v2 is signed by ci.pub
        verify that tools:v3 is signed by ci.pub
        shop is progressing: rolling out; serving shop:v1
          waits: the signature of shop:v2 to be verified
          waits: the signature of tools:v3 to be verified
          waits: pre-promotion gate `job tools:v3`
    ");
    let scene = with_a_job().edit(|scene| {
        let tools = local_image(&"tools:v3".parse().expect("an image"));
        let digest = tools.pulled_as.first().expect("it was pulled").clone();
        let job = "tools:v3".parse().expect("an image");
        let wanted = scene.stack.signature_of(&job, &digest).expect("it must be signed");
        let failure =
            Failure { kind: FailureKind::Refused, message: "nobody signed tools".to_owned() };
        scene.seen.outcomes.push(Outcome::Verified { image: wanted.image, result: Err(failure) });
    });
    assert_snapshot!(scene.plan(), @r"
        hold shop:v2: nobody signed tools
        shop is held: nobody signed tools; still serving shop:v1
    ");
}

#[test]
fn retry_has_a_signature_looked_for_again() {
    let scene = looked(signed_only(to_v2()), "v2", Err(FailureKind::Refused));
    let now = quaymaster::domain::time::Now { at: scene.now, unix_ms: 0 };
    let memory = remember(&scene.stack, &scene.memory, &scene.seen, now);
    assert_eq!(memory.failed_checks.len(), 1);
    let shop = "shop".parse().expect("a name");
    let memory = plan::retry(&scene.stack, &memory, &shop, now).expect("there is a failure");
    assert!(memory.failed_checks.is_empty());
}

#[test]
fn the_check_sees_a_creation_that_was_not_verified() {
    let scene = to_v2();
    let now = quaymaster::domain::time::Now { at: scene.now, unix_ms: 0 };
    let memory = remember(&scene.stack, &scene.memory, &scene.seen, now);
    let made = plan(&scene.stack, &scene.seen, &memory, now);
    assert!(check(&scene.stack, &scene.seen, &memory, now, &made).is_empty());
    let scene = signed_only(scene);
    let violations = check(&scene.stack, &scene.seen, &memory, now, &made);
    let said: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(said[0].starts_with("S11, shop: ") && said.len() == 1, "{said:?}");
}

#[test]
fn what_nothing_names_any_more_is_forgotten() {
    let scene = looked(signed_only(to_v2()), "v2", Ok(())).later(0);
    let gone = scene.edit(|scene| {
        scene.seen.outcomes.clear();
        scene.stack.services.clear();
        scene.memory.services.clear();
    });
    assert_eq!(gone.pass().0.verified, []);
}
