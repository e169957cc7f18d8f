//! A server that does to each connection what it was told.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// One thing that befalls a connection. After the last it is closed.
#[derive(Clone, Debug)]
pub enum Act {
    /// Reads until these bytes have come, and forgets them.
    Await(&'static str),
    /// Sends these bytes.
    Say(String),
    /// Does nothing until the client goes.
    Hang,
    /// Closes with a reset.
    Reset,
}

/// Reads a request without a body.
pub const REQUEST: Act = Act::Await("\r\n\r\n");

/// Starts a server whose first connection meets the first list, and so on. After
/// the last one nobody listens.
pub async fn server(connections: Vec<Vec<Act>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for acts in connections {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(befall(stream, acts));
        }
    });
    address
}

async fn befall(mut stream: TcpStream, acts: Vec<Act>) {
    let mut seen = Vec::new();
    for act in acts {
        match act {
            Act::Await(bytes) => loop {
                let found = seen.windows(bytes.len()).position(|w| w == bytes.as_bytes());
                if let Some(at) = found {
                    seen.drain(..at + bytes.len());
                    break;
                }
                // The client left: a test then sees it by what was counted.
                let Ok(1..) = stream.read_buf(&mut seen).await else { return };
            },
            Act::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::Hang => while let Ok(1..) = stream.read_buf(&mut seen).await {},
            Act::Reset => stream.set_zero_linger().unwrap(),
        }
    }
    // All that was sent is read by now, so that closing is no reset.
    let _ = tokio::time::timeout(Duration::ZERO, stream.read_buf(&mut seen)).await;
}
