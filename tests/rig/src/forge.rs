//! A Git server over HTTP: git's own `http-backend` behind a login.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use crate::{repo::git, run};

/// Serves every repository below one folder until the process ends.
pub struct Forge {
    port: u16,
    refused: Arc<AtomicU32>,
}

impl Forge {
    /// Lets whoever sends `authorization`, a whole header value, read what is in `folder`.
    pub fn serve(folder: &Path, authorization: &str) -> Forge {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let refused = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&refused);
        let (folder, wanted) = (folder.to_owned(), authorization.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, wanted) = (folder.clone(), wanted.clone());
                let refused = Arc::clone(&counts);
                // Whoever hangs up early has no answer coming.
                thread::spawn(move || drop(answer(stream, &folder, &wanted, &refused)));
            }
        });
        Forge { port, refused }
    }

    /// Returns where it answers: `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns how many requests came without the right login.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn answer(
    mut stream: TcpStream,
    folder: &Path,
    wanted: &str,
    refused: &AtomicU32,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| {
        headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    };
    if header("authorization") != wanted {
        refused.fetch_add(1, Ordering::Relaxed);
        return stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n\
              Content-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    if header("expect") == "100-continue" {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    match header("transfer-encoding") {
        "chunked" => read_chunks(&mut reader, &mut body)?,
        _ => {
            let length = header("content-length").parse().unwrap_or(0);
            reader.take(length).read_to_end(&mut body)?;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = Command::new(http_backend())
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = backend.stdin.take().expect("piped");
    let feeding = thread::spawn(move || input.write_all(&body));
    let output = backend.wait_with_output()?.stdout;
    let _ = feeding.join();
    let text = String::from_utf8_lossy(&output);
    let status = text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    stream.write_all(&output)
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        reader.by_ref().take(size).read_to_end(body)?;
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn http_backend() -> PathBuf {
    PathBuf::from(run(git().arg("--exec-path")).trim_end()).join("git-http-backend")
}
