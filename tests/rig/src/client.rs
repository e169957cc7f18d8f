//! Clients in front of a test host: single looks, and traffic that is counted.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use crate::docker::demo_binary;

/// Where requests go: a host name behind a port of loopback.
#[derive(Clone, Debug)]
pub struct Site {
    pub host: String,
    pub port: u16,
}

impl Site {
    /// Asks once over a fresh connection; returns the status and the body.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        self.get_with(path, "Accept: */*")
    }

    /// The same, with one more header.
    pub fn get_with(&self, path: &str, header: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let host = &self.host;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
    }

    /// Returns the first two words of the answer at `/`, `VERSION SLOT`, if it
    /// is a `200`.
    pub fn banner(&self) -> Option<String> {
        let (status, body) = self.get("/").ok()?;
        let words: Vec<&str> = body.split_whitespace().take(2).collect();
        (status == 200).then(|| words.join(" "))
    }

    /// Starts clients that ask `path` until [`Traffic::end`].
    pub fn traffic(&self, path: &str, load: Load) -> Traffic {
        let child = Command::new(demo_binary())
            .arg("load")
            .arg(format!("http://{}{path}", self.host))
            .args(["--connect", &format!("127.0.0.1:{}", self.port)])
            .args(["--keep-alive", &load.clients.to_string()])
            .args(["--pause", &load.pause.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo app runs");
        Traffic { child }
    }
}

/// How much traffic: each client keeps its connection and pauses after each
/// answer.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: usize,
    pub pause: Duration,
}

impl Load {
    /// Enough to meet every moment of a flip, and little enough to leave two
    /// cores to the tests beside it.
    pub const LIGHT: Load = Load { clients: 4, pause: Duration::from_millis(5) };
}

/// Clients at work.
pub struct Traffic {
    child: Child,
}

impl Traffic {
    /// Stops the clients after their request in hand, and returns what they saw.
    pub fn end(mut self) -> Seen {
        let pid = self.child.id().to_string();
        crate::run(Command::new("kill").args(["-TERM", &pid]));
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().expect("it is piped");
        stdout.read_to_string(&mut line).expect("the summary is text");
        serde_json::from_str(&line).unwrap_or_else(|why| panic!("no summary ({why}): {line}"))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the clients saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    pub requests: u64,
    pub failed: u64,
    /// By `VERSION SLOT`.
    pub answers: BTreeMap<String, Answers>,
    /// The first of them, with their words.
    pub failures: Vec<Value>,
}

/// When the requests with one answer were sent, in milliseconds from the start.
#[derive(Clone, Debug, Deserialize)]
pub struct Answers {
    pub first_ms: u64,
    pub last_ms: u64,
}

impl Seen {
    /// Panics unless there was traffic and every request got its `200`.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        assert!(self.requests > 0, "the clients never asked");
        assert_eq!(self.failed, 0, "of {} requests: {:?}", self.requests, self.failures);
    }
}
