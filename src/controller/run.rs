//! The loop in production: passes, driven by wakes.

use std::{future::Future, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{Controller, Pass, Request, StatusReport, Wake, Waker, Wakes};
use crate::{
    domain::Timestamp,
    ports::{Clock, Engine, Gatekeeper, Ledger, Prober, Proxy, Source},
};

/// The longest time without a pass.
pub const TICK: Duration = Duration::from_secs(10);

/// How long the steps in hand may take to end when the controller is told to: less
/// than a watchdog's patience. A stop that takes longer is Docker's to finish.
const LAST_STEPS: Duration = Duration::from_secs(45);

/// How long whoever is told may keep a controller from ending that has converged.
const LAST_WORDS: Duration = Duration::from_secs(5);

const TELLING_PAUSE: Duration = Duration::from_millis(20);

/// When the loop ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Forever,
    /// Every service stands as declared or is held.
    Converged,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Converged,
    /// It was told to; everything is left running.
    Stopped,
}

/// What the loop listens to, and whom it tells.
pub struct Lines {
    pub wakes: Wakes,
    /// Wakes the loop itself, after a request.
    pub waker: Waker,
    pub requests: mpsc::Receiver<Request>,
    pub status: watch::Sender<Option<StatusReport>>,
}

impl<E, X, P, G, L, S, C> Controller<E, X, P, G, L, S, C>
where
    E: Engine + 'static,
    X: Proxy + 'static,
    P: Prober + 'static,
    G: Gatekeeper + 'static,
    L: Ledger + 'static,
    S: Source + 'static,
    C: Clock + 'static,
{
    /// Runs until `stop` resolves, or as `until` says. `alive` is called after
    /// each pass: what a watchdog wants to hear.
    pub async fn run(
        mut self,
        mut lines: Lines,
        until: Until,
        stop: impl Future<Output = ()>,
        alive: impl Fn(),
    ) -> Ended {
        tokio::pin!(stop);
        let mut woken_by = Wake::Start;
        loop {
            let pass = tokio::select! {
                pass = self.pass() => pass,
                // A pass that hangs on a dead daemon must not hold up the end.
                () = &mut stop => return self.finish().await,
            };
            debug!(%woken_by, steps = pass.steps, "pass");
            lines.status.send_replace(self.status());
            alive();
            if until == Until::Converged && pass.converged {
                self.finish_telling().await;
                return Ended::Converged;
            }
            if pass.steps > 0 && self.in_flight.is_empty() {
                // Whoever asks something need not wait until nothing is to be done.
                while let Ok(request) = lines.requests.try_recv() {
                    self.answer(request);
                }
                woken_by = Wake::Step;
                continue;
            }
            let next = sleep_until(self.deadline(&pass));
            woken_by = tokio::select! {
                () = &mut stop => return self.finish().await,
                true = self.step_done(), if !self.in_flight.is_empty() => Wake::Step,
                Some(request) = lines.requests.recv() => {
                    self.answer(request);
                    Wake::Request
                }
                woken_by = lines.wakes.next() => woken_by,
                () = next => Wake::Due,
            };
        }
    }

    /// The earliest of what the plan waits for and the tick.
    fn deadline(&self, pass: &Pass) -> Instant {
        let now: Timestamp = self.ports.clock.now();
        let wait = pass.revisit.map_or(TICK, |at| at.since(now).min(TICK));
        Instant::now() + wait
    }

    fn answer(&mut self, request: Request) {
        // Whoever asked may have gone: then nobody needs the answer.
        match request {
            Request::Retry(service, reply) => drop(reply.send(self.retry(&service))),
            Request::Rollback(service, reply) => drop(reply.send(self.rollback(&service))),
            Request::Promote(service, reply) => drop(reply.send(self.promote(&service))),
            Request::History(reply) => drop(reply.send(self.history().to_vec())),
            Request::Reports(reply) => drop(reply.send(self.memory.all_reports())),
        }
    }

    /// Lets what is being told reach people before the process ends that tells it. What
    /// does not in time is told by the next controller, while it is news.
    async fn finish_telling(&mut self) {
        let telling = async {
            while self.has_more_to_tell() {
                sleep(TELLING_PAUSE).await;
                self.learn_what_was_told();
            }
        };
        if timeout(LAST_WORDS, telling).await.is_err() {
            warn!("not everybody was told in time; `status` says who");
        }
    }

    /// Lets the steps in hand end, and starts no more.
    async fn finish(mut self) -> Ended {
        if !self.in_flight.is_empty() {
            info!(steps = self.in_flight.len(), "finishing the steps in hand");
        }
        let rest = async { while self.step_done().await {} };
        if timeout(LAST_STEPS, rest).await.is_err() {
            warn!("some steps did not end in time; the next start goes on from what it finds");
        }
        Ended::Stopped
    }
}
