//! Just enough HTTP/1.1: requests with a length or in chunks, keep-alive, and
//! chunked answers. Parsing of the head is `httparse`'s.

use std::io::{self, Read, Write};

const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// One request, its body read to the end.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub keep_alive: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a query parameter as a number, or `default`.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let given = self.query.iter().find(|(key, _)| key == name);
        given.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
    }
}

/// One answer, its body read to the end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    pub afterwards: Afterwards,
}

enum Framing {
    Chunked,
    Length(usize),
}

/// A connection with what was read ahead of it.
pub struct Incoming<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Read> Incoming<S> {
    pub fn new(stream: S) -> Incoming<S> {
        Incoming { stream, buffer: Vec::new() }
    }

    /// Waits until the first byte of a request is there; false at the end of
    /// the connection.
    pub fn wait(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.fill()? > 0)
    }

    /// Reads one whole request.
    pub fn request(&mut self) -> io::Result<Request> {
        let (mut request, head_bytes) = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(malformed("the head is too long"));
            }
            self.fill_or_end()?;
        };
        self.buffer.drain(..head_bytes);
        let in_chunks =
            request.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        request.body = match request.header("content-length").map(str::parse) {
            _ if in_chunks => self.chunks()?,
            Some(Ok(length)) => self.take(length)?,
            Some(Err(_)) => return Err(malformed("a content-length that is no number")),
            None => Vec::new(),
        };
        Ok(request)
    }

    /// Reads one whole answer: its status, its body, and whether the connection
    /// may be used again.
    pub fn response(&mut self) -> io::Result<Response> {
        let (mut response, framing, head_bytes) = loop {
            if let Some(head) = parse_response_head(&self.buffer)? {
                break head;
            }
            self.fill_or_end()?;
        };
        self.buffer.drain(..head_bytes);
        response.body = match framing {
            Framing::Chunked => self.chunks()?,
            Framing::Length(length) => self.take(length)?,
        };
        Ok(response)
    }

    /// Returns whether nothing was read beyond the last message.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns what was read beyond the last request: the start of a WebSocket.
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16)
                .map_err(|_| malformed("a chunk without a length"))?;
            if length == 0 {
                // Trailers end with an empty line.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            if body.len().saturating_add(length) > MAX_BODY_BYTES {
                return Err(malformed("the body is too long"));
            }
            body.extend(self.take(length)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            if self.buffer.len() > MAX_BODY_BYTES {
                return Err(malformed("a line without an end"));
            }
            self.fill_or_end()?;
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > MAX_BODY_BYTES {
            return Err(malformed("the body is too long"));
        }
        while self.buffer.len() < length {
            self.fill_or_end()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill_or_end(&mut self) -> io::Result<()> {
        if self.fill()? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(read)
    }
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut slots = [httparse::EMPTY_HEADER; 100];
    let mut head = httparse::Request::new(&mut slots);
    let bytes = match head.parse(buffer).map_err(|why| malformed(&why.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(bytes) => bytes,
    };
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()))
        .collect();
    let target = head.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    });
    let connection = headers.iter().find(|(name, _)| name == "connection");
    let keep_alive = head.version == Some(1)
        && connection.is_none_or(|(_, value)| !value.eq_ignore_ascii_case("close"));
    let request = Request {
        method: head.method.unwrap_or("GET").to_owned(),
        path: path.to_owned(),
        query: query.collect(),
        headers,
        body: Vec::new(),
        keep_alive,
    };
    Ok(Some((request, bytes)))
}

fn parse_response_head(buffer: &[u8]) -> io::Result<Option<(Response, Framing, usize)>> {
    let mut slots = [httparse::EMPTY_HEADER; 100];
    let mut head = httparse::Response::new(&mut slots);
    let bytes = match head.parse(buffer).map_err(|why| malformed(&why.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(bytes) => bytes,
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| str::from_utf8(header.value).ok())
    };
    let framing = match (header("transfer-encoding"), header("content-length").map(str::parse)) {
        (Some(_), _) => Framing::Chunked,
        (None, Some(Ok(length))) => Framing::Length(length),
        (None, Some(Err(_)) | None) => return Err(malformed("an answer without a length")),
    };
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let afterwards = if closes { Afterwards::Close } else { Afterwards::KeepAlive };
    let status = head.code.unwrap_or(0);
    Ok(Some((Response { status, body: Vec::new(), afterwards }, framing, bytes)))
}

/// Whether the connection may carry another request after this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    KeepAlive,
    Close,
}

impl Afterwards {
    fn header(self) -> &'static str {
        match self {
            Afterwards::KeepAlive => "keep-alive",
            Afterwards::Close => "close",
        }
    }
}

/// Writes an answer with a known body.
pub fn answer(
    out: &mut impl Write,
    status: u16,
    body: &[u8],
    afterwards: Afterwards,
) -> io::Result<()> {
    let mut message = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: {}\r\n\r\n",
        reason(status),
        body.len(),
        afterwards.header(),
    )
    .into_bytes();
    message.extend_from_slice(body);
    // One write, so that a peer never sees half of a small answer.
    out.write_all(&message)
}

/// Starts an answer of server-sent events in chunks.
pub fn begin_events(out: &mut impl Write, afterwards: Afterwards) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
         Transfer-Encoding: chunked\r\nConnection: {}\r\n\r\n",
        afterwards.header(),
    )
}

/// Writes one event.
pub fn event(out: &mut impl Write, text: &str) -> io::Result<()> {
    let event = format!("data: {text}\n\n");
    out.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
}

/// Ends an answer in chunks.
pub fn end_events(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"0\r\n\r\n")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(text: &str) -> Incoming<&[u8]> {
        Incoming::new(text.as_bytes())
    }

    #[test]
    fn a_body_in_chunks_is_joined() {
        let mut incoming = incoming(
            "POST /echo?a=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        );
        let first = incoming.request().unwrap();
        assert_eq!((first.body.as_slice(), first.number("a", 0)), (&b"abcde"[..], 1));
        let second = incoming.request().unwrap();
        assert_eq!((second.path.as_str(), second.keep_alive), ("/", false));
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let cut = "POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc";
        assert_eq!(incoming(cut).request().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
