//! A registry that does what Debian's does not: tokens, the referrers API, blobs that
//! are elsewhere, and every way to fail. It answers what the test says.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What was asked: `METHOD PATH`, the header that says who asks, and the body.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub authorization: Option<String>,
    pub body: String,
}

/// Status, headers (each with a line break), body.
pub type Answer = (u16, String, Vec<u8>);

pub struct Fake {
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Starts one that gets its own `HOST:PORT`; it ends with the process.
    pub fn start(answer: impl Fn(&str, &Asked) -> Answer + Send + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let host = listener.local_addr().expect("it has an address").to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, own) = (Arc::clone(&asked), host.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // One that begins a TLS handshake is no question.
                let Some(question) = read(&connection) else { continue };
                seen.lock().expect("no test panics in it").push(question.clone());
                let (status, headers, body) = answer(&own, &question);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
                    body.len()
                );
                // Whoever asked may be gone.
                let _ = (&connection).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Fake { host, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics in it").clone()
    }
}

fn read(connection: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(connection);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    let (line, _) = line.trim_end().rsplit_once(" HTTP/1.1")?;
    let (mut authorization, mut length) = (None, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Asked { line: line.to_owned(), authorization, body })
}
