//! HTTP/1.1 on a kept connection.

use super::{
    BANNER, Seen, answer, nobody, seen,
    server::{
        Act::{Hang, Reset, Say},
        REQUEST, server,
    },
};
use crate::load::KeepAlive;

fn right() -> super::server::Act {
    Say(answer(200, BANNER))
}

#[tokio::test]
async fn right_answers_leave_no_mark() {
    let at = server(vec![vec![REQUEST, right(), REQUEST, right(), REQUEST, right(), Hang]]).await;
    let expected = Seen { sent: 3, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 3).await, expected);
}

#[tokio::test]
async fn another_status_is_a_failure_of_the_request_alone() {
    let bad = Say(answer(502, ""));
    let at = server(vec![vec![REQUEST, bad, REQUEST, right(), Hang]]).await;
    let expected = Seen { sent: 2, failed: 1, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 2).await, expected);
}

#[tokio::test]
async fn a_200_with_another_body_is_a_failure() {
    let at = server(vec![vec![REQUEST, Say(answer(200, "oh no")), Hang]]).await;
    let expected = Seen { sent: 1, failed: 1, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 1).await, expected);
}

#[tokio::test]
async fn half_a_body_is_a_failure_and_a_dropped_connection() {
    let mut half = answer(200, BANNER);
    half.truncate(half.len() - 5);
    let at = server(vec![vec![REQUEST, Say(half)]]).await;
    let expected = Seen { sent: 1, failed: 1, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 1).await, expected);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_dropped_and_fails_nothing() {
    let at = server(vec![vec![REQUEST, right()], vec![REQUEST, right(), Hang]]).await;
    let expected = Seen { sent: 2, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 2).await, expected);
}

#[tokio::test]
async fn a_used_connection_that_ends_unanswered_is_dropped_and_asked_again() {
    for end in [vec![], vec![Reset]] {
        let first = [vec![REQUEST, right(), REQUEST], end].concat();
        let at = server(vec![first, vec![REQUEST, right(), Hang]]).await;
        let expected = Seen { sent: 2, dropped: 1, ..Seen::default() };
        assert_eq!(seen(at, KeepAlive::new, 2).await, expected);
    }
}

#[tokio::test]
async fn nothing_is_asked_thrice() {
    let at = server(vec![vec![REQUEST, right(), REQUEST], vec![REQUEST]]).await;
    let expected = Seen { sent: 2, failed: 1, dropped: 2, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 2).await, expected);
}

#[tokio::test]
async fn an_answer_that_closes_the_connection_drops_it() {
    let closing = answer(200, BANNER).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let at = server(vec![vec![REQUEST, Say(closing)], vec![REQUEST, right(), Hang]]).await;
    let expected = Seen { sent: 2, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 2).await, expected);
}

#[tokio::test]
async fn silence_is_a_failure() {
    let at = server(vec![vec![REQUEST, Hang]]).await;
    let expected = Seen { sent: 1, failed: 1, ..Seen::default() };
    assert_eq!(seen(at, KeepAlive::new, 1).await, expected);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_never_was_a_connection() {
    let expected = Seen { sent: 1, failed: 1, ..Seen::default() };
    assert_eq!(seen(nobody().await, KeepAlive::new, 1).await, expected);
}
