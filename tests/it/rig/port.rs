//! Free ports.

use std::{collections::BTreeSet, net::TcpListener, sync::Mutex};

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a loopback port that nobody listens on and that no other test of
/// this run was given.
pub fn free() -> u16 {
    let mut given = GIVEN.lock().unwrap();
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if given.insert(port) {
            return port;
        }
    }
}
