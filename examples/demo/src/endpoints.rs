//! What each path answers.

use std::{
    fs,
    io::{self, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tungstenite::handshake::derive_accept_key;

use crate::{
    behaviour::{Behaviour, Health},
    connections::Connections,
    http::{Afterwards, Request, answer, begin_events, end_events, event},
};

/// What becomes of a connection after an answer.
pub enum Answered {
    KeepAlive,
    Close,
    /// It was upgraded; the caller goes on with it.
    WebSocket,
}

impl From<Afterwards> for Answered {
    fn from(afterwards: Afterwards) -> Answered {
        match afterwards {
            Afterwards::KeepAlive => Answered::KeepAlive,
            Afterwards::Close => Answered::Close,
        }
    }
}

pub struct App {
    behaviour: Behaviour,
    health_asked: AtomicU64,
}

impl App {
    pub fn new(behaviour: Behaviour) -> App {
        App { behaviour, health_asked: AtomicU64::new(0) }
    }

    /// Answers one request.
    pub fn answer(
        &self,
        request: &Request,
        out: &mut TcpStream,
        connections: &Connections,
    ) -> io::Result<Answered> {
        // Asked after the work, so that a drain that began in it is seen.
        let afterwards = || match request.keep_alive && !connections.draining() {
            true => Afterwards::KeepAlive,
            false => Afterwards::Close,
        };
        let (status, body) = match (request.method.as_str(), request.path.as_str()) {
            (_, "/") => {
                thread::sleep(self.behaviour.response_delay);
                (200, self.banner())
            }
            (_, "/health") => self.health(),
            (_, "/slow") => {
                thread::sleep(Duration::from_millis(request.number("ms", 1000)));
                (200, self.banner())
            }
            (_, "/data") => self.data(),
            ("POST" | "PUT", "/echo") => {
                let afterwards = afterwards();
                answer(out, 200, &request.body, afterwards)?;
                return Ok(afterwards.into());
            }
            (_, "/stream") => {
                let afterwards = afterwards();
                self.stream(request, out, afterwards)?;
                return Ok(afterwards.into());
            }
            (_, "/ws") => match request.header("sec-websocket-key") {
                Some(key) => {
                    upgrade(out, key)?;
                    return Ok(Answered::WebSocket);
                }
                None => (400, "a WebSocket starts with an upgrade\n".to_owned()),
            },
            _ => (404, "nothing here\n".to_owned()),
        };
        let afterwards = afterwards();
        answer(out, status, body.as_bytes(), afterwards)?;
        Ok(afterwards.into())
    }

    /// Returns `VERSION SLOT REPLICA RELEASE`.
    fn banner(&self) -> String {
        let berth = &self.behaviour.berth;
        format!("{} {} {} {}\n", self.behaviour.version, berth.slot, berth.replica, berth.release)
    }

    fn health(&self) -> (u16, String) {
        let asked = self.health_asked.fetch_add(1, Ordering::Relaxed);
        let good = match self.behaviour.health {
            Health::Good => true,
            Health::Bad => false,
            Health::Flapping(n) => (asked / n).is_multiple_of(2),
        };
        if good { (200, "healthy\n".to_owned()) } else { (503, "unhealthy\n".to_owned()) }
    }

    fn data(&self) -> (u16, String) {
        let Some(dir) = &self.behaviour.data_dir else {
            return (404, "no DATA_DIR\n".to_owned());
        };
        match fs::read_to_string(dir.join("starts")) {
            Ok(text) => (200, text),
            Err(why) => (503, format!("{why}\n")),
        }
    }

    /// Sends `n` events, `ms` apart.
    fn stream(
        &self,
        request: &Request,
        out: &mut TcpStream,
        afterwards: Afterwards,
    ) -> io::Result<()> {
        let (pause, events) = (request.number("ms", 1000), request.number("n", 10));
        begin_events(out, afterwards)?;
        for number in 1..=events {
            event(out, &format!("{number} {}", self.banner().trim_end()))?;
            out.flush()?;
            thread::sleep(Duration::from_millis(pause));
        }
        end_events(out)
    }
}

fn upgrade(out: &mut TcpStream, key: &str) -> io::Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    write!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}
