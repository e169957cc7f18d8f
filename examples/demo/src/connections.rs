//! The open connections, so that a drain can tell the idle from the busy.

use std::{
    collections::HashMap,
    net::{Shutdown, TcpStream},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Every open connection, and whether a request is in flight on it.
#[derive(Default)]
pub struct Connections {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Open>,
    next: u64,
    draining: bool,
}

struct Open {
    stream: TcpStream,
    activity: Activity,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Idle,
    /// A request is in flight: a drain lets it finish.
    InFlight,
    /// A WebSocket: it looks for a drain by itself, and says goodbye.
    Socket,
}

/// A place in the list; dropping it takes the connection off.
pub struct Ticket<'a> {
    connections: &'a Connections,
    id: u64,
}

impl Connections {
    /// Takes up a connection. None once the drain has begun.
    pub fn enter(&self, stream: &TcpStream) -> Option<Ticket<'_>> {
        let stream = stream.try_clone().ok()?;
        let mut state = self.lock();
        if state.draining {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, Open { stream, activity: Activity::Idle });
        Some(Ticket { connections: self, id })
    }

    pub fn draining(&self) -> bool {
        self.lock().draining
    }

    #[cfg(test)]
    pub fn any_in_flight(&self) -> bool {
        self.lock().open.values().any(|open| open.activity == Activity::InFlight)
    }

    /// Closes what is idle, waits for what is in flight for at most `limit`,
    /// and returns how many were left.
    pub fn drain(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        state.draining = true;
        for open in state.open.values() {
            if open.activity == Activity::Idle {
                // Wakes the thread that reads it: it sees the end and leaves.
                let _ = open.stream.shutdown(Shutdown::Read);
            }
        }
        while !state.open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.open.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, id: u64, activity: Activity) {
        let mut state = self.lock();
        let draining = state.draining;
        let Some(open) = state.open.get_mut(&id) else { return };
        open.activity = activity;
        if draining && activity == Activity::Idle {
            let _ = open.stream.shutdown(Shutdown::Read);
        }
    }
}

impl Ticket<'_> {
    pub fn idle(&self) {
        self.connections.set(self.id, Activity::Idle);
    }

    pub fn in_flight(&self) {
        self.connections.set(self.id, Activity::InFlight);
    }

    pub fn socket(&self) {
        self.connections.set(self.id, Activity::Socket);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.id);
        self.connections.changed.notify_all();
    }
}
