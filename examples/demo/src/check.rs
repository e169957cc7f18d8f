//! The health client, for exec probes in an image that holds nothing else.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use crate::behaviour::Behaviour;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Exits with 0 if the server in the same container answers 200 at `path`
/// (`/health`), else with 1 and one line that says why.
pub fn check(behaviour: &Behaviour, path: Option<&String>) -> ExitCode {
    let path = path.map_or("/health", String::as_str);
    match status(SocketAddr::from(([127, 0, 0, 1], behaviour.port)), path) {
        Ok(200) => ExitCode::SUCCESS,
        Ok(status) => {
            println!("{path} answered {status}");
            ExitCode::FAILURE
        }
        Err(why) => {
            println!("{path}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn status(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut slots = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut slots);
    head.parse(&answer).map_err(io::Error::other)?;
    head.code.ok_or_else(|| io::Error::other("no status"))
}
