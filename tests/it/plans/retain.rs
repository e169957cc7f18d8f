//! Which releases keep their image, and which images go.

use std::time::Duration;

use quaymaster::domain::{Observed, Timestamp, memory::Traffic};

use super::scene::*;

/// v4 serves in blue and was promoted in place of v3; v1 and v2 are only remembered,
/// and all of their images are here, pulled by this stack.
fn fourth_release() -> Scene {
    let scene = Scene::of([tagged(service("shop"), "v4")])
        .ready("shop", Blue, "v4", 1)
        .routed("shop", Blue, "v4");
    scene.edit(|scene| {
        let shop = scene.service("shop");
        let tags = ["v1", "v2", "v3", "v4"];
        let releases = tags.map(|tag| release(&shop, tag));
        scene.memory.pruned_at = None;
        let remembered = scene.memory.services.entry(shop.name.clone()).or_default();
        remembered.releases = releases.to_vec();
        remembered.good = releases.iter().map(|release| release.id.clone()).collect();
        remembered.previous = Some(placement(&shop, Green, "v3"));
        remembered.promoted_at = Some(Timestamp(0));
        remembered.replicas.values_mut().for_each(|it| {
            it.traffic = Traffic::Routed;
            it.restart_policy_set = true;
        });
        let Observed::Known(host) = &mut scene.seen.host else { panic!("the host is known") };
        host.images = releases.iter().map(|release| local_image(&release.image)).collect();
    })
}

/// The images that the next passes remove, by their tags.
fn removed(scene: &Scene) -> Vec<String> {
    let shop = scene.service("shop");
    let tags = ["v1", "v2", "v3", "v4"];
    let is_removed = |tag: &&str| {
        let digest = release(&shop, tag).digest;
        scene.plan().contains(&format!("remove image {}", digest.short()))
    };
    tags.into_iter().filter(is_removed).map(str::to_owned).collect()
}

#[test]
fn what_is_beyond_the_count_goes_and_the_oldest_first() {
    let scene = fourth_release().edit(|scene| scene.stack.images.retain_releases = 3);
    assert_eq!(removed(&scene), ["v1"]);
    let scene = fourth_release().edit(|scene| scene.stack.images.retain_releases = 4);
    assert_eq!(removed(&scene), [""; 0]);
}

#[test]
fn what_serves_or_may_have_to_stays_whatever_the_count() {
    let scene = fourth_release().edit(|scene| scene.stack.images.retain_releases = 0);
    assert_eq!(removed(&scene), ["v1", "v2"]);
}

#[test]
fn what_nothing_has_needed_for_long_goes_before_there_are_too_many() {
    let day = 24 * 3_600_000;
    let scene = fourth_release().edit(|scene| {
        scene.stack.images.retain_for = Some(Duration::from_secs(2 * 24 * 3_600));
    });
    // The time counts from when it was first seen to be unneeded.
    let scene = scene.later(day);
    assert_eq!(removed(&scene), [""; 0]);
    let scene = scene.later(day - 1);
    assert_eq!(removed(&scene), [""; 0]);
    assert_eq!(removed(&scene.later(1)), ["v1", "v2"]);
}

#[test]
fn a_release_that_comes_back_counts_from_nothing() {
    let day = 24 * 3_600_000;
    let scene = fourth_release().edit(|scene| {
        scene.stack.images.retain_for = Some(Duration::from_secs(2 * 24 * 3_600));
    });
    let scene = scene.later(day).edit(|scene| {
        let shop = scene.service("shop");
        let remembered = scene.memory.services.get_mut(&shop.name).expect("known");
        remembered.previous = Some(placement(&shop, Green, "v2"));
    });
    assert_eq!(removed(&scene.later(day)), ["v1"]);
}
