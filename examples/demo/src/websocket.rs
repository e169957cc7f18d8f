//! The WebSocket echo.

use std::{io, net::TcpStream, time::Duration};

use tungstenite::{
    Error, Message, WebSocket,
    protocol::{CloseFrame, Role, frame::coding::CloseCode},
};

use crate::connections::Connections;

/// How soon a silent WebSocket notices a drain.
const GLANCE: Duration = Duration::from_millis(50);

/// Echoes text and binary messages until the peer leaves or a drain begins;
/// then says goodbye with a close frame.
pub fn echo(stream: TcpStream, read_ahead: Vec<u8>, connections: &Connections) {
    // A reading side that was shut down would take the goodbye with it.
    if stream.set_read_timeout(Some(GLANCE)).is_err() {
        return;
    }
    let mut socket = WebSocket::from_partially_read(stream, read_ahead, Role::Server, None);
    while !connections.draining() {
        let echoed = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message),
            // tungstenite itself answers pings and closes.
            Ok(_) => socket.flush(),
            Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => return,
        };
        if echoed.is_err() {
            return;
        }
    }
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "drained".into() };
    let _ = socket.close(Some(goodbye));
    let _ = socket.flush();
}
