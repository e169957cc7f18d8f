//! One client, one request at a time.

use std::{
    io::{self, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::options::Target;
use crate::http::{Afterwards, Incoming, Response};

const TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that ends without an answer within this time was closed with the
/// request unread; later, the request had been at work and was cut. Long enough
/// for a busy machine: what must prove that it is never cut takes longer.
const UNREAD_WITHIN: Duration = Duration::from_secs(2);

/// How often a request that nobody read is sent.
const MAX_TRIES: u32 = 4;

/// How long a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Kept,
    OneRequest,
}

/// What became of one request.
pub struct Outcome {
    pub answer: io::Result<Response>,
    /// Whether the kept connection had been closed in the meantime.
    pub reconnected: bool,
    /// How many fresh connections were closed with the request unread.
    pub dropped: u64,
}

pub struct Client<'a> {
    target: &'a Target,
    lifetime: Lifetime,
    kept: Option<Connection>,
}

struct Connection {
    stream: TcpStream,
    incoming: Incoming<TcpStream>,
}

/// What became of one try.
enum Tried {
    Answered(Response),
    Unread(io::Error),
    Failed(io::Error),
}

impl<'a> Client<'a> {
    pub fn new(target: &'a Target, lifetime: Lifetime) -> Client<'a> {
        Client { target, lifetime, kept: None }
    }

    /// Asks once.
    pub fn get(&mut self) -> Outcome {
        let (mut reconnected, mut dropped) = (false, 0);
        let mut tries = 1;
        let answer = loop {
            let (tried, was_kept) = match self.kept.take() {
                Some(connection) => (self.ask(connection), true),
                None => (self.ask_afresh(), false),
            };
            match tried {
                Tried::Answered(answer) => break Ok(answer),
                Tried::Failed(why) => break Err(why),
                Tried::Unread(why) if tries == MAX_TRIES => break Err(why),
                Tried::Unread(_) if was_kept => reconnected = true,
                Tried::Unread(_) => dropped += 1,
            }
            tries += 1;
        };
        Outcome { answer, reconnected, dropped }
    }

    fn ask_afresh(&mut self) -> Tried {
        match Connection::open(self.target) {
            Ok(connection) => self.ask(connection),
            // The listener went away between the handshake and the accept.
            Err(why) if why.kind() == io::ErrorKind::ConnectionReset => Tried::Unread(why),
            Err(why) => Tried::Failed(io::Error::other(format!("cannot connect: {why}"))),
        }
    }

    fn ask(&mut self, mut connection: Connection) -> Tried {
        let sent = Instant::now();
        match connection.get(self.target, self.lifetime) {
            Ok(answer) => {
                if answer.afterwards == Afterwards::KeepAlive && self.lifetime == Lifetime::Kept {
                    self.kept = Some(connection);
                }
                Tried::Answered(answer)
            }
            Err(why) => {
                let unread = connection.incoming.is_empty()
                    && is_closed(&why)
                    && sent.elapsed() < UNREAD_WITHIN;
                if unread {
                    return Tried::Unread(why);
                }
                let after = sent.elapsed().as_millis();
                Tried::Failed(io::Error::other(format!("{why}, {after} ms after it was sent")))
            }
        }
    }
}

impl Connection {
    fn open(target: &Target) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&target.address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let incoming = Incoming::new(stream.try_clone()?);
        Ok(Connection { stream, incoming })
    }

    fn get(&mut self, target: &Target, lifetime: Lifetime) -> io::Result<Response> {
        let connection = match lifetime {
            Lifetime::Kept => "keep-alive",
            Lifetime::OneRequest => "close",
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n",
            target.path, target.host
        );
        self.stream.write_all(request.as_bytes())?;
        self.incoming.response()
    }
}

/// Returns whether the peer closed the connection.
fn is_closed(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
