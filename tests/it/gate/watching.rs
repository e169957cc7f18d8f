//! Who is measured, how often, and when it is worth looking.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, Ordering},
};

use quaymaster::domain::{GateCheck, gate::JobSpec};

use super::{Gatekeeping, Server, answer, gate, passed, replica, target};

/// Returns a server whose status a test sets.
async fn with_status() -> (Server, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let now = Arc::clone(&status);
    (Server::start(move |_| answer(now.load(Ordering::SeqCst), "ok")).await, status)
}

#[tokio::test]
async fn a_gate_that_goes_on_passing_wakes_once() {
    let (server, _) = with_status().await;
    let keeping = Gatekeeping::begin();
    keeping.watch([("web", target(GateCheck::Http(replica("/", server.port))))]);
    let measured = keeping.passed_times("web", 5).await;
    assert_eq!((measured.failed, measured.last), (0, passed("HTTP 200")));
    assert_eq!(keeping.wakes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_failure_and_every_change_wakes() {
    let (server, status) = with_status().await;
    let keeping = Gatekeeping::begin();
    keeping.watch([("web", target(GateCheck::Http(replica("/", server.port))))]);
    keeping.woken_until("web", |last| *last == passed("HTTP 200")).await;
    status.store(404, Ordering::SeqCst);
    for failures in 1..=3 {
        let waiting = async {
            while keeping.measured("web").is_none_or(|measured| measured.failed < failures) {
                keeping.woken.notified().await;
            }
        };
        tokio::time::timeout(super::PATIENCE, waiting).await.expect("each failure wakes");
    }
    status.store(200, Ordering::SeqCst);
    let measured = keeping.woken_until("web", |last| *last == passed("HTTP 200")).await;
    assert!(measured.failed >= 3 && measured.passed >= 2, "{measured:?}");
}

#[tokio::test]
async fn another_target_starts_from_nothing_and_the_same_goes_on() {
    let (server, status) = with_status().await;
    let same = target(GateCheck::Http(replica("/", server.port)));
    let keeping = Gatekeeping::begin();
    keeping.watch([("web", same.clone())]);
    keeping.passed_times("web", 3).await;
    keeping.watch([("web", same.clone())]);
    assert!(keeping.measured("web").expect("it is known").passed >= 3);

    status.store(404, Ordering::SeqCst);
    let mut other = same;
    other.replica.0 = "web-2".to_owned();
    keeping.watch([("web", other)]);
    let measured = keeping.woken_until("web", |_| true).await;
    assert_eq!(measured.passed, 0, "what another replica passed counts for nothing");

    keeping.watch([]);
    assert_eq!(keeping.measured("web"), None);
}

#[tokio::test]
async fn a_job_is_not_measured() {
    let job = JobSpec { command: None, image: None, environment: Default::default() };
    let (server, _) = with_status().await;
    let keeping = Gatekeeping::begin();
    keeping.watch([
        ("job", target(GateCheck::Job(job))),
        ("web", target(GateCheck::Http(replica("/", server.port)))),
    ]);
    keeping.passed_times("web", 3).await;
    assert_eq!(keeping.measured("job"), None);
}

#[tokio::test]
async fn a_measurement_that_nobody_wants_any_more_is_given_up() {
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    let listener = tokio::net::TcpListener::bind((super::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (ended_tx, ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("it connects");
        asked.store(true, Ordering::SeqCst);
        // Never answers; reads until the other side goes.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
        ended_tx.send(()).ok();
    });
    let keeping = Gatekeeping::begin();
    let mut slow = target(GateCheck::Http(replica("/", port)));
    slow.gate = gate(slow.gate.check);
    keeping.watch([("web", slow)]);
    let waiting = async {
        while !is_asked.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::PATIENCE, waiting).await.expect("it is asked");
    keeping.watch([]);
    tokio::time::timeout(super::PATIENCE, ended).await.expect("the connection ends").expect("so");
}
