//! Somebody who is told: an HTTP server that keeps exactly what it gets, and answers as
//! it is told to.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

/// Listens until the process ends.
pub struct Mailbox {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    got: Vec<Mail>,
    /// What is answered next; a 200 once they are used up.
    answers: VecDeque<Reply>,
}

/// One request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub method: String,
    pub path: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// What it was answered.
    pub reply: Reply,
}

impl Mail {
    /// Returns the body read as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// With a status, and everything that was sent as the body.
    Echo(u16),
    /// With 429, and so many seconds to stay away.
    TooMany(u32),
    /// With a redirect to here.
    Elsewhere(String),
    /// Not, until the other side gives up.
    Never,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox::open()
    }
}

impl Mailbox {
    /// Begins to listen on a port of loopback.
    pub fn open() -> Mailbox {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // Whoever hangs up early has no answer coming.
                thread::spawn(move || drop(answer(stream, &state)));
            }
        });
        Mailbox { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Says how the next requests are answered.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.state).answers = replies.into_iter().collect();
    }

    /// Returns everything that came, in its order.
    pub fn got(&self) -> Vec<Mail> {
        lock(&self.state).got.clone()
    }

    /// Returns everything that came and was taken.
    pub fn taken(&self) -> Vec<Mail> {
        let mut got = self.got();
        got.retain(|mail| mail.reply == Reply::Echo(200));
        got
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_ascii_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let reply = {
        let mut state = lock(state);
        let reply = state.answers.pop_front().unwrap_or(Reply::Echo(200));
        let mail = Mail { method, path: path.clone(), headers, body, reply: reply.clone() };
        state.got.push(mail.clone());
        (reply, mail)
    };
    match reply {
        (Reply::Echo(status), mail) => {
            let said = format!("{path} {:?} {}", mail.headers, mail.body);
            let length = said.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}"
            )
        }
        (Reply::TooMany(seconds), _) => write!(
            stream,
            "HTTP/1.1 429 X\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        ),
        (Reply::Elsewhere(url), _) => write!(
            stream,
            "HTTP/1.1 307 X\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        (Reply::Never, _) => {
            stream.set_read_timeout(Some(Duration::from_secs(600)))?;
            let _ = stream.read(&mut [0]);
            Ok(())
        }
    }
}
