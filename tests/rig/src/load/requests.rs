//! `GET`s over HTTP/1.1.

use std::sync::Arc;

use super::{
    Client, Outcome, Tally, Target,
    http1::{Broken, Connection, Head},
};

/// Long enough to be in flight through several flips.
const SLOW_PATH: &str = "/slow?ms=5000";

/// A client that keeps its connection.
pub struct KeepAlive {
    target: Arc<Target>,
    tally: Arc<Tally>,
    kept: Option<Connection>,
}

impl KeepAlive {
    pub fn new(target: Arc<Target>, tally: Arc<Tally>) -> KeepAlive {
        KeepAlive { target, tally, kept: None }
    }

    /// Returns the kept connection, unless it has ended in the meantime.
    fn kept(&mut self) -> Option<Connection> {
        let kept = self.kept.take()?;
        match kept.ended() {
            None => Some(kept),
            Some(why) => {
                self.tally.dropped(&why);
                None
            }
        }
    }

    /// Asks once, and keeps the connection if it can be kept.
    async fn ask(&mut self, mut connection: Connection) -> Result<Outcome, Broken> {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive\r\n\r\n",
            self.target.host
        );
        let (head, body) = answered(&mut connection, &request).await?;
        if head.closes {
            self.tally.dropped("an answer with `Connection: close`");
        } else {
            self.kept = Some(connection);
        }
        Ok(judge_banner(head.status, &body))
    }

    async fn ask_afresh(&mut self) -> Outcome {
        let asked = match Connection::open(&self.target).await {
            Ok(connection) => self.ask(connection).await,
            Err(broken) => Err(broken),
        };
        asked.unwrap_or_else(|broken| broken_down(&self.tally, broken))
    }
}

impl Client for KeepAlive {
    async fn exchange(&mut self) {
        let outcome = match self.kept() {
            None => self.ask_afresh().await,
            Some(connection) => match self.ask(connection).await {
                Ok(outcome) => outcome,
                // RFC 9110, section 9.2.2: a `GET` may be sent again when the
                // connection may have been closed before it was read.
                Err(Broken::Unanswered(why)) => {
                    self.tally.dropped(&why);
                    self.ask_afresh().await
                }
                Err(broken) => broken_down(&self.tally, broken),
            },
        };
        self.tally.note(outcome);
    }

    /// Looks once more at the connection, so that an end in the last pause counts.
    async fn leave(mut self) {
        self.kept();
    }
}

/// A client that makes a connection for each request.
pub struct Fresh {
    target: Arc<Target>,
    tally: Arc<Tally>,
    path: &'static str,
}

impl Fresh {
    pub fn new(target: Arc<Target>, tally: Arc<Tally>) -> Fresh {
        Fresh { target, tally, path: "/" }
    }

    /// Asks for what takes 5 s to answer.
    pub fn slow(target: Arc<Target>, tally: Arc<Tally>) -> Fresh {
        Fresh { target, tally, path: SLOW_PATH }
    }

    async fn ask(&self) -> Result<Outcome, Broken> {
        let mut connection = Connection::open(&self.target).await?;
        let (path, host) = (self.path, &self.target.host);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let (head, body) = answered(&mut connection, &request).await?;
        Ok(judge_banner(head.status, &body))
    }
}

impl Client for Fresh {
    async fn exchange(&mut self) {
        let outcome = self.ask().await;
        self.tally.note(outcome.unwrap_or_else(|broken| broken_down(&self.tally, broken)));
    }

    async fn leave(self) {}
}

async fn answered(connection: &mut Connection, request: &str) -> Result<(Head, Vec<u8>), Broken> {
    // Whether it was taken, the answer or its absence tells.
    connection.send(request.as_bytes()).await;
    let head = connection.head().await?;
    let body = connection.body(&head).await?;
    Ok((head, body))
}

/// The right answer is a `200` whose body is the app's `VERSION SLOT REPLICA RELEASE`.
pub(super) fn judge_banner(status: u16, body: &[u8]) -> Outcome {
    let words = String::from_utf8_lossy(body).split_whitespace().count();
    match (status, words) {
        (200, 4) => Outcome::Right,
        (200, _) => Outcome::Failed(format!("a wrong body: {:?}", String::from_utf8_lossy(body))),
        (status, _) => Outcome::Failed(format!("status {status}")),
    }
}

/// Counts the connection, if one was dropped, and fails the request.
pub(super) fn broken_down(tally: &Tally, broken: Broken) -> Outcome {
    if let Some(why) = broken.dropped() {
        tally.dropped(why);
    }
    Outcome::Failed(broken.into_words())
}
