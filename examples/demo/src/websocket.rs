//! The WebSocket echo.

use std::net::TcpStream;

use tungstenite::{
    Message, WebSocket,
    protocol::{CloseFrame, Role, frame::coding::CloseCode},
};

/// Echoes text and binary messages until the peer leaves or a drain ends the
/// reading side; then says goodbye with a close frame.
pub fn echo(stream: TcpStream, read_ahead: Vec<u8>) {
    let mut socket = WebSocket::from_partially_read(stream, read_ahead, Role::Server, None);
    while let Ok(message) = socket.read() {
        let echoed = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message),
            // tungstenite itself answers pings and closes.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                socket.flush()
            }
        };
        if echoed.is_err() {
            return;
        }
    }
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "drained".into() };
    let _ = socket.close(Some(goodbye));
    let _ = socket.flush();
}
