//! What wakes the loop.
//!
//! A wake carries no data: what changed is observed, never believed. Wakes that
//! come while a pass runs are therefore one wake, however many they are.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::sync::Notify;

/// Who woke the loop: for the log, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The controller has just started.
    Start,
    /// The desired-state file or an env file changed.
    File,
    /// The branch that the file is on moved, or could not be followed.
    Git,
    /// Docker told of something.
    Engine,
    /// The proxy came, went, or got another configuration.
    Proxy,
    /// A probe changed its mind.
    Probe,
    /// A gate was measured.
    Gate,
    /// Somebody was told something.
    Told,
    /// SIGHUP.
    Signal,
    /// An operator asked for something.
    Request,
    /// Nothing did for a while.
    Tick,
    /// The time came that the last plan waited for.
    Due,
    /// A step ended.
    Step,
}

impl Wake {
    const ALL: [Wake; 13] = [
        Wake::Start,
        Wake::File,
        Wake::Git,
        Wake::Engine,
        Wake::Proxy,
        Wake::Probe,
        Wake::Gate,
        Wake::Told,
        Wake::Signal,
        Wake::Request,
        Wake::Tick,
        Wake::Due,
        Wake::Step,
    ];
}

impl fmt::Display for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wake::Start => "start",
            Wake::File => "file",
            Wake::Git => "git",
            Wake::Engine => "docker",
            Wake::Proxy => "caddy",
            Wake::Probe => "probe",
            Wake::Gate => "gate",
            Wake::Told => "told",
            Wake::Signal => "signal",
            Wake::Request => "request",
            Wake::Tick => "tick",
            Wake::Due => "due",
            Wake::Step => "step",
        })
    }
}

/// Returns the two ends: any number of wakers, and the one loop that waits.
pub fn wakes() -> (Waker, Wakes) {
    let shared = Arc::new(Shared { pending: AtomicU16::new(0), notify: Notify::new() });
    (Waker(Arc::clone(&shared)), Wakes(shared))
}

/// Wakes the loop; cheap to clone and to call from anywhere.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

/// Waits for wakes.
#[derive(Debug)]
pub struct Wakes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// One bit a [`Wake`], so that nothing queues up.
    pending: AtomicU16,
    notify: Notify,
}

impl Waker {
    pub fn wake(&self, by: Wake) {
        self.0.pending.fetch_or(1 << by as u16, Ordering::Release);
        self.0.notify.notify_one();
    }
}

impl Wakes {
    /// Returns who woke the loop since the last call, waiting if nobody did.
    /// Of several the first in the order of [`Wake`] is named.
    pub async fn next(&mut self) -> Wake {
        loop {
            let pending = self.0.pending.swap(0, Ordering::Acquire);
            if let Some(by) = Wake::ALL.into_iter().find(|by| pending & (1 << *by as u16) != 0) {
                return by;
            }
            self.0.notify.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_wakes_are_one() {
        let (waker, mut wakes) = wakes();
        waker.wake(Wake::Engine);
        waker.clone().wake(Wake::File);
        waker.wake(Wake::Engine);
        assert_eq!(wakes.next().await, Wake::File);
        assert_eq!(wakes.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_wake_before_the_wait_is_not_lost() {
        let (waker, mut wakes) = wakes();
        assert_eq!(wakes.next().now_or_never(), None);
        waker.wake(Wake::Signal);
        assert_eq!(wakes.next().await, Wake::Signal);
    }
}
