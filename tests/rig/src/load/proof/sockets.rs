//! WebSockets.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::{
    accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    Seen, answer, nobody, seen,
    server::{Act::Reset, Act::Say, REQUEST, server},
};
use crate::load::Socket;

/// What befalls a WebSocket after its first echo.
#[derive(Clone, Copy)]
enum Fate {
    Echoes,
    /// The connection is closed.
    Lost,
    /// A close frame comes that says this.
    Closed(&'static str),
    /// Something else than the echo comes.
    Garbled,
    Silent,
}

async fn echoing(fate: Fate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let mut echoed = 0;
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_text() {
                continue;
            }
            let fate = if echoed == 0 { Fate::Echoes } else { fate };
            echoed += 1;
            match fate {
                Fate::Echoes => socket.send(message).await.unwrap(),
                Fate::Lost => return,
                Fate::Closed(words) => {
                    let frame = CloseFrame { code: CloseCode::Away, reason: words.into() };
                    socket.close(Some(frame)).await.unwrap();
                }
                Fate::Garbled => socket.send(Message::text("what?")).await.unwrap(),
                Fate::Silent => {}
            }
        }
    });
    address
}

#[tokio::test]
async fn echoes_leave_no_mark() {
    let at = echoing(Fate::Echoes).await;
    assert_eq!(seen(at, Socket::new, 3).await, Seen { sent: 1, ..Seen::default() });
}

#[tokio::test]
async fn a_websocket_that_ends_without_a_goodbye_is_cut() {
    for fate in [Fate::Lost, Fate::Closed("")] {
        let expected = Seen { sent: 1, cut: 1, dropped: 1, ..Seen::default() };
        assert_eq!(seen(echoing(fate).await, Socket::new, 2).await, expected);
    }
}

#[tokio::test]
async fn a_websocket_that_the_app_ends_is_no_cut() {
    let expected = Seen { sent: 1, goodbyes: 1, ..Seen::default() };
    assert_eq!(seen(echoing(Fate::Closed("drained")).await, Socket::new, 2).await, expected);
}

#[tokio::test]
async fn a_websocket_that_loses_a_message_is_cut() {
    for fate in [Fate::Garbled, Fate::Silent] {
        let expected = Seen { sent: 1, cut: 1, ..Seen::default() };
        assert_eq!(seen(echoing(fate).await, Socket::new, 2).await, expected);
    }
}

#[tokio::test]
async fn an_end_that_comes_after_the_last_exchange_is_still_seen() {
    let expected = Seen { sent: 1, cut: 1, dropped: 1, ..Seen::default() };
    assert_eq!(seen(echoing(Fate::Lost).await, Socket::new, 1).await, expected);
}

#[tokio::test]
async fn a_websocket_that_never_opens_is_a_failure() {
    let refused = Seen { sent: 1, failed: 1, ..Seen::default() };
    let at = server(vec![vec![REQUEST, Say(answer(502, ""))]]).await;
    assert_eq!(seen(at, Socket::new, 1).await, refused);
    assert_eq!(seen(nobody().await, Socket::new, 1).await, refused);
    for end in [vec![REQUEST], vec![REQUEST, Reset]] {
        let dropped = Seen { dropped: 1, ..refused };
        assert_eq!(seen(server(vec![end]).await, Socket::new, 1).await, dropped);
    }
}
