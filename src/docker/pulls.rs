//! The pulls in flight: queued, bounded, and told of when they end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::domain::{
    ImageRef, Resolution, StackName,
    snapshot::{Failure, FailureKind},
};

use super::{Options, Wake, connection::Connection, pull::Puller};

/// How often at most a pull's progress wakes the loop.
const PROGRESS_PACE: Duration = Duration::from_millis(500);

/// The pulls of one stack. Dropping it cancels them: Docker then discards what
/// it has of their layers.
pub(super) struct Pulls {
    puller: Arc<Puller>,
    board: Arc<Board>,
    permits: Arc<Semaphore>,
    runtime: tokio::runtime::Handle,
    tasks: Mutex<JoinSet<()>>,
}

/// What the loop sees of the pulls.
struct Board {
    state: Mutex<State>,
    wake: Wake,
}

#[derive(Default)]
struct State {
    in_flight: BTreeMap<ImageRef, Option<u8>>,
    ended: Vec<(ImageRef, Result<Resolution, Failure>)>,
}

impl Pulls {
    pub fn new(connection: &Connection, stack: &StackName, options: &Options) -> Pulls {
        Pulls {
            puller: Arc::new(Puller::new(connection, stack, options)),
            board: Arc::new(Board { state: Mutex::default(), wake: options.wake.clone() }),
            permits: Arc::new(Semaphore::new(options.max_pulls.max(1))),
            runtime: tokio::runtime::Handle::current(),
            tasks: Mutex::default(),
        }
    }

    /// Queues a pull, unless one of this image is in flight or has ended
    /// without its end having been taken.
    pub fn begin(&self, image: &ImageRef) {
        {
            let mut state = self.board.lock();
            let is_known = state.in_flight.contains_key(image)
                || state.ended.iter().any(|(ended, _)| ended == image);
            if is_known {
                return;
            }
            state.in_flight.insert(image.clone(), None);
        }
        let ticket = Ticket { board: self.board.clone(), image: image.clone(), ended: None };
        let task = run(self.puller.clone(), self.permits.clone(), ticket);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    pub fn in_flight(&self) -> BTreeMap<ImageRef, Option<u8>> {
        self.board.lock().in_flight.clone()
    }

    pub fn take_ended(&self) -> Vec<(ImageRef, Result<Resolution, Failure>)> {
        std::mem::take(&mut self.board.lock().ended)
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pull's place on the board. However its task ends, the place is cleared.
struct Ticket {
    board: Arc<Board>,
    image: ImageRef,
    ended: Option<Result<Resolution, Failure>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let result = self.ended.take().unwrap_or_else(|| {
            let message = format!("the pull of {} was cut off", self.image);
            Err(Failure { kind: FailureKind::Transient, message })
        });
        {
            let mut state = self.board.lock();
            state.in_flight.remove(&self.image);
            state.ended.push((self.image.clone(), result));
        }
        (self.board.wake)();
    }
}

async fn run(puller: Arc<Puller>, permits: Arc<Semaphore>, mut ticket: Ticket) {
    let _permit = permits.acquire().await.expect("the semaphore is never closed");
    let mut last_wake: Option<Instant> = None;
    let on_progress = |percent: u8| {
        ticket.board.lock().in_flight.insert(ticket.image.clone(), Some(percent));
        if last_wake.is_none_or(|at| at.elapsed() >= PROGRESS_PACE) {
            last_wake = Some(Instant::now());
            (ticket.board.wake)();
        }
    };
    let result = puller.pull(&ticket.image, on_progress).await;
    ticket.ended = Some(result);
}
