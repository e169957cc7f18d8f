//! Looking into a container.

use std::time::Duration;

use futures::StreamExt;
use quaymaster::{
    docker::{LogStream, Tail},
    domain::{ContainerId, ContainerSpec, snapshot::ContainerState},
    ports::{Engine, Exec},
};

use super::{Berth, docker, eventually, only};

const LONG: Duration = Duration::from_secs(60);

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

#[tokio::test]
async fn a_commands_exit_code_is_told() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let id = berth.running(&engine, &["serve"]).await.id;
    let codes = [("0", 0), ("7", 7)];
    for (asked, told) in codes {
        let code = engine.exec(&id, &words(&["/tiny", "exit", asked]), LONG).await;
        assert_eq!(code.expect("it ran"), told);
    }
    let talkative = engine.exec(&id, &words(&["/tiny", "say", "20000"]), LONG).await;
    assert_eq!(talkative.expect("its output is read"), 0);
    let missing = engine.exec(&id, &words(&["/nothing"]), LONG).await;
    assert!(matches!(missing, Ok(126 | 127) | Err(_)), "{missing:?}");
}

#[tokio::test]
async fn a_command_that_hangs_is_left_and_no_second_one_is_piled_on_it() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let id = berth.running(&engine, &["serve"]).await.id;
    let short = Duration::from_millis(300);
    let failure = engine.exec(&id, &words(&["/tiny", "serve"]), short).await.expect_err("it hangs");
    assert_eq!(failure.message, "timed out after 300ms");
    let failure = engine.exec(&id, &words(&["/tiny", "exit"]), LONG).await.expect_err("still");
    assert!(failure.message.contains("still runs"), "{failure}");
    let processes = docker(&["top", &id.0]);
    assert_eq!(processes.matches("/tiny").count(), 2, "{processes}");
    // With the one that hangs gone, the next one runs again.
    docker(&["restart", "-t", "1", &id.0]);
    let code = engine.exec(&id, &words(&["/tiny", "exit", "3"]), LONG).await;
    assert_eq!(code.expect("it ran"), 3);
}

#[tokio::test]
async fn the_last_lines_are_kept_in_their_order() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let new = berth.replica(&image, &["count", "300"], ContainerSpec::default());
    engine.create(&new).await.expect("created");
    let id = only(&engine).await.id;
    engine.start(&id).await.expect("started");
    let ended = ContainerState::Exited { code: 0 };
    eventually(|| async { (only(&engine).await.state == ended).then_some(()) }).await;
    let lines = engine.logs(&id, 100).await.expect("readable");
    let texts: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(texts, (201..=300).map(|n| format!("line {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_followed_log_tells_its_streams_and_ends_with_the_container() {
    let mut berth = Berth::new();
    let engine = berth.docker().await;
    let image = berth.image();
    let new = berth.replica(&image, &["say", "5"], ContainerSpec::default());
    engine.create(&new).await.expect("created");
    let id = only(&engine).await.id;
    let followed = engine.follow_log(&id, Tail::All);
    engine.start(&id).await.expect("started");
    let lines: Vec<_> = followed.map(|line| line.expect("readable")).collect().await;
    let of = |stream| -> Vec<&str> {
        lines.iter().filter(|l| l.stream == stream).map(|l| l.text.as_str()).collect()
    };
    assert_eq!(of(LogStream::Stdout), ["line 1", "line 3", "line 5"]);
    assert_eq!(of(LogStream::Stderr), ["line 2", "line 4"]);
    let standing: Vec<_> = engine.log_lines(&id, Tail::All).collect().await;
    assert_eq!(standing.len(), 5);
}

#[tokio::test]
async fn the_log_of_a_container_that_is_gone_is_a_failure() {
    let berth = Berth::new();
    let engine = berth.docker().await;
    let failure = engine.logs(&ContainerId("0".repeat(64)), 10).await.expect_err("it is gone");
    assert!(failure.message.contains("No such container"), "{failure}");
}
