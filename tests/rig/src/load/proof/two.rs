//! HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::Response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{BANNER, Seen, nobody, seen};
use crate::load::Http2;

/// A client sends so many requests in one exchange.
const LANES: u64 = 4;

/// How a server answers the requests of one connection.
#[derive(Clone, Copy)]
enum Manner {
    Right,
    /// The first so, the others right.
    FirstHas(u16),
    /// The first is reset so, the others right.
    ResetsFirst(Reason),
    /// The first exchange right; then it announces its end.
    GoesAwayAfterOne,
    /// Takes them and ends the connection.
    Dies,
    Silent,
}

/// Starts a server whose first connection meets the first manner, and so on.
async fn server(manners: Vec<Manner>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for manner in manners {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, manner));
        }
    });
    address
}

async fn serve(stream: TcpStream, manner: Manner) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (mut number, mut unanswered) = (0, Vec::new());
    while let Some(Ok((_, respond))) = connection.accept().await {
        number += 1;
        match manner {
            Manner::Right => answer(respond, 200),
            Manner::FirstHas(status) => answer(respond, if number == 1 { status } else { 200 }),
            Manner::ResetsFirst(reason) => reset_or_answer(respond, reason, number),
            Manner::GoesAwayAfterOne => {
                answer(respond, 200);
                if number == LANES {
                    connection.graceful_shutdown();
                }
            }
            Manner::Dies if number == LANES => return,
            Manner::Dies | Manner::Silent => unanswered.push(respond),
        }
    }
}

fn answer(mut respond: SendResponse<Bytes>, status: u16) {
    let head = Response::builder().status(status).body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    body.send_data(Bytes::from_static(BANNER.as_bytes()), true).unwrap();
}

fn reset_or_answer(mut respond: SendResponse<Bytes>, reason: Reason, number: u64) {
    match number {
        1 => respond.send_reset(reason),
        _ => answer(respond, 200),
    }
}

#[tokio::test]
async fn right_answers_on_one_connection_leave_no_mark() {
    let at = server(vec![Manner::Right]).await;
    assert_eq!(seen(at, Http2::new, 3).await, Seen { sent: 3 * LANES, ..Seen::default() });
}

#[tokio::test]
async fn another_status_and_a_reset_are_failures_of_the_request_alone() {
    for manner in [Manner::FirstHas(502), Manner::ResetsFirst(Reason::INTERNAL_ERROR)] {
        let at = server(vec![manner]).await;
        let expected = Seen { sent: LANES, failed: 1, ..Seen::default() };
        assert_eq!(seen(at, Http2::new, 1).await, expected);
    }
}

#[tokio::test]
async fn a_refused_request_is_sent_again() {
    let at = server(vec![Manner::ResetsFirst(Reason::REFUSED_STREAM)]).await;
    assert_eq!(seen(at, Http2::new, 1).await, Seen { sent: LANES, ..Seen::default() });
}

#[tokio::test]
async fn a_connection_that_announces_its_end_is_dropped_and_fails_nothing() {
    let at = server(vec![Manner::GoesAwayAfterOne, Manner::Right]).await;
    let expected = Seen { sent: 2 * LANES, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, Http2::new, 2).await, expected);
}

#[tokio::test]
async fn a_connection_that_dies_with_requests_in_flight_fails_them_all() {
    let at = server(vec![Manner::Dies, Manner::Right]).await;
    let expected = Seen { sent: 2 * LANES, failed: LANES, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, Http2::new, 2).await, expected);
}

#[tokio::test]
async fn silence_is_a_failure() {
    let at = server(vec![Manner::Silent]).await;
    let expected = Seen { sent: LANES, failed: LANES, ..Seen::default() };
    assert_eq!(seen(at, Http2::new, 1).await, expected);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_never_was_a_connection() {
    let expected = Seen { sent: LANES, failed: LANES, ..Seen::default() };
    assert_eq!(seen(nobody().await, Http2::new, 1).await, expected);
}

/// Takes an exchange's requests, says that it has begun those up to `last`, and
/// ends the connection; a second connection is answered right.
async fn going_away(last: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // RFC 9113, section 3.4: the client's preface, and an empty SETTINGS of ours.
        stream.read_exact(&mut [0; 24]).await.unwrap();
        stream.write_all(&frame(4, &[])).await.unwrap();
        let mut requests = 0;
        while requests < LANES {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
            requests += u64::from(head[3] == 1);
        }
        // Section 6.8: the last stream, and NO_ERROR.
        let payload = [last.to_be_bytes(), [0; 4]].concat();
        stream.write_all(&frame(7, &payload)).await.unwrap();
        stream.shutdown().await.unwrap();
        // Closed with something unread, it would be reset, and the GOAWAY lost.
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
        serve(listener.accept().await.unwrap().0, Manner::Right).await;
    });
    address
}

/// A frame of the connection as a whole, without flags.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn requests_that_were_not_begun_are_sent_again() {
    let expected = Seen { sent: LANES, dropped: 1, ..Seen::default() };
    assert_eq!(seen(going_away(0).await, Http2::new, 1).await, expected);
}

#[tokio::test]
async fn requests_that_were_begun_and_not_answered_are_failures() {
    // The streams of a client are odd: 1, 3, 5 and 7, of which two were begun.
    let expected = Seen { sent: LANES, failed: 2, dropped: 1, ..Seen::default() };
    assert_eq!(seen(going_away(3).await, Http2::new, 1).await, expected);
}
