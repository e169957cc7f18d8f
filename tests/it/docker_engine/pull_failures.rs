//! Pulls that cannot succeed, and what each means for the next try.

use std::time::Duration;

use axum::http::StatusCode;
use quaymaster::{
    docker::Options,
    domain::snapshot::{Failure, FailureKind},
    ports::Engine,
};

use crate::rig::registry::{Access, Registry};

use super::{
    Berth,
    fake::{self, Layer},
    pull,
};

async fn failure_from(host: &str) -> Failure {
    let berth = Berth::new();
    let options = Options {
        pull_idle_timeout: Duration::from_secs(3),
        docker_config: None,
        ..Options::default()
    };
    let engine = berth.docker_with(options).await;
    pull(&engine, &format!("{host}/app:1")).await.expect_err("it cannot be pulled")
}

#[tokio::test]
async fn a_missing_tag_and_a_missing_repository_are_refused() {
    let mut berth = Berth::new();
    let registry = Registry::start(Access::Anybody);
    let local = berth.image();
    registry.push(&local, "app:1");
    let engine = berth.docker().await;
    for name in ["app:2", "nothing:1"] {
        let reference = format!("{}/{name}", registry.host());
        let failure = pull(&engine, &reference).await.expect_err("not there");
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
        assert!(failure.message.contains(&reference), "{failure}");
    }
}

#[tokio::test]
async fn a_registry_that_is_down_may_come_back() {
    let mut registry = Registry::start(Access::Anybody);
    registry.stop();
    let failure = failure_from(registry.host()).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.contains("connection refused"), "{failure}");
}

#[tokio::test]
async fn a_rate_limit_is_told_with_its_pace() {
    let words = "retry-after: 90s, allowed: 10/minute";
    let limited =
        fake::refusing_registry(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", words).await;
    let failure = failure_from(&limited.host()).await;
    let retry_after = Some(Duration::from_secs(90));
    assert_eq!(failure.kind, FailureKind::RateLimited { retry_after }, "{failure}");
}

#[tokio::test]
async fn a_denial_is_refused_with_the_mend() {
    let words = "requested access to the resource is denied";
    let denied = fake::refusing_registry(StatusCode::FORBIDDEN, "DENIED", words).await;
    let failure = failure_from(&denied.host()).await;
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    assert!(failure.message.ends_with(&format!("(docker login {})", denied.host())), "{failure}");
}

#[tokio::test]
async fn a_registry_with_a_fault_of_its_own_may_recover() {
    let broken =
        fake::refusing_registry(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "out of order").await;
    assert_eq!(failure_from(&broken.host()).await.kind, FailureKind::Transient);
}

#[tokio::test]
async fn a_registry_that_never_answers_meets_the_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = silent.local_addr().expect("bound").to_string();
    assert_eq!(failure_from(&host).await.kind, FailureKind::Transient);
}

#[tokio::test]
async fn a_layer_that_stalls_meets_the_deadline() {
    let stalling = fake::registry_of("amd64", Layer::Stalls).await;
    let failure = failure_from(&stalling.host()).await;
    assert_eq!(failure.kind, FailureKind::Transient);
    assert!(failure.message.ends_with("no progress for 3s, cancelled"), "{failure}");
}

#[tokio::test]
async fn an_error_after_a_200_is_a_failed_pull() {
    let corrupt = fake::registry_of("amd64", Layer::Corrupt).await;
    let failure = failure_from(&corrupt.host()).await;
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
}

#[tokio::test]
async fn another_architecture_is_refused_and_still_marked_for_pruning() {
    let foreign = fake::registry_of("s390x", Layer::Whole).await;
    let berth = Berth::new();
    let engine = berth.docker().await;
    let failure = pull(&engine, &format!("{}/app:1", foreign.host())).await.expect_err("foreign");
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    assert!(failure.message.contains("is linux/s390x, this host is linux/"), "{failure}");
    let host = engine.host().await.expect("seen");
    assert_eq!(host.images.iter().filter(|image| !image.pulled_as.is_empty()).count(), 1);
}
