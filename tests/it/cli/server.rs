//! The controller's socket, and the client that asks it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use quaymaster::{
    cli::client::{Client, ClientError},
    controller::{Request, StatusReport},
    domain::{
        Slot, Timestamp,
        memory::{Event, EventKind},
    },
    plan::{Refusal, WaitingOn},
    server::{self, Api, BindError, Socket},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::reports::every_state;

/// A server with its ends: what it shows, what it is asked, how it ends.
struct Serving {
    status: watch::Sender<Option<StatusReport>>,
    requests: mpsc::Receiver<Request>,
    end: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(path: &Path, status: Option<StatusReport>) -> Serving {
    let socket = Socket::bind(path).await.expect("a free path in a folder of our own");
    let (status, seen) = watch::channel(status);
    let (asked, requests) = mpsc::channel(4);
    let (end, ended) = oneshot::channel();
    let api = Api { status: seen, requests: asked, now: Box::new(|| Timestamp(1_000)) };
    let task = tokio::spawn(server::serve(socket, api, async {
        let _ = ended.await;
    }));
    Serving { status, requests, end, task }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test]
async fn only_its_owner_can_open_the_socket() {
    let folder = folder();
    let path = folder.path().join("made/on/the/way/q.sock");
    let serving = serve(&path, None).await;
    let mode = fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let beside = fs::read_dir(path.parent().expect("a folder")).expect("readable").count();
    assert_eq!(beside, 1, "the private folder it was made in is still there");
    drop(serving);
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a free path"));
    let _serving = serve(&path, None).await;
    let second = Socket::bind(&path).await.expect_err("somebody answers");
    assert!(matches!(second, BindError::Answered(_)), "{second}");
}

#[tokio::test]
async fn what_is_not_a_socket_is_never_replaced() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    fs::write(&path, "precious").expect("writable");
    let refused = Socket::bind(&path).await.expect_err("a file is in the way");
    assert!(matches!(refused, BindError::NotASocket(_)), "{refused}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
}

#[tokio::test]
async fn the_end_takes_its_socket_along() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    let serving = serve(&path, Some(every_state())).await;
    let client = Client::new(&path).expect("a client");
    client.status().await.expect("an answer");
    serving.end.send(()).expect("it serves");
    serving.task.await.expect("no panic").expect("a clean end");
    assert!(!path.exists());
    let gone = client.status().await.expect_err("nobody is there");
    assert!(matches!(gone, ClientError::NoController(_)), "{gone:?}");
}

#[tokio::test]
async fn a_socket_that_another_took_over_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    let serving = serve(&path, None).await;
    fs::remove_file(&path).expect("ours");
    let other = std::os::unix::net::UnixListener::bind(&path).expect("free again");
    serving.end.send(()).expect("it serves");
    serving.task.await.expect("no panic").expect("a clean end");
    assert!(path.exists());
    drop(other);
}

#[tokio::test]
async fn a_countdown_is_right_when_it_is_asked_for() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    let mut report = every_state();
    report.services[0].barriers = vec![WaitingOn::Standby {
        slot: Slot::Blue,
        until: Timestamp(1_000) + Duration::from_secs(9),
    }];
    let serving = serve(&path, None).await;
    let client = Client::new(&path).expect("a client");
    let early = client.status().await.expect_err("no pass has ended yet");
    assert!(matches!(early, ClientError::Refused { .. }), "{early:?}");
    serving.status.send_replace(Some(report.clone()));
    let seen = client.status().await.expect("an answer");
    assert_eq!(seen.services[0].waiting_on, ["blue warm for rollback, 10s left"]);
    assert_eq!(seen.services[1].hosts, report.services[1].hosts);
}

#[tokio::test]
async fn requests_reach_the_loop_and_its_words_come_back() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    let mut serving = serve(&path, None).await;
    let event = Event {
        at_unix_ms: 5,
        service: "worker".parse().expect("a name"),
        kind: EventKind::Held,
        slot: None,
        release: None,
        image: None,
        commit: None,
        text: "it failed".to_owned(),
    };
    let told = event.clone();
    let loop_task = tokio::spawn(async move {
        while let Some(request) = serving.requests.recv().await {
            match request {
                Request::Retry(name, reply) => {
                    let _ = reply.send(Ok(format!("trying {name} again")));
                }
                Request::Rollback(name, reply) => {
                    let _ = reply.send(Err(Refusal::NothingEarlier(name)));
                }
                Request::Promote(name, reply) => {
                    let _ = reply.send(Err(Refusal::PromotedByItself(name)));
                }
                Request::History(reply) => {
                    let _ = reply.send(vec![told.clone()]);
                }
                Request::Reports(reply) => {
                    let _ = reply.send(Vec::new());
                }
            }
        }
    });
    let client = Client::new(&path).expect("a client");
    let worker = "worker".parse().expect("a name");
    let other = "other".parse().expect("a name");
    assert_eq!(client.retry(&worker).await.expect("followed").text, "trying worker again");
    let refused = client.rollback(&worker).await.expect_err("refused");
    let ClientError::Refused { error, hint } = refused else { panic!("{refused:?}") };
    assert_eq!(error, Refusal::NothingEarlier(worker.clone()).to_string());
    assert!(hint.expect("a hint").contains("quaymaster history worker"));
    let refused = client.promote(&worker).await.expect_err("refused");
    assert_eq!(refused.to_string(), Refusal::PromotedByItself(worker.clone()).to_string());
    assert_eq!(client.history(None).await.expect("followed"), std::slice::from_ref(&event));
    assert_eq!(client.history(Some(&worker)).await.expect("followed"), [event]);
    assert_eq!(client.history(Some(&other)).await.expect("followed"), []);
    assert_eq!(client.reports().await.expect("followed"), []);
    loop_task.abort();
}

#[tokio::test]
async fn a_loop_that_has_ended_is_said_to_be_ending() {
    let folder = folder();
    let path = folder.path().join("q.sock");
    let serving = serve(&path, None).await;
    drop(serving.requests);
    let client = Client::new(&path).expect("a client");
    let refused = client.retry(&"worker".parse().expect("a name")).await.expect_err("no loop");
    assert_eq!(refused.to_string(), "the controller is ending");
}
