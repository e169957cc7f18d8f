//! Taking our mark off an image.

use quaymaster::{
    docker::Docker,
    domain::{ContainerSpec, ImageId},
    ports::Engine,
};

use crate::rig::registry::{Access, Registry};

use super::{Berth, docker, only, pull};

async fn is_here(engine: &Docker, id: &ImageId) -> bool {
    engine.host().await.expect("seen").has_image(id)
}

/// Puts an image into the registry that is nowhere on the engine.
fn push_away(berth: &mut Berth, registry: &Registry, name: &str) -> String {
    let local = berth.image();
    let reference = registry.push(&local, name);
    docker(&["rmi", &local]);
    reference
}

#[tokio::test]
async fn an_image_that_only_we_name_goes() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let engine = berth.docker().await;
    let reference = push_away(&mut berth, &registry, "app:1");
    let pulled = pull(&engine, &reference).await.expect("pulled");
    assert!(is_here(&engine, &pulled.image_id).await);
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("removed");
    assert!(!is_here(&engine, &pulled.image_id).await);
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("gone counts as removed");
}

#[tokio::test]
async fn an_image_that_somebody_else_names_loses_our_mark_only() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let engine = berth.docker().await;
    let reference = push_away(&mut berth, &registry, "app:1");
    let pulled = pull(&engine, &reference).await.expect("pulled");
    let theirs = format!("{}:theirs", berth.stack);
    docker(&["tag", pulled.image_id.as_str(), &theirs]);
    berth.images.push(theirs.clone());
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("unmarked");
    let host = engine.host().await.expect("seen");
    let image = host.images.iter().find(|image| image.id == pulled.image_id).expect("still here");
    assert!(image.pulled_as.is_empty() && image.tags.contains(&theirs), "{image:?}");
    docker(&["rmi", "-f", pulled.image_id.as_str()]);
}

#[tokio::test]
async fn an_image_of_two_stacks_goes_with_the_second() {
    let mut berth = Berth::new();
    let other = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let (engine, theirs) = (berth.docker().await, other.docker().await);
    let reference = push_away(&mut berth, &registry, "app:1");
    let pulled = pull(&engine, &reference).await.expect("pulled");
    assert_eq!(pull(&theirs, &reference).await.expect("here already"), pulled);
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("unmarked");
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("not ours any more");
    assert!(is_here(&engine, &pulled.image_id).await);
    theirs.remove_image(&pulled.image_id, &pulled.digest).await.expect("removed");
    assert!(!is_here(&engine, &pulled.image_id).await);
}

#[tokio::test]
async fn an_image_in_use_is_left_with_all_its_names() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let engine = berth.docker().await;
    let reference = push_away(&mut berth, &registry, "app:1");
    let pulled = pull(&engine, &reference).await.expect("pulled");
    let by_digest = format!("{}/app@{}", registry.host(), pulled.digest);
    let new = berth.replica(&by_digest, &["serve"], ContainerSpec::default());
    engine.create(&new).await.expect("created");
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("left");
    let host = engine.host().await.expect("seen");
    let image = host.images.iter().find(|image| image.id == pulled.image_id).expect("still here");
    assert!(image.pulled_as.contains(&pulled.digest) && image.digests.contains(&by_digest));
    engine.remove(&only(&engine).await.id).await.expect("removed");
    engine.remove_image(&pulled.image_id, &pulled.digest).await.expect("removed");
    assert!(!is_here(&engine, &pulled.image_id).await);
}

#[tokio::test]
async fn an_image_that_this_stack_did_not_pull_is_not_touched() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let local = berth.image();
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &local]);
    let id: ImageId = id.trim().parse().expect("an id");
    engine.remove_image(&id, &id).await.expect("nothing to do");
    assert!(is_here(&engine, &id).await);
}
