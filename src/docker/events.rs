//! Docker's events as a wake, and as nothing else.
//!
//! The stream is drained by a task of its own, because one that nobody reads
//! stalls the engine. Events are lossy and carry no fact that a decision uses.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use tokio::task::JoinHandle;

use super::{
    Docker, Wake,
    connection::CALL_DEADLINE,
    failure::{CallError, within},
    labels,
};

/// What changes how a replica stands. Named one by one: an exec health check
/// alone sends three others each time it runs.
const EVENTS: &[&str] = &[
    "create",
    "start",
    "restart",
    "die",
    "oom",
    "stop",
    "kill",
    "pause",
    "unpause",
    "rename",
    "update",
    "destroy",
    "health_status",
];

/// The pace of new tries: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A stream that has been silent for so long is opened anew: its connection may
/// be dead without either side knowing.
const MAX_SILENCE: Duration = Duration::from_secs(5 * 60);

/// How far a new stream looks back, to cover the gap before it was opened.
const LOOK_BACK: Duration = Duration::from_secs(2);

/// The task that drains the events; it ends when this is dropped.
#[must_use = "dropping it ends the watch"]
pub struct EventWatch {
    task: JoinHandle<()>,
}

impl Drop for EventWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Docker {
    /// Wakes on every event of this stack's containers, and each time the stream
    /// has been opened anew. It goes on for ever, through restarts of the engine.
    pub fn watch_events(&self) -> EventWatch {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), EVENTS.iter().map(|&event| event.to_owned()).collect()),
            ("label".to_owned(), vec![format!("{}={}", labels::STACK, self.stack)]),
        ]);
        EventWatch { task: tokio::spawn(watch(self.client.clone(), filters, self.wake.clone())) }
    }
}

type Filters = HashMap<String, Vec<String>>;

async fn watch(client: bollard::Docker, filters: Filters, wake: Wake) {
    let mut pace = FIRST_RETRY;
    loop {
        match drain(&client, &filters, &wake).await {
            Ok(Silence) => continue,
            Err(Lost::AfterOpening(error)) => {
                pace = FIRST_RETRY;
                tracing::warn!(why = error, "lost Docker's events; opening them again");
            }
            Err(Lost::BeforeOpening(error)) => {
                tracing::debug!(why = error.words(), "Docker's events cannot be opened yet");
            }
        }
        tokio::time::sleep(pace).await;
        pace = (pace * 2).min(LAST_RETRY);
    }
}

/// The stream said nothing for long; it may well be alive.
struct Silence;

/// How a stream was lost.
enum Lost {
    BeforeOpening(CallError),
    AfterOpening(String),
}

/// Opens the stream and reads it until it ends.
async fn drain(client: &bollard::Docker, filters: &Filters, wake: &Wake) -> Result<Silence, Lost> {
    // The engine must answer before the wake, or the pass would find it down.
    within(CALL_DEADLINE, client.ping()).await.map_err(Lost::BeforeOpening)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let options = EventsOptionsBuilder::new()
        .since(&since.saturating_sub(LOOK_BACK).as_secs().to_string())
        .filters(filters)
        .build();
    let mut events = std::pin::pin!(client.events(Some(options)));
    wake();
    loop {
        match tokio::time::timeout(MAX_SILENCE, events.next()).await {
            Ok(Some(Ok(_event))) => wake(),
            Ok(Some(Err(error))) => {
                return Err(Lost::AfterOpening(CallError::Docker(error).words()));
            }
            Ok(None) => return Err(Lost::AfterOpening("the engine ended them".to_owned())),
            Err(_) => return Ok(Silence),
        }
    }
}
