//! Proof that the clients see: each of them against a server that misbehaves.
//!
//! A client that cannot see failures would call every proxy perfect.

mod kept;
mod once;
mod server;
mod sockets;
mod streams;
mod two;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{Client, Counts, Tally, Target};

const BANNER: &str = "v1 blue 1 0123456789ab\n";

/// What is counted, without the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    sent: u64,
    failed: u64,
    dropped: u64,
    cut: u64,
    goodbyes: u64,
}

/// Lets one client do so many exchanges and leave; returns what it counted.
async fn seen<C: Client>(
    server: SocketAddr,
    client: fn(Arc<Target>, Arc<Tally>) -> C,
    exchanges: usize,
) -> Seen {
    let target = Target {
        host: "shop.test".to_owned(),
        plain: server,
        tls: None,
        // Only what is silent on purpose takes it.
        patience: Duration::from_secs(2),
    };
    let tally = Arc::new(Tally::default());
    let mut client = client(Arc::new(target), Arc::clone(&tally));
    for _ in 0..exchanges {
        client.exchange().await;
    }
    client.leave().await;
    let counts = tally.counts();
    let Counts { sent, failed, dropped, cut, goodbyes, reasons } = counts;
    let bad = failed + dropped + cut;
    assert_eq!(reasons.values().sum::<u64>(), bad, "a reason for each: {reasons:?}");
    Seen { sent, failed, dropped, cut, goodbyes }
}

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Words\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
