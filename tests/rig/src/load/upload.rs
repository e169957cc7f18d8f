//! Uploads in chunks.

use std::{sync::Arc, time::Duration};

use super::{
    Client, Outcome, Tally, Target,
    http1::{Broken, Connection, Sent},
    requests::broken_down,
};

const CHUNKS: u64 = 10;
const CHUNK_BYTES: usize = 4096;
const PAUSE: Duration = Duration::from_millis(100);

/// A client that makes a connection for each upload, and never repeats one: a
/// `POST` may have been acted upon.
pub struct Upload {
    target: Arc<Target>,
    tally: Arc<Tally>,
    number: u64,
}

impl Upload {
    pub fn new(target: Arc<Target>, tally: Arc<Tally>) -> Upload {
        Upload { target, tally, number: 0 }
    }

    async fn upload(&self) -> Result<Outcome, Broken> {
        let mut connection = Connection::open(&self.target).await?;
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\
             Connection: close\r\n\r\n",
            self.target.host
        );
        let mut sent = connection.send(head.as_bytes()).await;
        for chunk in chunks(self.number) {
            if sent == Sent::Refused {
                break;
            }
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.extend_from_slice(&chunk);
            framed.extend_from_slice(b"\r\n");
            sent = connection.send(&framed).await;
            tokio::time::sleep(PAUSE).await;
        }
        if sent == Sent::Taken {
            connection.send(b"0\r\n\r\n").await;
        }
        let head = connection.head().await?;
        let echo = connection.body(&head).await?;
        let body: Vec<u8> = chunks(self.number).flatten().collect();
        Ok(match (head.status, echo == body) {
            (200, true) => Outcome::Right,
            (200, false) => Outcome::Failed(format!("{} bytes came back wrong", echo.len())),
            (status, _) => Outcome::Failed(format!("status {status}")),
        })
    }
}

impl Client for Upload {
    async fn exchange(&mut self) {
        self.number += 1;
        let outcome = self.upload().await;
        self.tally.note(outcome.unwrap_or_else(|broken| broken_down(&self.tally, broken)));
    }

    async fn leave(self) {}
}

/// Returns the body of an upload. No two chunks are alike, so that a lost or
/// doubled one shows.
pub(super) fn chunks(upload: u64) -> impl Iterator<Item = Vec<u8>> {
    (1..=CHUNKS).map(move |number| {
        let line = format!("upload {upload} chunk {number}\n");
        line.bytes().cycle().take(CHUNK_BYTES).collect()
    })
}
