//! The stack's hold, across processes.

use std::io::{BufRead, BufReader};

use quaymaster::{domain::StackName, lock::StackLock};

use crate::child;

fn stack() -> StackName {
    "shop".parse().expect("a plain name")
}

/// Holds a stack until killed.
#[tokio::test]
#[ignore = "the child of a_dead_holder_holds_nothing"]
async fn holder() {
    let Some(endpoint) = child::argument() else { return };
    let _held = StackLock::take(&endpoint, &stack()).expect("free");
    println!("held");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_dead_holder_holds_nothing() {
    let endpoint = format!("tcp://dead-holder-{}", std::process::id());
    let mut holder = child::running("lock::holder", &endpoint).spawn().expect("it runs");
    let output = BufReader::new(holder.stdout.take().expect("piped"));
    assert!(output.lines().any(|line| line.expect("text").ends_with("held")), "it never held");
    let refused = StackLock::take(&endpoint, &stack()).expect_err("held").to_string();
    let expected = format!("stack shop is held by process {} (it-", holder.id());
    assert!(refused.starts_with(&expected), "{refused}");
    holder.kill().expect("it lives");
    holder.wait().expect("it was ours");
    StackLock::take(&endpoint, &stack()).expect("the kernel freed it");
}
