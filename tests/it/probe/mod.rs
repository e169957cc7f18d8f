//! The prober against real sockets.

use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quaymaster::{
    domain::{
        ContainerId, Probe, ProbeCheck,
        snapshot::{Failure, FailureKind, ProbeStanding},
    },
    ports::{Exec, ProbeTarget, Prober},
    probe::Probes,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{Notify, Semaphore},
};

/// Long enough for any loaded machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn id(name: &str) -> ContainerId {
    ContainerId(name.to_owned())
}

fn target(check: ProbeCheck) -> ProbeTarget {
    ProbeTarget {
        probe: Probe {
            check,
            interval: Duration::from_millis(20),
            timeout: Duration::from_secs(20),
            healthy_after: 1,
            unhealthy_after: 1,
        },
        address: Some(LOCALHOST),
    }
}

fn http(port: u16) -> ProbeCheck {
    ProbeCheck::Http {
        path: "/health?deep=1".to_owned(),
        port,
        headers: BTreeMap::new(),
        status: None,
    }
}

/// An HTTP server that answers each connection once, with the status it has at
/// the time, and keeps what it was asked.
struct Server {
    port: u16,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(status: u16) -> Server {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let status = Arc::new(AtomicU16::new(status));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (now, kept) = (Arc::clone(&status), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    request.push(byte);
                }
                kept.lock().expect("unpoisoned").push(String::from_utf8_lossy(&request).into());
                let status = now.load(Ordering::SeqCst);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nok"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Server { port, status, requests, task }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn first_request(&self) -> String {
        self.requests.lock().expect("unpoisoned").first().cloned().expect("it was asked")
    }
}

/// An engine without containers: every command ends as the test says.
struct Commands<F>(F);

impl<F, R> Exec for Commands<F>
where
    F: Fn(Vec<String>) -> R + Send + Sync,
    R: Future<Output = Result<i64, Failure>> + Send,
{
    async fn exec(&self, _: &ContainerId, command: &[String], _: Duration) -> Result<i64, Failure> {
        self.0(command.to_vec()).await
    }
}

fn no_commands() -> impl Exec + 'static {
    Commands(|_| async { panic!("this probe runs no command") })
}

/// A prober, and the wakes it gave.
struct Probing<X> {
    probes: Probes<X>,
    woken: Arc<Notify>,
}

impl<X: Exec + 'static> Probing<X> {
    fn of(exec: X) -> Probing<X> {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        Probing { probes: Probes::new(exec, Arc::new(move || wake.notify_one())), woken }
    }

    fn watch(&self, targets: impl IntoIterator<Item = (&'static str, ProbeTarget)>) {
        self.probes.watch(targets.into_iter().map(|(name, target)| (id(name), target)).collect());
    }

    fn standing(&self, name: &str) -> Option<ProbeStanding> {
        self.probes.standings().remove(&id(name))
    }

    /// Waits on wakes alone until the standing is as wanted: a change without a
    /// wake fails the test.
    async fn woken_until(
        &self,
        name: &str,
        wanted: impl Fn(&ProbeStanding) -> bool,
    ) -> ProbeStanding {
        let waiting = async {
            loop {
                self.woken.notified().await;
                if let Some(standing) = self.standing(name)
                    && wanted(&standing)
                {
                    return standing;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("never so; it stands at {:?}", self.standing(name)))
    }

    async fn first_failure(&self, name: &str) -> String {
        self.woken_until(name, |standing| standing.probes > 0)
            .await
            .last_failure
            .expect("it failed")
    }
}

#[tokio::test]
async fn each_change_of_readiness_wakes() {
    let server = Server::start(503).await;
    let probing = Probing::of(no_commands());
    probing.watch([("web", target(http(server.port)))]);
    assert_eq!(probing.first_failure("web").await, "HTTP 503");
    server.answer(200);
    let ready = probing.woken_until("web", |standing| standing.ready).await;
    assert_eq!(ready.last_failure, None);
    server.answer(500);
    let failed = probing.woken_until("web", |standing| !standing.ready).await;
    assert_eq!(failed.last_failure.as_deref(), Some("HTTP 500"));
    server.answer(204);
    probing.woken_until("web", |standing| standing.ready).await;
}

#[tokio::test]
async fn a_probe_asks_as_a_neighbour_inside_the_container_would() {
    let server = Server::start(200).await;
    let probing = Probing::of(no_commands());
    let headers = BTreeMap::from([("X-Token".to_owned(), "hunter2".to_owned())]);
    let check =
        ProbeCheck::Http { path: "/a b?x=1".to_owned(), port: server.port, headers, status: None };
    probing.watch([("web", target(check))]);
    probing.woken_until("web", |standing| standing.ready).await;
    let request = server.first_request();
    assert!(request.starts_with("GET /a%20b?x=1 HTTP/1.1\r\n"), "{request}");
    let host = format!("host: localhost:{}\r\n", server.port);
    assert!(request.contains(&host), "{request}");
    assert!(request.contains("x-token: hunter2\r\n"), "{request}");
    assert!(request.contains("user-agent: quaymaster-probe/"), "{request}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::start(302).await;
    let probing = Probing::of(no_commands());
    probing.watch([("web", target(http(server.port)))]);
    probing.woken_until("web", |standing| standing.ready).await;
    let requests = server.requests.lock().expect("unpoisoned").clone();
    assert!(requests.iter().all(|request| request.starts_with("GET /health")), "{requests:?}");
}

#[tokio::test]
async fn another_success_than_the_declared_status_fails() {
    let server = Server::start(200).await;
    let probing = Probing::of(no_commands());
    let check = ProbeCheck::Http {
        path: "/".to_owned(),
        port: server.port,
        headers: BTreeMap::new(),
        status: Some(204),
    };
    probing.watch([("web", target(check))]);
    assert_eq!(probing.first_failure("web").await, "HTTP 200");
}

#[tokio::test]
async fn a_closed_port_is_told_with_its_address() {
    let port = {
        let listener = std::net::TcpListener::bind((LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("bound").port()
    };
    let probing = Probing::of(no_commands());
    probing.watch([("http", target(http(port))), ("tcp", target(ProbeCheck::Tcp { port }))]);
    let refused = format!("connection refused at 127.0.0.1:{port}");
    assert_eq!(probing.first_failure("http").await, refused);
    let tcp = async {
        loop {
            if let Some(standing) = probing.standing("tcp") {
                return standing.last_failure;
            }
            probing.woken.notified().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, tcp).await.expect("probed"), Some(refused));
}

#[tokio::test]
async fn a_port_that_accepts_is_ready_by_tcp_and_times_out_by_http() {
    // A listener that nobody accepts from: the kernel completes the handshake.
    let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let probing = Probing::of(no_commands());
    let mut silent = target(http(port));
    silent.probe.timeout = Duration::from_millis(50);
    probing.watch([("tcp", target(ProbeCheck::Tcp { port }))]);
    probing.woken_until("tcp", |standing| standing.ready).await;
    probing.watch([("http", silent)]);
    assert_eq!(probing.first_failure("http").await, "timed out after 50ms");
    assert_eq!(probing.standing("tcp"), None, "a target that is not named is forgotten");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_told() {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let babble = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n").await;
        }
    });
    let probing = Probing::of(no_commands());
    probing.watch([("web", target(http(port)))]);
    let failure = probing.first_failure("web").await;
    assert!(failure.starts_with(&format!("no HTTP answer from 127.0.0.1:{port}: ")), "{failure}");
    babble.abort();
}

#[tokio::test]
async fn a_replica_without_an_address_fails() {
    let probing = Probing::of(no_commands());
    probing.watch([("web", ProbeTarget { address: None, ..target(http(80)) })]);
    let failure = probing.first_failure("web").await;
    assert_eq!(failure, "the replica has no address on the stack's network");
}

#[tokio::test]
async fn a_command_is_ready_by_its_exit_code() {
    let probing = Probing::of(Commands(|command: Vec<String>| async move {
        match command[0].as_str() {
            "true" => Ok(0),
            "false" => Ok(1),
            _ => Err(Failure {
                kind: FailureKind::Transient,
                message: "container is\nnot running".to_owned(),
            }),
        }
    }));
    let run = |command: &str| target(ProbeCheck::Exec { command: vec![command.to_owned()] });
    for (command, last_failure) in
        [("true", None), ("false", Some("exit code 1")), ("odd", Some("container is not running"))]
    {
        probing.watch([("db", run(command))]);
        let standing = probing.woken_until("db", |standing| standing.probes > 0).await;
        assert_eq!(standing.last_failure.as_deref(), last_failure);
        assert_eq!(standing.ready, last_failure.is_none());
    }
}

#[tokio::test]
async fn at_most_four_commands_run_at_a_time() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let may_end = Arc::new(Semaphore::new(0));
    let begun = Arc::new(Notify::new());
    let exec = {
        let (running, most, may_end, begun) =
            (Arc::clone(&running), Arc::clone(&most), Arc::clone(&may_end), Arc::clone(&begun));
        Commands(move |_| {
            let (running, most, may_end, begun) =
                (Arc::clone(&running), Arc::clone(&most), Arc::clone(&may_end), Arc::clone(&begun));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                begun.notify_one();
                may_end.acquire().await.expect("open").forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(0)
            }
        })
    };
    let probing = Probing::of(exec);
    let mut once = target(ProbeCheck::Exec { command: vec!["check".to_owned()] });
    once.probe.interval = Duration::from_secs(3_600);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    probing.watch(names.map(|name| (name, once.clone())));
    let full = async {
        while running.load(Ordering::SeqCst) < 4 {
            begun.notified().await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("four begin");
    may_end.add_permits(names.len());
    let all = async {
        while probing.probes.standings().len() < names.len() {
            probing.woken.notified().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all are probed");
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_unchanged_target_keeps_its_standing_and_a_changed_one_starts_anew() {
    let server = Server::start(200).await;
    let probing = Probing::of(no_commands());
    let mut slow = target(http(server.port));
    slow.probe.interval = Duration::from_secs(3_600);
    probing.watch([("web", slow.clone())]);
    probing.woken_until("web", |standing| standing.ready).await;
    probing.watch([("web", slow.clone())]);
    assert!(probing.standing("web").is_some_and(|standing| standing.ready));
    slow.probe.healthy_after = 2;
    probing.watch([("web", slow)]);
    assert_eq!(probing.standing("web"), None);
    let anew = probing.woken_until("web", |standing| standing.probes > 0).await;
    assert!(!anew.ready, "the new target counts from nothing");
}

#[tokio::test]
async fn a_server_that_goes_away_is_noticed() {
    let server = Server::start(200).await;
    let probing = Probing::of(no_commands());
    probing.watch([("web", target(http(server.port)))]);
    probing.woken_until("web", |standing| standing.ready).await;
    server.task.abort();
    let gone = probing.woken_until("web", |standing| !standing.ready).await;
    assert!(gone.last_failure.is_some());
}

#[tokio::test]
async fn what_docker_answers_is_not_probed() {
    let server = Server::start(200).await;
    let probing = Probing::of(no_commands());
    probing.watch([
        ("docker", target(ProbeCheck::Docker)),
        ("started", target(ProbeCheck::Started)),
        ("web", target(http(server.port))),
    ]);
    probing.woken_until("web", |standing| standing.ready).await;
    assert_eq!(probing.standing("docker"), None);
    assert_eq!(probing.standing("started"), None);
}
