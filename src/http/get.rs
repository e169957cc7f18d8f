//! One GET, with TLS and the environment's proxy.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use url::Url;

use crate::domain::Secret;

use super::{
    ask::{Body, NoAnswer, Question, Wants, ask},
    connect::{Connector, Route},
};

/// Asks whom a URL names, once. Returns the status and at most a MiB of the body.
///
/// # Errors
///
/// Fails, in words for people that hold no secret, if there is no answer within
/// `timeout`, or one that is longer.
pub async fn get(
    url: &str,
    headers: &BTreeMap<String, Secret>,
    timeout: Duration,
) -> Result<(u16, Vec<u8>), String> {
    let url = Url::parse(url).map_err(|error| format!("this is not a URL: {error}"))?;
    let route = Route::ByEnvironment;
    let question = Question { url, headers, route, wants: Wants::Body, host: None, post: None };
    let answer = ask(&Connector::by_environment(), &question, Instant::now() + timeout).await;
    let answer = answer.map_err(|error| match error {
        NoAnswer::Unreached(why) | NoAnswer::Broken(why) => why,
    })?;
    match answer.body {
        Body::Read(bytes) => Ok((answer.status, bytes)),
        Body::TooLong => Err("the answer is too long".to_owned()),
    }
}
