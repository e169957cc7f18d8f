//! What clients notice.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use backon::{ConstantBuilder, Retryable};
use quaymaster::domain::Slot;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;
use crate::rig::{backend, caddy::binaries, port};

const FLIPS: usize = 40;
const CLIENTS: usize = 8;
const ANSWERS_A_FLIP: usize = 25;

/// Each client may lose its one connection at each flip.
const MAX_UNANSWERED: usize = FLIPS * CLIENTS;

/// What clients that ask all the time have been answered.
#[derive(Default)]
struct Load {
    ok: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    unanswered: AtomicUsize,
    stop: AtomicBool,
    answered: Notify,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_under_load_are_never_answered_with_an_error() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let caddy = caddy();
        let tables = [
            web(Slot::Blue, backend::answering("blue").await),
            web(Slot::Green, backend::answering("green").await),
        ];
        write(&caddy, &at, &tables[0]).await;
        assert_served(port, HOST, "/", 200, "blue").await;
        let load = Arc::new(Load::default());
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(keep_asking(load.clone(), port))).collect();

        for flip in 1..=FLIPS {
            let goal = load.ok.load(Ordering::SeqCst) + ANSWERS_A_FLIP;
            load.reach(goal).await;
            write(&caddy, &at, &tables[flip % 2]).await;
        }
        load.stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }

        let binary = binary.display();
        let wrong = load.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{binary}: {wrong:?}");
        assert!(load.ok.load(Ordering::SeqCst) >= FLIPS * ANSWERS_A_FLIP, "{binary}");
        let unanswered = load.unanswered.load(Ordering::SeqCst);
        assert!(unanswered <= MAX_UNANSWERED, "{binary}: {unanswered} requests unanswered");
    }
}

impl Load {
    /// Returns once there are this many good answers, or once the test has failed.
    async fn reach(&self, goal: usize) {
        loop {
            let answered = self.answered.notified();
            let has_failed = !self.wrong.lock().unwrap().is_empty()
                || self.unanswered.load(Ordering::SeqCst) > MAX_UNANSWERED;
            if has_failed || self.ok.load(Ordering::SeqCst) >= goal {
                return;
            }
            answered.await;
        }
    }
}

async fn keep_asking(load: Arc<Load>, port: u16) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    while !load.stop.load(Ordering::SeqCst) {
        let request = client.get(format!("http://127.0.0.1:{port}/")).header("Host", HOST);
        let counter = match ask(request).await {
            Ok((200, body)) if body == "blue" || body == "green" => &load.ok,
            Ok(wrong) => {
                load.wrong.lock().unwrap().push(format!("{wrong:?}"));
                load.answered.notify_one();
                return;
            }
            // Each change closes idle connections, so some requests meet their
            // end unanswered; only the switch file can spare them that.
            Err(_) => &load.unanswered,
        };
        counter.fetch_add(1, Ordering::SeqCst);
        load.answered.notify_one();
    }
}

async fn ask(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    match answer.text().await {
        Ok(body) => Ok((status, body)),
        Err(error) => Ok((status, format!("{error:?}"))),
    }
}

#[tokio::test]
async fn a_single_replica_that_restarts_costs_no_get() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let replica = backend::Replica::start("before").await;
        let dial = replica.address;
        write(&caddy(), &at, &web(Slot::Blue, dial)).await;
        assert_served(port, HOST, "/", 200, "before").await;
        replica.stop().await;
        let dying = TcpListener::bind(dial).await.unwrap();

        let asked = tokio::spawn(get(port, HOST, "/"));
        // It takes the request with it, and then nothing listens.
        drop(dying.accept().await.unwrap());
        drop(dying);
        let _reborn = backend::Replica::start_on(dial, "after").await;

        assert_eq!(asked.await.unwrap().unwrap(), (200, "after".into()));
    }
}

#[tokio::test]
async fn a_dead_replica_beside_a_live_one_costs_no_get() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let dead = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let live = backend::answering("live").await;
        let both = table(&[("web", state(HOST, "/*", Slot::Blue, &[dead, live]))]);
        write(&caddy(), &at, &both).await;
        assert_served(port, HOST, "/", 200, "live").await;
        for _ in 0..20 {
            assert_eq!(get(port, HOST, "/").await.unwrap(), (200, "live".into()));
        }
    }
}

#[tokio::test]
async fn streams_arrive_piece_by_piece_and_outlive_a_flip() {
    for binary in binaries() {
        for content_type in ["text/event-stream", "application/octet-stream"] {
            let port = port::free();
            let at = RunningCaddy::start(&binary, one_server(port)).await;
            let caddy = caddy();
            let (blue, events) = backend::streaming(content_type).await;
            write(&caddy, &at, &web(Slot::Blue, blue)).await;
            assert_served(port, HOST, "/", 200, "ready").await;
            events.unbounded_send("one").unwrap();
            let mut stream = open(port, HOST, backend::STREAM).await.unwrap();
            assert_eq!(stream.chunk().await.unwrap().unwrap(), "one");

            write(&caddy, &at, &web(Slot::Green, backend::answering("green").await)).await;

            assert_served(port, HOST, "/", 200, "green").await;
            events.unbounded_send("two").unwrap();
            assert_eq!(stream.chunk().await.unwrap().unwrap(), "two");
            drop(events);
            assert_eq!(stream.chunk().await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_websocket_outlives_a_flip_where_caddy_can_do_that() {
    for binary in binaries() {
        let port = port::free();
        let at = RunningCaddy::start(&binary, one_server(port)).await;
        let caddy = caddy();
        write(&caddy, &at, &web(Slot::Blue, backend::echoing().await)).await;
        let open = || upgraded(port);
        let mut socket = open.retry(ConstantBuilder::default().with_max_times(20)).await.unwrap();
        assert_eq!(echo(&mut socket, b"one").await.unwrap(), *b"one");

        write(&caddy, &at, &web(Slot::Green, backend::answering("green").await)).await;

        assert_served(port, HOST, "/", 200, "green").await;
        let answer = echo(&mut socket, b"two").await;
        // A Caddy that cuts it sends a WebSocket's closing frame instead.
        let survived = answer.is_ok_and(|answer| answer == *b"two");
        assert_eq!(survived, !at.cuts_streams(), "{}", binary.display());
    }
}

/// Opens a WebSocket; an error if something else than an upgrade comes back.
pub(super) async fn upgraded(port: u16) -> std::io::Result<BufReader<TcpStream>> {
    let mut socket = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    if !line.contains(" 101 ") {
        return Err(std::io::Error::other(line));
    }
    while line != "\r\n" {
        line.clear();
        socket.read_line(&mut line).await?;
    }
    Ok(socket)
}

pub(super) async fn echo(
    socket: &mut BufReader<TcpStream>,
    bytes: &[u8; 3],
) -> std::io::Result<[u8; 3]> {
    socket.write_all(bytes).await?;
    let mut answer = [0; 3];
    socket.read_exact(&mut answer).await?;
    Ok(answer)
}
