//! WebSockets.

use std::{io, sync::Arc};

use futures::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message},
};

use super::{Client, Outcome, Tally, Target};

/// What the app's close frame says when its replica is stopped.
const GOODBYE: &str = "drained";

/// A client that keeps one WebSocket, and asks it for an echo now and then.
pub struct Socket {
    target: Arc<Target>,
    tally: Arc<Tally>,
    open: Option<WebSocketStream<TcpStream>>,
    number: u64,
}

/// How a WebSocket ended.
enum Ended {
    Goodbye,
    /// The other side ended it.
    Dropped(String),
    /// It is there, but no use.
    Useless(String),
}

impl Socket {
    pub fn new(target: Arc<Target>, tally: Arc<Tally>) -> Socket {
        Socket { target, tally, open: None, number: 0 }
    }

    /// Opens a WebSocket, or counts why there is none.
    async fn connect(&self) -> Option<WebSocketStream<TcpStream>> {
        let url = format!("ws://{}/ws", self.target.host);
        let opening = async {
            let stream = TcpStream::connect(self.target.plain).await?;
            client_async(url, stream).await
        };
        let why = match timeout(self.target.patience, opening).await {
            Ok(Ok((socket, _))) => return Some(socket),
            Ok(Err(Error::Http(answer))) => format!("status {}", answer.status().as_u16()),
            Ok(Err(Error::Io(why))) if why.kind() == io::ErrorKind::ConnectionRefused => {
                why.to_string()
            }
            Ok(Err(why)) => {
                self.tally.dropped(&why.to_string());
                why.to_string()
            }
            Err(_) => "no WebSocket in time".to_owned(),
        };
        self.tally.note(Outcome::Failed(why));
        None
    }

    async fn echo(&mut self, socket: &mut WebSocketStream<TcpStream>) -> Result<(), Ended> {
        self.number += 1;
        let text = Message::text(format!("message {}", self.number));
        // What is wrong with a connection that takes nothing, reading tells.
        let _ = socket.send(text.clone()).await;
        match socket.next().await {
            Some(Ok(echo)) if echo == text => Ok(()),
            Some(Ok(Message::Close(Some(frame)))) if frame.reason.as_str() == GOODBYE => {
                Err(Ended::Goodbye)
            }
            Some(Ok(Message::Close(frame))) => {
                Err(Ended::Dropped(format!("a close frame without a goodbye: {frame:?}")))
            }
            Some(Ok(other)) => Err(Ended::Useless(format!("{other:?} for {text:?}"))),
            Some(Err(why)) => Err(Ended::Dropped(why.to_string())),
            None => Err(Ended::Dropped("the connection was closed".to_owned())),
        }
    }
}

impl Client for Socket {
    async fn exchange(&mut self) {
        let patience = self.target.patience;
        let mut socket = match self.open.take() {
            Some(socket) => socket,
            None => match self.connect().await {
                Some(socket) => socket,
                None => return,
            },
        };
        let echoed = timeout(patience, self.echo(&mut socket)).await;
        let ended = match echoed {
            Ok(Ok(())) => {
                self.open = Some(socket);
                return;
            }
            Ok(Err(ended)) => ended,
            Err(_) => Ended::Useless(format!("silence for {patience:?}")),
        };
        self.tally.note(match ended {
            Ended::Goodbye => Outcome::Goodbye,
            Ended::Dropped(why) => {
                self.tally.dropped(&why);
                Outcome::Cut(why)
            }
            Ended::Useless(why) => Outcome::Cut(why),
        });
    }

    /// One last echo, so that a WebSocket that ended unnoticed is noticed.
    async fn leave(mut self) {
        if self.open.is_none() {
            return;
        }
        self.exchange().await;
        if let Some(mut socket) = self.open.take() {
            // Whether the other side says goodbye too does not matter any more.
            let _ = timeout(self.target.patience, socket.close(None)).await;
            self.tally.note(Outcome::Right);
        }
    }
}
