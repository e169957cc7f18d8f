//! `GET`s over HTTP/2.
//!
//! With the `h2` crate and no more around it, since it tells a request that was
//! not begun from one that was cut, and hides no lost connection.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use h2::{Reason, client::SendRequest};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::{Client, Outcome, Tally, Target, requests::judge_banner};

/// So many requests are in flight at a time.
const LANES: usize = 4;

/// How often a request that was not begun is sent.
const MAX_TRIES: usize = 4;

/// A client that keeps one connection.
pub struct Http2 {
    target: Arc<Target>,
    tally: Arc<Tally>,
    kept: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Bytes>,
    /// Ends with the connection.
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// How a request came to nothing.
enum Broken {
    /// The other side says that it did not begin it, so that it may be sent again
    /// (RFC 9113, section 8.7).
    NotBegun(String),
    Failed(String),
}

impl Http2 {
    pub fn new(target: Arc<Target>, tally: Arc<Tally>) -> Http2 {
        Http2 { target, tally, kept: None }
    }

    /// Returns the kept connection, unless it takes no requests any more.
    async fn kept(&mut self) -> Option<SendRequest<Bytes>> {
        let connection = self.kept.as_ref()?;
        let why = match connection.sender.clone().ready().await {
            Ok(sender) if !connection.driver.is_finished() => return Some(sender),
            Ok(_) => "closed while idle".to_owned(),
            Err(why) => why.to_string(),
        };
        self.tally.dropped(&why);
        self.kept = None;
        None
    }

    /// Connects anew, or counts what came of it.
    async fn connect(&mut self) -> Result<SendRequest<Bytes>, String> {
        let (sender, driver) = match timeout(self.target.patience, connect(&self.target)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(why)) if why.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(format!("no connection: {why}"));
            }
            Ok(Err(why)) => {
                self.tally.dropped(&why.to_string());
                return Err(format!("no connection: {why}"));
            }
            Err(_) => return Err("no connection in time".to_owned()),
        };
        self.kept = Some(Connection { sender: sender.clone(), driver });
        Ok(sender)
    }

    /// Sends so many requests at once; returns how each ended.
    async fn ask(&mut self, requests: usize) -> Vec<Result<Outcome, Broken>> {
        let sender = match self.kept().await {
            Some(sender) => sender,
            None => match self.connect().await {
                Ok(sender) => sender,
                Err(why) => {
                    return (0..requests).map(|_| Err(Broken::Failed(why.clone()))).collect();
                }
            },
        };
        join_all((0..requests).map(|_| self.get(sender.clone()))).await
    }

    async fn get(&self, sender: SendRequest<Bytes>) -> Result<Outcome, Broken> {
        let scheme = if self.target.tls.is_some() { "https" } else { "http" };
        let request = Request::get(format!("{scheme}://{}/", self.target.host));
        let request = request.body(()).expect("the host makes a URI");
        match timeout(self.target.patience, exchange(sender, request)).await {
            Ok(Ok((status, body))) => Ok(judge_banner(status, &body)),
            Ok(Err(why)) => Err(broken(&why)),
            Err(_) => Err(Broken::Failed(format!("silence for {:?}", self.target.patience))),
        }
    }
}

impl Client for Http2 {
    async fn exchange(&mut self) {
        let mut open = LANES;
        for number in 1..=MAX_TRIES {
            let mut not_begun = 0;
            for ended in self.ask(open).await {
                let outcome = match ended {
                    Ok(outcome) => outcome,
                    Err(Broken::NotBegun(_)) if number < MAX_TRIES => {
                        not_begun += 1;
                        continue;
                    }
                    Err(Broken::NotBegun(why) | Broken::Failed(why)) => Outcome::Failed(why),
                };
                self.tally.note(outcome);
            }
            open = not_begun;
            if open == 0 {
                return;
            }
        }
    }

    /// Looks once more at the connection, so that an end in the last pause counts.
    async fn leave(mut self) {
        self.kept().await;
    }
}

type Connected = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

async fn connect(target: &Target) -> io::Result<Connected> {
    match &target.tls {
        Some(tls) => shake_hands(tls.connect(&target.host).await?).await,
        None => {
            let stream = TcpStream::connect(target.plain).await?;
            stream.set_nodelay(true)?;
            shake_hands(stream).await
        }
    }
}

async fn shake_hands<S>(stream: S) -> io::Result<Connected>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = h2::client::Builder::new();
    let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    Ok((sender, tokio::spawn(connection)))
}

async fn exchange(
    mut sender: SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(u16, Vec<u8>), h2::Error> {
    let (response, _) = sender.send_request(request, true)?;
    let response = response.await?;
    let status = response.status().as_u16();
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok((status, body))
}

fn broken(why: &h2::Error) -> Broken {
    let refused = why.is_reset() && why.reason() == Some(Reason::REFUSED_STREAM);
    // Requests that the GOAWAY covers go on and end otherwise.
    let went_away = why.is_go_away() && why.is_remote() && why.reason() == Some(Reason::NO_ERROR);
    if refused || went_away {
        Broken::NotBegun(why.to_string())
    } else {
        Broken::Failed(why.to_string())
    }
}
