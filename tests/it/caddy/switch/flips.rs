//! What a flip costs: nobody's connection, and no word to Caddy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use quaymaster::domain::stack::AdminEndpoint;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::*;
use crate::{
    caddy::traffic::{echo, upgraded},
    rig::{
        backend,
        caddy::{AdminOn, binaries},
        tap::Tap,
    },
};

const FLIPS: usize = 200;
const CLIENTS: usize = 6;

/// Clients that each keep one connection and ask all the time.
struct Askers {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Askers {
    fn start(port: u16) -> Askers {
        let (answered, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..CLIENTS).map(|_| {
            let (answered, stop) = (answered.clone(), stop.clone());
            tokio::spawn(async move {
                let mut line = Line::open(port).await.map_err(|error| error.to_string())?;
                while !stop.load(Ordering::SeqCst) {
                    match line.ask("GET", "").await {
                        Ok((200, body)) if body == "blue" || body == "green" => {}
                        other => return Err(format!("{other:?}")),
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            })
        });
        let tasks = tasks.collect();
        Askers { answered, stop, tasks }
    }

    /// Returns once so many more answers have come, or once a client gave up.
    async fn after(&self, answers: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + answers;
        while self.answered.load(Ordering::SeqCst) < goal
            && !self.tasks.iter().any(tokio::task::JoinHandle::is_finished)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Asserts that every request was answered, each client's on one connection.
    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
    }
}

/// One connection through Caddy, kept.
struct Line(BufReader<TcpStream>);

impl Line {
    async fn open(port: u16) -> std::io::Result<Line> {
        Ok(Line(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?)))
    }

    /// Asks; an end of the connection is an error.
    async fn ask(&mut self, method: &str, body: &str) -> std::io::Result<(u16, String)> {
        let length = body.len();
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, String::from_utf8(body).unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_between_lanes_that_stand_cost_no_request_no_connection_and_no_write() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::answering("blue").await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&blue).await;
        quay.write(&green).await;
        assert_served(quay.port, HOST, "/", 200, "green").await;
        let configured = quay.configured().await;
        let askers = Askers::start(quay.port);

        // With the one before to catch, and without: renames of every kind.
        let tables = [
            with_standby(&blue, &green),
            with_standby(&green, &blue),
            green.clone(),
            with_standby(&green, &blue),
            with_standby(&blue, &green),
            blue.clone(),
            green.clone(),
            blue.clone(),
        ];
        for flip in 0..FLIPS {
            let wanted = &tables[flip % tables.len()];
            quay.write(wanted).await;
            let serves =
                if wanted[&service()].backend.slot == Slot::Blue { "blue" } else { "green" };
            // A request that begins now goes there already.
            assert_eq!(get(quay.port, HOST, "/").await.unwrap(), (200, serves.to_owned()));
            askers.after(20).await;
        }

        askers.end().await;
        assert_eq!(quay.configured().await, configured);
        quay.assert_stands(&tables[(FLIPS - 1) % tables.len()]).await;
        assert_eq!(quay.files().len(), 1);
    }
}

#[tokio::test]
async fn a_release_that_comes_to_the_addresses_of_the_idle_lane_is_no_word_to_caddy() {
    for binary in binaries() {
        let (listener, address) = Tap::bind().await;
        let at = RunningCaddy::start_on(
            &binary,
            AdminOn::Tcp,
            &[address.to_string()],
            one_server(port::free()),
        )
        .await;
        let tap = Tap::start(listener, at.admin_port());
        let admin = AdminEndpoint::Tcp { host: "127.0.0.1".into(), port: address.port() };
        let config = ProxyConfig {
            admin,
            listen: None,
            flip: FlipChoice::SwitchFile,
            names: NameChoice::Docker,
        };
        let state = tempfile::tempdir().unwrap();
        let caddy = Caddy::new(&"shop".parse().unwrap(), state.path());
        let (here, there) = (nowhere(), SocketAddr::from(([127, 0, 0, 1], 11)));
        caddy.write(&config, &release(Slot::Blue, "000000000001", &[here])).await.unwrap();
        caddy.write(&config, &release(Slot::Green, "000000000002", &[there])).await.unwrap();
        tap.take_seen();

        for (number, (slot, dial)) in
            [(Slot::Blue, here), (Slot::Green, there), (Slot::Green, here)].into_iter().enumerate()
        {
            let next = release(slot, &format!("{:012x}", number + 3), &[dial]);
            assert_eq!(caddy.observe(&config).await.unwrap().idle[&service()], [dial].into());
            assert_eq!(tap.take_seen(), ["GET /config/apps/http"]);

            caddy.write(&config, &next).await.unwrap();

            // It asks what Caddy sees, which changes nothing, and reads.
            assert_eq!(tap.take_seen(), ["POST /adapt", "GET /config/apps/http"]);
            let seen = caddy.observe(&config).await.unwrap();
            assert_eq!((seen.table, seen.intact), (next, true));
            tap.take_seen();
        }
    }
}

#[tokio::test]
async fn a_websocket_outlives_any_number_of_flips() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let blue = release(Slot::Blue, "b10eb10eb10e", &[backend::echoing().await]);
        let green = release(Slot::Green, "9e3e9e3e9e3e", &[backend::answering("green").await]);
        quay.write(&green).await;
        quay.write(&with_standby(&blue, &green)).await;
        let mut socket = upgraded_at_last(quay.port).await;
        for (number, word) in (0..30_u8).map(|n| (n, [b'a', b'b', n])) {
            let next = if number % 2 == 0 { &green } else { &blue };
            quay.write(next).await;
            assert_eq!(echo(&mut socket, &word).await.unwrap(), word);
        }
    }
}

/// The configuration was just written, so Caddy may refuse a connection yet.
async fn upgraded_at_last(port: u16) -> BufReader<TcpStream> {
    use backon::{ConstantBuilder, Retryable};
    let open = || upgraded(port);
    open.retry(ConstantBuilder::default().with_max_times(20)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_within_one_slot_is_a_flip_like_any_other() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let [old, new] = [
            release(Slot::Blue, "000000000001", &[backend::answering("blue").await]),
            release(Slot::Blue, "000000000002", &[backend::answering("green").await]),
        ];
        quay.write(&old).await;
        quay.write(&with_standby(&new, &old)).await;
        quay.assert_stands(&with_standby(&new, &old)).await;
        let configured = quay.configured().await;
        let askers = Askers::start(quay.port);
        for _ in 0..20 {
            quay.write(&old).await;
            quay.assert_stands(&old).await;
            quay.write(&with_standby(&new, &old)).await;
            askers.after(10).await;
        }
        askers.end().await;
        assert_eq!(quay.configured().await, configured);
    }
}

#[tokio::test]
async fn services_flip_apart_and_one_that_goes_takes_its_file_along() {
    for binary in binaries() {
        let quay = Quay::open(&binary).await;
        let dials = [backend::answering("blue").await, backend::answering("green").await];
        let both = |api: Slot, web: Slot| {
            let dial = |slot| dials[usize::from(slot == Slot::Green)];
            table(&[
                ("api", state("api.example", "/*", api, &[dial(api)])),
                ("web", state(HOST, "/*", web, &[dial(web)])),
            ])
        };
        quay.write(&both(Slot::Blue, Slot::Blue)).await;
        quay.write(&both(Slot::Green, Slot::Green)).await;
        quay.write(&both(Slot::Green, Slot::Blue)).await;
        assert_served(quay.port, "api.example", "/", 200, "green").await;
        assert_served(quay.port, HOST, "/", 200, "blue").await;
        assert_eq!(quay.files(), ["api.2", "web.1"]);

        let mut one = both(Slot::Green, Slot::Blue);
        one.retain(|name, _| name.as_str() == "web");
        quay.write(&one).await;
        quay.assert_stands(&one).await;
        assert_eq!(quay.files(), ["web.1"]);

        quay.write(&RouteTable::new()).await;
        quay.assert_stands(&RouteTable::new()).await;
        assert_eq!(quay.files(), [""; 0]);
        assert_served(quay.port, HOST, "/first", 200, "first").await;
    }
}
