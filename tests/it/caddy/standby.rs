//! A standby that catches, by both mechanisms: one and several active replicas
//! that refuse, that say nothing, and that die with a request in hand.

use quaymaster::domain::{
    Slot,
    stack::{FlipChoice, ProxyConfig},
};
use tokio::net::TcpListener;

use super::*;
use crate::rig::{
    backend::{Replica, Silence},
    caddy::binaries,
    port,
};

struct Covered {
    _at: RunningCaddy,
    _state: tempfile::TempDir,
    port: u16,
    /// Before 2.11.2 a request's body is lost by the time that Caddy tries again.
    keeps_bodies: bool,
}

/// Lets green serve from `active`, with blue at `standby` to catch.
async fn covered(
    binary: &Path,
    flip: FlipChoice,
    active: &[SocketAddr],
    standby: SocketAddr,
) -> Covered {
    let port = port::free();
    let at = RunningCaddy::start(binary, one_server(port)).await;
    let state_dir = tempfile::tempdir().unwrap();
    let caddy = Caddy::new(&"shop".parse().unwrap(), state_dir.path());
    let config = ProxyConfig { flip, ..at.proxy_config() };
    let blue = table(&[("web", state(HOST, "/*", Slot::Blue, &[standby]))]);
    let mut green = table(&[("web", state(HOST, "/*", Slot::Green, active))]);
    caddy.write(&config, &blue).await.unwrap();
    for (name, state) in &mut green {
        state.standby = Some(blue[name].backend.clone());
    }
    caddy.write(&config, &green).await.unwrap();
    let seen = caddy.observe(&config).await.unwrap();
    assert_eq!((&seen.table, seen.intact), (&green, true));
    let keeps_bodies = at.version() >= (2, 11);
    Covered { _at: at, _state: state_dir, port, keeps_bodies }
}

const FLIPS: [FlipChoice; 2] = [FlipChoice::AdminApi, FlipChoice::SwitchFile];

impl Covered {
    async fn post(&self, body: &'static str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://127.0.0.1:{}/", self.port));
        let answer = request.header("Host", HOST).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Asserts that the standby catches GETs and POSTs, whichever finds the
    /// active replicas gone.
    async fn assert_caught(&self, first: &str) {
        if first == "POST" {
            let body = if self.keeps_bodies { " and a body" } else { "" };
            assert_eq!(self.post(body).await, (200, format!("standby{body}")));
        }
        for _ in 0..10 {
            assert_eq!(get(self.port, HOST, "/").await.unwrap(), (200, "standby".into()));
            assert_eq!(self.post("").await, (200, "standby".into()));
        }
    }
}

#[tokio::test]
async fn the_standby_gets_no_request_as_long_as_the_active_release_takes_them() {
    for binary in binaries() {
        for flip in FLIPS {
            for count in [1, 2] {
                let standby = Replica::start("standby").await;
                let mut actives = Vec::new();
                for _ in 0..count {
                    actives.push(Replica::start("active").await);
                }
                let dials: Vec<_> = actives.iter().map(|replica| replica.address).collect();
                let covered = covered(&binary, flip, &dials, standby.address).await;
                assert_served(covered.port, HOST, "/", 200, "active").await;
                for _ in 0..30 {
                    assert_eq!(get(covered.port, HOST, "/").await.unwrap(), (200, "active".into()));
                    assert_eq!(covered.post(" x").await, (200, "active x".into()));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_standby_catches_what_dead_replicas_refuse() {
    for binary in binaries() {
        for flip in FLIPS {
            for (count, first) in [(1, "GET"), (1, "POST"), (3, "GET"), (3, "POST")] {
                let standby = Replica::start("standby").await;
                let mut actives = Vec::new();
                for _ in 0..count {
                    actives.push(Replica::start("active").await);
                }
                let dials: Vec<_> = actives.iter().map(|replica| replica.address).collect();
                let covered = covered(&binary, flip, &dials, standby.address).await;
                assert_served(covered.port, HOST, "/", 200, "active").await;

                for replica in actives {
                    replica.stop().await;
                }

                covered.assert_caught(first).await;
            }
        }
    }
}

#[tokio::test]
async fn the_standby_catches_what_addresses_without_a_container_do_not_answer() {
    for binary in binaries() {
        for flip in FLIPS {
            for (count, first) in [(1, "GET"), (1, "POST"), (2, "POST")] {
                let standby = Replica::start("standby").await;
                let mut silences = Vec::new();
                for _ in 0..count {
                    silences.push(Silence::fall().await);
                }
                let dials: Vec<_> = silences.iter().map(|silence| silence.address).collect();
                let covered = covered(&binary, flip, &dials, standby.address).await;
                covered.assert_caught(first).await;
            }
        }
    }
}

#[tokio::test]
async fn a_get_that_died_with_its_replica_is_caught_and_a_post_is_not_sent_twice() {
    for binary in binaries() {
        for flip in FLIPS {
            for count in [1, 2] {
                for (method, caught) in [("GET", true), ("POST", false)] {
                    let standby = Replica::start("standby").await;
                    let mut dying = Vec::new();
                    for _ in 0..count {
                        dying.push(TcpListener::bind(("127.0.0.1", 0)).await.unwrap());
                    }
                    let dials: Vec<_> =
                        dying.iter().map(|listener| listener.local_addr().unwrap()).collect();
                    let covered = covered(&binary, flip, &dials, standby.address).await;
                    let accepted = futures::future::select_all(
                        dying.iter().map(|listener| Box::pin(take_one(listener))),
                    );
                    let client = reqwest::Client::builder().no_proxy().build().unwrap();
                    let url = format!("http://127.0.0.1:{}/", covered.port);
                    let request = client.request(method.parse().unwrap(), url).header("Host", HOST);
                    let asked = tokio::spawn(request.send());
                    // It takes the request, and everything dies with it.
                    accepted.await;
                    drop(dying);

                    let answer = asked.await.unwrap().unwrap();

                    let status = answer.status().as_u16();
                    let expected = if caught { 200 } else { 502 };
                    assert_eq!(status, expected, "{method} {flip:?} {count} {}", binary.display());
                    if caught {
                        assert_eq!(answer.text().await.unwrap(), "standby");
                    }
                }
            }
        }
    }
}

/// Takes one request and closes its connection.
async fn take_one(listener: &TcpListener) {
    use tokio::io::AsyncReadExt;
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut head = [0; 1];
    connection.read_exact(&mut head).await.unwrap();
}
