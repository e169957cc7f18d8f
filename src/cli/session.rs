//! A controller with everything it works with: what `run` and `apply` share.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
};

use super::{
    args::{Converge, Globals},
    error::CommandError,
    in_force::{InForce, desired, to_converge},
};
use crate::{
    caddy::Caddy,
    clock::HostClock,
    controller::{Controller, Ports, Wake, Waker, Wakes, run::Until, wake::wakes},
    docker::{self, Docker, EventWatch},
    gate::Gates,
    lock::StackLock,
    notify::Courier,
    probe::Probes,
    signature::{self, Signatures},
    source::{DesiredState, Watch, git::FetchSoon},
    store::Store,
};

/// The pauses after which an event of Docker is looked into again.
const ECHOES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// The controller over the real world.
pub type HostController = Controller<
    Docker,
    Caddy,
    Probes<Arc<Docker>>,
    Gates<Arc<Docker>>,
    Store,
    DesiredState,
    HostClock,
>;

/// A controller that holds its stack, and what wakes it.
pub struct Session {
    pub controller: HostController,
    pub waker: Waker,
    pub wakes: Wakes,
    pub clock: HostClock,
    /// Makes the branch be looked at soon; None for a file that is not in Git.
    pub fetch_soon: Option<FetchSoon>,
    pub hold: SessionHold,
}

/// What has to live as long as the controller acts.
pub struct SessionHold {
    _lock: StackLock,
    _watch: Watch,
    _events: EventWatch,
    _hangup: JoinHandle<()>,
}

impl Session {
    /// Reads the file or the branch, reaches Docker, and takes the stack (S10).
    ///
    /// # Errors
    ///
    /// Fails if the branch is not known and cannot be fetched, if the file is bad and,
    /// for a controller that goes on, was never good, if Docker cannot be reached, and if somebody else holds the stack or its store.
    pub async fn open(
        globals: &Globals,
        args: &Converge,
        until: Until,
    ) -> Result<Session, CommandError> {
        let desired = desired(globals, args, until).await?;
        let InForce { source, path, stack } = to_converge(globals, desired, until).await?;
        let clock = HostClock::new()?;
        let (waker, wakes) = wakes();
        let options = docker::Options {
            max_pulls: usize::from(args.max_pulls),
            secrets_dir: args.secrets.secrets_dir.clone(),
            wake: waking_with_echoes(&waker, Wake::Engine),
            ..docker::Options::default()
        };
        let engine = Arc::new(Docker::connect(&stack.name, options).await?);
        let lock = StackLock::take(&engine.identity().await?, &stack.name)?;
        let store = Store::open(&globals.state_dir, &stack.name, &path.display().to_string())?;
        let prober = Probes::new(Arc::clone(&engine), waking(&waker, Wake::Probe));
        let gates = Gates::new(Arc::clone(&engine), waking(&waker, Wake::Gate));
        let watch = source.watch(waking(&waker, Wake::File), waking(&waker, Wake::Git));
        let fetch_soon = watch.fetch_soon();
        let hold = SessionHold {
            _lock: lock,
            _watch: watch,
            _events: engine.watch_events(),
            _hangup: wake_on_hangup(waker.clone(), fetch_soon.clone())?,
        };
        let proxy = Caddy::new(&stack.name, &globals.state_dir).waking(waking(&waker, Wake::Proxy));
        let ports = Ports {
            engine,
            proxy: Arc::new(proxy),
            prober: Arc::new(prober),
            gates: Arc::new(gates),
            verifier: Arc::new(Signatures::new(signature::Options::default())),
            ledger: Arc::new(store),
            source: Arc::new(source),
            clock: Arc::new(clock.clone()),
            notifier: Arc::new(Courier::new(waking(&waker, Wake::Told))),
        };
        let controller = Controller::new(ports, stack, path);
        Ok(Session { controller, waker, wakes, clock, fetch_soon, hold })
    }
}

fn waking(waker: &Waker, by: Wake) -> Arc<dyn Fn() + Send + Sync> {
    let waker = waker.clone();
    Arc::new(move || waker.wake(by))
}

/// Wakes at once and then again: Docker's list of containers lags behind its own
/// events (measured with 20.10: a container that has died is listed as running
/// for up to 0.6 s more), and one event is often all there is.
fn waking_with_echoes(waker: &Waker, by: Wake) -> Arc<dyn Fn() + Send + Sync> {
    let heard = Arc::new(Notify::new());
    let (waker, echoes, hears) = (waker.clone(), waker.clone(), Arc::clone(&heard));
    tokio::spawn(async move {
        loop {
            hears.notified().await;
            for pause in ECHOES {
                tokio::time::sleep(pause).await;
                echoes.wake(by);
            }
        }
    });
    Arc::new(move || {
        waker.wake(by);
        heard.notify_one();
    })
}

fn wake_on_hangup(
    waker: Waker,
    fetch_soon: Option<FetchSoon>,
) -> Result<JoinHandle<()>, CommandError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(CommandError::Runtime)?;
    Ok(tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            fetch_soon.iter().for_each(FetchSoon::tell);
            waker.wake(Wake::Signal);
        }
    }))
}

/// SIGTERM and SIGINT.
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// Takes both over from now on.
    ///
    /// # Errors
    ///
    /// Fails if the system does not allow it.
    pub fn listen() -> Result<EndSignals, CommandError> {
        let listen = |kind| signal(kind).map_err(CommandError::Runtime);
        Ok(EndSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
