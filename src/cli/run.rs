//! `quaymaster run`: keep converging until told to stop.

use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use super::{
    args::{Converge, Globals},
    error::CommandError,
    exit::Exit,
    session::{EndSignals, Session},
};
use crate::{
    controller::{
        StatusReport,
        run::{Lines, TICK, Until},
    },
    ports::Clock,
    server::{self, Api, Socket},
    systemd::{self, Heartbeat},
};

/// How many requests may wait for the loop.
const WAITING_REQUESTS: usize = 16;

/// Runs the controller, and answers on the socket meanwhile.
pub async fn run(globals: &Globals, args: &Converge) -> Result<Exit, CommandError> {
    let signals = EndSignals::listen()?;
    let Session { controller, waker, wakes, clock, fetch_soon: _, hold } =
        Session::open(globals, args, Until::Forever).await?;
    let path = controller.path().to_owned();
    let socket = Socket::bind(&globals.socket).await?;

    let (requests, asked) = mpsc::channel(WAITING_REQUESTS);
    let (status, seen) = watch::channel(None);
    let api = Api { status: seen.clone(), requests, now: Box::new(move || clock.now()) };
    let (end_server, server_ends) = oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve(socket, api, async {
        // Either way, it is over.
        let _ = server_ends.await;
    }));
    let telling = tokio::spawn(tell_systemd(seen));
    // A pass of a healthy loop comes at every tick; a step in hand delays none.
    let heartbeat = Heartbeat::new(TICK * 6);
    let feeding = systemd::feed_watchdog(heartbeat.clone());

    info!(file = %path.display(), socket = %globals.socket.display(), "running");
    let lines = Lines { wakes, waker, requests: asked, status };
    controller.run(lines, Until::Forever, ended_by(signals), || heartbeat.beat()).await;
    info!("ended; everything that runs is left running");

    // Whoever waits for an answer gets one; then the socket goes.
    drop(end_server);
    let _ = serving.await;
    telling.abort();
    feeding.inspect(tokio::task::JoinHandle::abort);
    drop(hold);
    Ok(Exit::Done)
}

/// Waits for the first signal. A second one ends the process at once: a kill at
/// any instant is safe, only less tidy.
async fn ended_by(mut signals: EndSignals) {
    signals.next().await;
    systemd::stopping();
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
}

/// Keeps systemd informed: ready after the first pass, then a line of status.
async fn tell_systemd(mut seen: watch::Receiver<Option<StatusReport>>) {
    let mut said = String::new();
    while seen.changed().await.is_ok() {
        let line = seen.borrow_and_update().as_ref().map(StatusReport::line);
        let Some(line) = line else { continue };
        if said.is_empty() {
            systemd::ready();
        }
        if line != said {
            systemd::status(&line);
            said = line;
        }
    }
}
