//! Clients of seven kinds that ask all the time, and count what they notice.
//!
//! What counts as sent, failed, dropped and cut, and when a request is sent
//! again, is defined in `benches/README.md`; `proof/` shows that each of them is
//! seen.

mod events;
mod http1;
mod http2;
#[cfg(test)]
mod proof;
mod requests;
mod sockets;
mod tally;
mod target;
mod upload;

use std::{collections::BTreeMap, future::Future, sync::Arc, thread, time::Duration};

use tokio::{runtime::Runtime, sync::watch, task::JoinSet};

pub use tally::{Counts, Outcome, Tally};
pub use target::{Target, Tls};

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP/1.1, one connection, one `GET` after the other.
    KeepAlive,
    /// HTTP/1.1, a connection for each `GET`.
    Fresh,
    /// HTTP/2 over TLS (or with prior knowledge, where the target has no TLS):
    /// one connection, several `GET`s at a time.
    Http2,
    /// HTTP/1.1, a connection for each `GET`, which takes 5 s to answer.
    Slow,
    /// HTTP/1.1, server-sent events: 20 in 5 s.
    Events,
    /// HTTP/1.1, a `POST` in chunks that takes 1 s to send, and is echoed.
    Upload,
    /// A WebSocket that stays, with an echo each 100 ms.
    WebSocket,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::KeepAlive,
        Kind::Fresh,
        Kind::Http2,
        Kind::Slow,
        Kind::Events,
        Kind::Upload,
        Kind::WebSocket,
    ];

    /// Returns its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::KeepAlive => "HTTP/1.1, kept connection",
            Kind::Fresh => "HTTP/1.1, fresh connections",
            Kind::Http2 => "HTTP/2 over TLS",
            Kind::Slow => "requests of 5 s",
            Kind::Events => "server-sent events",
            Kind::Upload => "uploads in chunks",
            Kind::WebSocket => "WebSockets",
        }
    }

    /// Returns how long a client of this kind rests after each exchange.
    fn pause(self) -> Duration {
        match self {
            Kind::KeepAlive | Kind::Http2 => Duration::from_millis(10),
            Kind::Fresh => Duration::from_millis(3),
            Kind::Slow | Kind::Events | Kind::Upload => Duration::ZERO,
            Kind::WebSocket => Duration::from_millis(100),
        }
    }
}

/// One client. It is asked for one exchange after the other, and at last to leave.
pub trait Client: Send + 'static {
    /// Sends a request, or the next message of a stream, and counts what comes
    /// of it.
    fn exchange(&mut self) -> impl Future<Output = ()> + Send;

    /// Ends what is open, and counts it.
    fn leave(self) -> impl Future<Output = ()> + Send;
}

/// Clients at work, on threads of their own.
pub struct Traffic {
    tallies: BTreeMap<Kind, Arc<Tally>>,
    stop: watch::Sender<bool>,
    working: thread::JoinHandle<()>,
}

impl Traffic {
    /// Starts so many clients of each kind.
    pub fn start(target: &Target, clients: &[(Kind, usize)]) -> Traffic {
        let tallies: BTreeMap<Kind, Arc<Tally>> =
            clients.iter().map(|(kind, _)| (*kind, Arc::default())).collect();
        let (stop, stopped) = watch::channel(false);
        let target = Arc::new(target.clone());
        let each = clients.iter().flat_map(|(kind, count)| (0..*count).map(|_| *kind));
        let each: Vec<(Kind, Arc<Tally>)> =
            each.map(|kind| (kind, Arc::clone(&tallies[&kind]))).collect();
        let working = thread::spawn(move || {
            let runtime = Runtime::new().expect("a runtime starts");
            runtime.block_on(async move {
                let mut working = JoinSet::new();
                for (kind, tally) in each {
                    spawn(&mut working, kind, &target, &tally, &stopped);
                }
                working.join_all().await;
            });
        });
        Traffic { tallies, stop, working }
    }

    /// Lets the clients finish what they have in hand, and returns what each
    /// kind counted.
    pub fn end(self) -> BTreeMap<Kind, Counts> {
        // It fails only if every client has panicked, which `join` tells.
        let _ = self.stop.send(true);
        self.working.join().expect("no client panics");
        self.tallies.into_iter().map(|(kind, tally)| (kind, tally.counts())).collect()
    }
}

fn spawn(
    working: &mut JoinSet<()>,
    kind: Kind,
    target: &Arc<Target>,
    tally: &Arc<Tally>,
    stopped: &watch::Receiver<bool>,
) {
    let (target, tally, stopped) = (Arc::clone(target), Arc::clone(tally), stopped.clone());
    match kind {
        Kind::KeepAlive => working.spawn(work(kind, KeepAlive::new(target, tally), stopped)),
        Kind::Fresh => working.spawn(work(kind, Fresh::new(target, tally), stopped)),
        Kind::Http2 => working.spawn(work(kind, Http2::new(target, tally), stopped)),
        Kind::Slow => working.spawn(work(kind, Fresh::slow(target, tally), stopped)),
        Kind::Events => working.spawn(work(kind, Events::new(target, tally), stopped)),
        Kind::Upload => working.spawn(work(kind, Upload::new(target, tally), stopped)),
        Kind::WebSocket => working.spawn(work(kind, Socket::new(target, tally), stopped)),
    };
}

/// Asks until it is told to stop, and at least once.
async fn work(kind: Kind, mut client: impl Client, mut stopped: watch::Receiver<bool>) {
    loop {
        client.exchange().await;
        let stop = stopped.wait_for(|stopped| *stopped);
        if tokio::time::timeout(kind.pause(), stop).await.is_ok() {
            return client.leave().await;
        }
    }
}

pub use events::Events;
pub use http2::Http2;
pub use requests::{Fresh, KeepAlive};
pub use sockets::Socket;
pub use upload::Upload;
