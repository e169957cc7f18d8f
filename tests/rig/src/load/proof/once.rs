//! Fresh connections, and uploads.

use super::{
    BANNER, Seen, answer, nobody, seen,
    server::{
        Act::{Await, Hang, Reset, Say},
        REQUEST, server,
    },
};
use crate::load::{Fresh, Upload, upload::chunks};

/// The end of a body in chunks.
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";

#[tokio::test]
async fn right_answers_leave_no_mark() {
    let one = vec![REQUEST, Say(answer(200, BANNER))];
    let at = server(vec![one.clone(), one]).await;
    let expected = Seen { sent: 2, ..Seen::default() };
    assert_eq!(seen(at, Fresh::new, 2).await, expected);
}

#[tokio::test]
async fn a_fresh_connection_that_ends_unanswered_is_dropped_and_a_failure() {
    for end in [vec![REQUEST], vec![REQUEST, Reset], vec![Reset]] {
        // A second one would be answered: nothing is to be asked again.
        let at = server(vec![end, vec![REQUEST, Say(answer(200, BANNER))]]).await;
        let expected = Seen { sent: 1, failed: 1, dropped: 1, ..Seen::default() };
        assert_eq!(seen(at, Fresh::new, 1).await, expected);
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_failure() {
    let at = server(vec![vec![REQUEST, Say("220 smtp.test ESMTP\r\n\r\n".to_owned()), Hang]]).await;
    let expected = Seen { sent: 1, failed: 1, ..Seen::default() };
    assert_eq!(seen(at, Fresh::new, 1).await, expected);
}

#[tokio::test]
async fn a_slow_request_that_is_cut_is_a_failure() {
    let at = server(vec![vec![REQUEST]]).await;
    let expected = Seen { sent: 1, failed: 1, dropped: 1, ..Seen::default() };
    assert_eq!(seen(at, Fresh::slow, 1).await, expected);
}

#[tokio::test]
async fn an_upload_that_is_echoed_leaves_no_mark() {
    let body: Vec<u8> = chunks(1).flatten().collect();
    let echo = Say(answer(200, str::from_utf8(&body).unwrap()));
    let at = server(vec![vec![REQUEST, Await(LAST_CHUNK), echo]]).await;
    assert_eq!(seen(at, Upload::new, 1).await, Seen { sent: 1, ..Seen::default() });
}

#[tokio::test]
async fn an_upload_that_is_echoed_in_part_is_a_failure() {
    let at = server(vec![vec![REQUEST, Await(LAST_CHUNK), Say(answer(200, "upload 1"))]]).await;
    let expected = Seen { sent: 1, failed: 1, ..Seen::default() };
    assert_eq!(seen(at, Upload::new, 1).await, expected);
}

#[tokio::test]
async fn an_upload_whose_connection_ends_in_the_middle_is_a_failure_and_not_repeated() {
    for end in [vec![], vec![Reset]] {
        let first = [vec![REQUEST, Await("chunk 3")], end].concat();
        let at = server(vec![first, vec![Hang]]).await;
        let expected = Seen { sent: 1, failed: 1, dropped: 1, ..Seen::default() };
        assert_eq!(seen(at, Upload::new, 1).await, expected);
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_is_a_failure() {
    let refused = vec![REQUEST, Say(answer(503, "")), Await(LAST_CHUNK)];
    let expected = Seen { sent: 1, failed: 1, ..Seen::default() };
    assert_eq!(seen(server(vec![refused]).await, Upload::new, 1).await, expected);
    assert_eq!(seen(nobody().await, Upload::new, 1).await, expected);
}
