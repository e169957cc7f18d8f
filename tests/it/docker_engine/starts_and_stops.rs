//! Starts that fail, and stops that must come out right.

use std::time::Duration;

use quaymaster::{
    domain::{
        ContainerSpec,
        release::{PortProtocol, PublishedPort, RestartPolicy},
        snapshot::{ContainerState, FailureKind},
    },
    ports::Engine,
};

use super::{Berth, inspect, only};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_command_that_does_not_exist_is_refused_and_leaves_the_container() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let entrypoint = Some(vec!["/nothing-here".to_owned()]);
    let spec = ContainerSpec { entrypoint, ..ContainerSpec::default() };
    engine.create(&berth.replica(&image, &[], spec)).await.expect("created");
    let container = only(&engine).await;
    let failure = engine.start(&container.id).await.expect_err("no such command");
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    assert!(failure.message.contains("/nothing-here"), "{failure}");
    assert_eq!(only(&engine).await.state, ContainerState::Created);
    engine.remove(&container.id).await.expect("removed");
}

#[tokio::test]
async fn a_port_that_is_taken_may_become_free() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let spec = ContainerSpec {
        ports: vec![PublishedPort {
            container_port: 80,
            protocol: PortProtocol::Tcp,
            host_port: Some(taken.local_addr().expect("bound").port()),
            host_ip: Some([127, 0, 0, 1].into()),
        }],
        ..ContainerSpec::default()
    };
    engine.create(&berth.replica(&image, &["serve"], spec)).await.expect("created");
    let id = only(&engine).await.id;
    let failure = engine.start(&id).await.expect_err("the port is taken");
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    assert!(failure.message.contains("already in use"), "{failure}");
    drop(taken);
    engine.start(&id).await.expect("started");
}

#[tokio::test]
async fn always_is_set_to_no_before_a_wanted_stop() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let id = berth.running(&engine, &["serve"]).await.id;
    let policies = [
        (RestartPolicy::OnFailure { max_attempts: Some(3) }, "on-failure"),
        (RestartPolicy::UnlessStopped, "unless-stopped"),
        (RestartPolicy::Always, "always"),
    ];
    for (policy, name) in policies {
        engine.set_restart_policy(&id, policy).await.expect("set");
        assert_eq!(inspect(&id)["HostConfig"]["RestartPolicy"]["Name"], name);
    }
    engine.stop(&id, None).await.expect("stopped");
    assert_eq!(inspect(&id)["HostConfig"]["RestartPolicy"]["Name"], "no");
}

#[tokio::test]
async fn a_replica_that_ignores_the_signal_is_killed_after_its_own_grace() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let spec = ContainerSpec { stop_grace_period: Some(SECOND), ..ContainerSpec::default() };
    engine.create(&berth.replica(&image, &["stubborn"], spec)).await.expect("created");
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    engine.stop(&id, None).await.expect("stopped");
    assert_eq!(only(&engine).await.state, ContainerState::Exited { code: 137 });
}

#[tokio::test]
async fn a_start_during_a_stop_waits_for_its_turn() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let id = berth.running(&engine, &["stubborn"]).await.id;
    // Docker alone would answer the start with "it runs already" and then kill it.
    let (stopped, started) = tokio::join!(engine.stop(&id, Some(SECOND)), engine.start(&id));
    stopped.expect("stopped");
    started.expect("started");
    assert!(only(&engine).await.is_running());
}

#[tokio::test]
async fn a_running_replica_is_never_removed() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let id = berth.running(&engine, &["serve"]).await.id;
    engine.remove(&id).await.expect_err("it runs");
    assert!(only(&engine).await.is_running());
}
