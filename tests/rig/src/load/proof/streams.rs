//! Server-sent events.

use super::{
    Seen, answer, seen,
    server::{
        Act::{Hang, Say},
        REQUEST, server,
    },
};
use crate::load::Events;

/// A stream of these events in chunks, without its end.
fn events(numbers: impl Iterator<Item = usize>) -> String {
    let mut stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for number in numbers {
        let event = format!("data: {number} v1 blue\n\n");
        stream.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    stream
}

const END: &str = "0\r\n\r\n";

#[tokio::test]
async fn a_whole_stream_leaves_no_mark() {
    let at = server(vec![vec![REQUEST, Say(events(1..=20) + END)]]).await;
    assert_eq!(seen(at, Events::new, 1).await, Seen { sent: 1, ..Seen::default() });
}

#[tokio::test]
async fn a_stream_that_ends_early_is_cut() {
    // The second has all events, and only its end is missing.
    for numbers in [1..=7, 1..=20] {
        let at = server(vec![vec![REQUEST, Say(events(numbers))]]).await;
        let expected = Seen { sent: 1, cut: 1, dropped: 1, ..Seen::default() };
        assert_eq!(seen(at, Events::new, 1).await, expected);
    }
}

#[tokio::test]
async fn a_stream_that_lost_an_event_is_cut() {
    let lost = events((1..=20).filter(|number| *number != 12)) + END;
    let at = server(vec![vec![REQUEST, Say(lost)]]).await;
    assert_eq!(seen(at, Events::new, 1).await, Seen { sent: 1, cut: 1, ..Seen::default() });
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let at = server(vec![vec![REQUEST, Say(events(1..=3)), Hang]]).await;
    assert_eq!(seen(at, Events::new, 1).await, Seen { sent: 1, cut: 1, ..Seen::default() });
}

#[tokio::test]
async fn a_stream_that_never_opens_is_a_failure() {
    let at = server(vec![vec![REQUEST, Say(answer(503, ""))], vec![REQUEST]]).await;
    let expected = Seen { sent: 2, failed: 2, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, Events::new, 2).await, expected);
}
