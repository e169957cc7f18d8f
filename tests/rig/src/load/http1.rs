//! HTTP/1.1 by hand: a library would hide how exactly a connection ended.
//!
//! Just enough of it: answers with a length or in chunks. Parsing of the head is
//! `httparse`'s.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::target::Target;

const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How an answer did not come.
#[derive(Debug)]
pub enum Broken {
    /// No connection was made.
    NoConnection(String),
    /// The other side ended the connection without a byte of an answer.
    Unanswered(String),
    /// The other side ended the connection in the middle of an answer.
    Cut(String),
    /// Nothing came for too long; the client gives up.
    Silent(String),
    /// What came is no HTTP.
    Malformed(String),
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    /// Whether the other side will close the connection after this answer.
    pub closes: bool,
    framing: Framing,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    Length(usize),
}

/// A connection with what was read ahead of it.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    patience: Duration,
}

impl Broken {
    /// Returns why, if the other side ended a connection.
    pub fn dropped(&self) -> Option<&str> {
        match self {
            Broken::Unanswered(why) | Broken::Cut(why) => Some(why),
            Broken::NoConnection(_) | Broken::Silent(_) | Broken::Malformed(_) => None,
        }
    }

    pub fn into_words(self) -> String {
        match self {
            Broken::NoConnection(why) => format!("no connection: {why}"),
            Broken::Unanswered(why) => format!("unanswered: {why}"),
            Broken::Cut(why) => format!("half an answer: {why}"),
            Broken::Silent(why) => format!("silence: {why}"),
            Broken::Malformed(why) => format!("no HTTP: {why}"),
        }
    }
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Connection, Broken> {
        let connecting = TcpStream::connect(target.plain);
        let connected = timeout(target.patience, connecting).await;
        let stream = connected
            .map_err(|_| Broken::Silent("no connection in time".to_owned()))?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|why| match why.kind() {
                // It stood, and was reset before this side looked.
                io::ErrorKind::ConnectionReset => Broken::Unanswered(why.to_string()),
                _ => Broken::NoConnection(why.to_string()),
            })?;
        Ok(Connection { stream, buffer: Vec::new(), patience: target.patience })
    }

    /// Returns why an idle connection cannot be used any more; None if it can.
    pub fn ended(&self) -> Option<String> {
        let mut byte = [0];
        match self.stream.try_read(&mut byte) {
            Ok(0) => Some("closed while idle".to_owned()),
            Ok(_) => Some("something was sent unasked".to_owned()),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => None,
            Err(why) => Some(format!("ended while idle: {why}")),
        }
    }

    /// Sends bytes of a request. A connection that does not take them is not an
    /// error yet: the answer may be there already, and reading will tell.
    pub async fn send(&mut self, bytes: &[u8]) -> Sent {
        match timeout(self.patience, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Sent::Taken,
            Ok(Err(_)) | Err(_) => Sent::Refused,
        }
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Result<Head, Broken> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(Broken::Malformed("the head never ends".to_owned()));
            }
            self.fill().await?;
        }
    }

    /// Reads the body of an answer to its end.
    pub async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Broken> {
        let body = match head.framing {
            Framing::Length(length) => self.take(length).await,
            Framing::Chunked => self.chunks().await,
        };
        // Its head was an answer already.
        body.map_err(|broken| match broken {
            Broken::Unanswered(why) => Broken::Cut(why),
            other => other,
        })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16);
            let size = size.map_err(|_| Broken::Malformed(format!("a chunk of size {line:?}")))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            let end = self.line().await?;
            if !end.is_empty() {
                return Err(Broken::Malformed(format!("{end:?} after a chunk")));
            }
        }
    }

    async fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(Broken::Malformed("a line never ends".to_owned()));
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads some more. Its end is `Unanswered` only if nothing of an answer came.
    async fn fill(&mut self) -> Result<(), Broken> {
        let read = timeout(self.patience, self.stream.read_buf(&mut self.buffer)).await;
        let ended = match read {
            Err(_) => return Err(Broken::Silent(format!("for {:?}", self.patience))),
            Ok(Ok(0)) => "the connection was closed".to_owned(),
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(why)) => why.to_string(),
        };
        Err(if self.buffer.is_empty() { Broken::Unanswered(ended) } else { Broken::Cut(ended) })
    }
}

/// Whether a connection took what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Taken,
    Refused,
}

fn parse_head(buffer: &[u8]) -> Result<Option<(Head, usize)>, Broken> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut slots);
    let length = match head.parse(buffer).map_err(|why| Broken::Malformed(why.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| str::from_utf8(header.value).ok())
    };
    let framing = match (header("transfer-encoding"), header("content-length").map(str::parse)) {
        (Some(_), _) => Framing::Chunked,
        (None, Some(Ok(length))) => Framing::Length(length),
        (None, Some(Err(_)) | None) => {
            return Err(Broken::Malformed("an answer without a length".to_owned()));
        }
    };
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some((Head { status: head.code.unwrap_or(0), closes, framing }, length)))
}
