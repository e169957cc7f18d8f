//! What systemd is told: ready, still alive, stopping, and one line of status.
//!
//! Without systemd (no `NOTIFY_SOCKET`) all of it does nothing. The protocol is
//! sd_notify(3).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// Says that the first pass is done: what `systemctl start` waits for.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Sets the line that `systemctl status` shows.
pub fn status(line: &str) {
    // A new line would begin another message to systemd.
    tell(&[NotifyState::Status(&line.replace('\n', " "))]);
}

/// Tells systemd's watchdog that we live, for as long as the heart beats. A loop
/// that hangs lets the watchdog bark, and systemd starts us anew; the next pass
/// simply continues. None where no watchdog watches.
pub fn feed_watchdog(heartbeat: Heartbeat) -> Option<JoinHandle<()>> {
    let patience = sd_notify::watchdog_enabled()?;
    Some(tokio::spawn(async move {
        // Half of it, as sd_watchdog_enabled(3) asks.
        let mut pings = tokio::time::interval(patience / 2);
        loop {
            pings.tick().await;
            if heartbeat.is_beating() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }))
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Whether the loop has passed lately.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    born: Instant,
    last_ms: Arc<AtomicU64>,
    patience: Duration,
}

impl Heartbeat {
    /// Makes a heart that counts as beating until `patience` passes without a beat.
    pub fn new(patience: Duration) -> Heartbeat {
        Heartbeat { born: Instant::now(), last_ms: Arc::default(), patience }
    }

    pub fn beat(&self) {
        self.last_ms.store(self.age_ms(), Ordering::Relaxed);
    }

    pub fn is_beating(&self) -> bool {
        let silent_ms = self.age_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed));
        Duration::from_millis(silent_ms) <= self.patience
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
