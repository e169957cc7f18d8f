//! What Caddy counts, and whether it can be believed.

use futures::future::join_all;
use quaymaster::domain::snapshot::{InFlight, Unlisted};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    traffic::{echo, upgraded},
    *,
};
use crate::rig::{backend, caddy::binaries, port};

/// Whether this Caddy shows what is in flight to an address that a change of its
/// configuration has dropped.
fn counts_exactly(at: &RunningCaddy) -> bool {
    at.version() >= (2, 11)
}

async fn in_flight(caddy: &Caddy, at: &RunningCaddy) -> InFlight {
    caddy.in_flight(&at.proxy_config()).await.unwrap()
}

/// Polls until Caddy counts so many requests to the address.
async fn assert_counted(caddy: &Caddy, at: &RunningCaddy, dial: SocketAddr, count: u64) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let seen = in_flight(caddy, at).await;
        if seen.to(&dial) == Some(count) {
            return;
        }
        assert!(Instant::now() < deadline, "{dial}: {count} requests were never counted: {seen:?}");
    }
}

#[tokio::test]
async fn a_request_and_a_websocket_are_counted_until_they_end_over_every_reload() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        if !counts_exactly(&at) {
            continue;
        }
        let caddy = caddy();
        let (slow, answer) = backend::streaming("text/plain").await;
        let echoing = backend::echoing().await;
        let tables = |a: SocketAddr, b: SocketAddr| {
            table(&[
                ("slow", state("slow.example", "/*", Slot::Blue, &[a])),
                ("web", state(HOST, "/*", Slot::Blue, &[b])),
            ])
        };
        write(&caddy, &at, &tables(slow, echoing)).await;
        assert_served(port, "slow.example", "/", 200, "ready").await;
        let request = open(port, "slow.example", backend::STREAM);
        answer.unbounded_send("begun").unwrap();
        let mut request = request.await.unwrap();
        let mut socket = upgraded(port).await.unwrap();
        assert_counted(&caddy, &at, slow, 1).await;
        assert_counted(&caddy, &at, echoing, 1).await;

        // Away from both, then a change that has nothing to do with either.
        let away = backend::answering("away").await;
        write(&caddy, &at, &tables(away, away)).await;
        assert_served(port, HOST, "/", 200, "away").await;
        write(&caddy, &at, &table(&[("web", state(HOST, "/*", Slot::Green, &[away]))])).await;
        assert_served(port, HOST, "/", 200, "away").await;
        let seen = in_flight(&caddy, &at).await;
        assert_eq!((seen.to(&slow), seen.to(&echoing)), (Some(1), Some(1)), "{seen:?}");

        assert_eq!(echo(&mut socket, b"yet").await.unwrap(), *b"yet");
        drop(socket);
        assert_counted(&caddy, &at, echoing, 0).await;
        assert_eq!(in_flight(&caddy, &at).await.to(&slow), Some(1));
        drop(answer);
        while request.chunk().await.unwrap().is_some() {}
        assert_counted(&caddy, &at, slow, 0).await;
    }
}

#[tokio::test]
async fn a_caddy_that_counts_inexactly_says_nothing_of_any_address() {
    for binary in binaries() {
        let at = RunningCaddy::start(&binary, one_server(port::free())).await;
        let caddy = caddy();
        write(&caddy, &at, &web(Slot::Blue, nowhere())).await;
        let seen = in_flight(&caddy, &at).await;
        let unlisted = match counts_exactly(&at) {
            true => Unlisted::Idle,
            false => Unlisted::Unknown,
        };
        assert_eq!(seen.unlisted, unlisted, "{}", binary.display());
        assert_eq!(seen.listed.is_empty(), !counts_exactly(&at), "{seen:?}");
    }
}

/// What the decision rests on: where a connection that was opened before a flip
/// can still carry a request the old way, a count of zero proves nothing.
#[tokio::test]
async fn a_connection_opened_before_a_flip_goes_the_old_way_only_where_counts_are_not_believed() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let caddy = caddy();
        write(&caddy, &at, &web(Slot::Blue, backend::answering("blue").await)).await;
        assert_served(port, HOST, "/", 200, "blue").await;
        let unused = join_all((0..4).map(|_| TcpStream::connect(("127.0.0.1", port)))).await;
        write(&caddy, &at, &web(Slot::Green, backend::answering("green").await)).await;
        for connection in unused {
            let old_way = asks_once(connection.unwrap()).await.contains("blue");
            assert!(!old_way || !counts_exactly(&at), "{}", binary.display());
        }
    }
}

/// Returns what a connection's one request is answered with; nothing if the
/// connection is closed.
async fn asks_once(mut connection: TcpStream) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if connection.write_all(request.as_bytes()).await.is_ok() {
        // A reset is a close too.
        let _ = connection.read_to_string(&mut answer).await;
    }
    answer
}
