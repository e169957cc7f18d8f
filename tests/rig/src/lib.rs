//! What tests and benches stand on: a [`host::Host`] with its own stack, images,
//! Caddy and controller, and clients that count.
//!
//! A crate of its own, so that the tests and `benches/flips` share it. It knows
//! nothing of the code under test: it drives the built binary, Docker and Caddy
//! from the outside.
//!
//! Everything carries a name of its own and is removed by that name, so tests
//! run side by side and next to anything else on the machine. Waiting is always
//! a bounded poll of something observable.

pub mod client;
pub mod daemon;
pub mod docker;
pub mod edge;
pub mod forge;
pub mod host;
pub mod load;
pub mod mailbox;
pub mod repo;
pub mod status;

use std::{
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up. Far more than any of it
/// needs on two busy cores: it bounds a hang and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(10);

/// Polls until `look` finds something; None when patience is over.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Returns a name that no other test, process or earlier run has.
pub fn unique_name(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let started = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_millis()
        % 100_000_000;
    format!("{prefix}-{}-{started}-{count}", std::process::id())
}

/// Returns a loopback port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Runs a command to its end and returns its standard output; panics with its
/// standard error if it fails.
pub fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|why| panic!("{:?}: {why}", command.get_program()));
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
