//! One client, one request at a time.

use std::{
    io::{self, Write},
    net::TcpStream,
    time::Duration,
};

use super::options::Target;
use crate::http::{Afterwards, Incoming, Response};

const TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Kept,
    OneRequest,
}

/// What became of one request.
pub struct Outcome {
    pub answer: io::Result<Response>,
    /// The kept connection had been closed in the meantime.
    pub reconnected: bool,
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

impl<'a> Client<'a> {
    pub fn new(target: &'a Target, lifetime: Lifetime) -> Client<'a> {
        Client { target, lifetime, kept: None }
    }

    /// Asks once.
    pub fn get(&mut self) -> Outcome {
        if let Some(mut connection) = self.kept.take() {
            let answer = connection.get(self.target, self.lifetime);
            let untouched = connection.incoming.is_empty();
            match &answer {
                Err(why) if untouched && is_closed(why) => {}
                Ok(_) | Err(_) => return self.done(connection, answer),
            }
            return Outcome { reconnected: true, ..self.get_afresh() };
        }
        self.get_afresh()
    }

    fn get_afresh(&mut self) -> Outcome {
        match Connection::open(self.target) {
            Ok(mut connection) => {
                let answer = connection.get(self.target, self.lifetime);
                self.done(connection, answer)
            }
            Err(why) => Outcome { answer: Err(why), reconnected: false },
        }
    }

    fn done(&mut self, connection: Connection, answer: io::Result<Response>) -> Outcome {
        let reusable = answer.as_ref().is_ok_and(|a| a.afterwards == Afterwards::KeepAlive);
        if reusable && self.lifetime == Lifetime::Kept {
            self.kept = Some(connection);
        }
        Outcome { answer, reconnected: false }
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

/// Returns whether the peer had closed before it saw the request.
fn is_closed(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
