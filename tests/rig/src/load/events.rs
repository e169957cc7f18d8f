//! Server-sent events.

use std::sync::Arc;

use super::{
    Client, Outcome, Tally, Target,
    http1::{Broken, Connection},
    requests::broken_down,
};

const EVENTS: usize = 20;
const PATH: &str = "/stream?ms=250&n=20";

/// A client that makes a connection for each stream, and reads it to its end.
pub struct Events {
    target: Arc<Target>,
    tally: Arc<Tally>,
}

impl Events {
    pub fn new(target: Arc<Target>, tally: Arc<Tally>) -> Events {
        Events { target, tally }
    }

    /// Opens a stream and reads it; an error is a stream that never opened.
    async fn read(&self) -> Result<Outcome, Broken> {
        let mut connection = Connection::open(&self.target).await?;
        let host = &self.target.host;
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        connection.send(request.as_bytes()).await;
        let head = connection.head().await?;
        if head.status != 200 {
            return Ok(Outcome::Failed(format!("status {}", head.status)));
        }
        Ok(match connection.body(&head).await {
            Ok(body) => judge(&body),
            Err(broken) => {
                if let Some(why) = broken.dropped() {
                    self.tally.dropped(why);
                }
                Outcome::Cut(broken.into_words())
            }
        })
    }
}

impl Client for Events {
    async fn exchange(&mut self) {
        let outcome = self.read().await;
        self.tally.note(outcome.unwrap_or_else(|broken| broken_down(&self.tally, broken)));
    }

    async fn leave(self) {}
}

/// The right stream has every event, in order.
fn judge(body: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(body);
    let numbers = text.lines().filter_map(|line| line.strip_prefix("data: ")?.split(' ').next());
    let right = (1..=EVENTS).map(|number| number.to_string());
    if numbers.eq(right) {
        Outcome::Right
    } else {
        Outcome::Cut(format!("not events 1 to {EVENTS}: {text:?}"))
    }
}
