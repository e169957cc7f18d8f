//! `quaymaster run`: keep converging until told to stop.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use super::{
    args::{Globals, ListenArgs, RunArgs},
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
    server::{self, Api, Public, PublicListener, SharedSecret, Socket, Webhook},
    source::git::FetchSoon,
    systemd::{self, Heartbeat},
};

/// How many requests may wait for the loop.
const WAITING_REQUESTS: usize = 16;

/// Runs the controller, and answers on the socket meanwhile.
pub async fn run(globals: &Globals, args: &RunArgs) -> Result<Exit, CommandError> {
    let signals = EndSignals::listen()?;
    let secrets = Secrets::read(&args.listen)?;
    let Session { controller, waker, wakes, clock, fetch_soon, hold } =
        Session::open(globals, &args.converge, Until::Forever).await?;
    let path = controller.path().to_owned();
    let socket = Socket::bind(&globals.socket).await?;

    let (requests, asked) = mpsc::channel(WAITING_REQUESTS);
    let (status, seen) = watch::channel(None);
    let now = Box::new(move || clock.now());
    let api = Arc::new(Api { status: seen.clone(), requests, now });
    let (end_server, server_ends) = oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve(socket, Arc::clone(&api), async {
        // Either way, it is over.
        let _ = server_ends.await;
    }));
    let telling = tokio::spawn(tell_systemd(seen));
    // A pass of a healthy loop comes at every tick; a step in hand delays none.
    let heartbeat = Heartbeat::new(TICK * 6);
    let feeding = systemd::feed_watchdog(heartbeat.clone());
    let listening = match args.listen.listen {
        Some(address) => {
            let listener = PublicListener::bind(address).await?;
            info!(
                address = %listener.address().unwrap_or(address),
                webhook = secrets.webhook.is_some() && fetch_soon.is_some(),
                status = secrets.status_token.is_some(),
                "listening"
            );
            let public = secrets.public(api, heartbeat.clone(), fetch_soon);
            Some(tokio::spawn(server::public::serve(listener, public)))
        }
        None => None,
    };

    info!(file = %path.display(), socket = %globals.socket.display(), "running");
    let lines = Lines { wakes, waker, requests: asked, status };
    controller.run(lines, Until::Forever, ended_by(signals), || heartbeat.beat()).await;
    info!("ended; everything that runs is left running");

    // Whoever waits for an answer gets one; then the socket goes.
    drop(end_server);
    let _ = serving.await;
    telling.abort();
    listening.inspect(tokio::task::JoinHandle::abort);
    feeding.inspect(tokio::task::JoinHandle::abort);
    drop(hold);
    Ok(Exit::Done)
}

/// What callers over TCP have to know.
struct Secrets {
    webhook: Option<SharedSecret>,
    status_token: Option<SharedSecret>,
}

impl Secrets {
    fn read(args: &ListenArgs) -> Result<Secrets, CommandError> {
        let read = |path: &Option<PathBuf>| path.as_deref().map(SharedSecret::read).transpose();
        Ok(Secrets {
            webhook: read(&args.webhook_secret_file)?,
            status_token: read(&args.status_token_file)?,
        })
    }

    fn public(self, api: Arc<Api>, heart: Heartbeat, fetch_soon: Option<FetchSoon>) -> Public {
        let webhook = self.webhook.zip(fetch_soon).map(|(secret, fetch_soon)| Webhook {
            secret,
            on_push: Box::new(move || fetch_soon.tell()),
        });
        let is_alive = Box::new(move || heart.is_beating());
        Public { api, webhook, status_token: self.status_token, is_alive }
    }
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
