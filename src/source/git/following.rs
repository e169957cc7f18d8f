//! Following a branch in the background: each interval, and soon after it is told to.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinHandle};

use super::GitSource;
use crate::source::watch::Wake;

/// The least time between two looks, however often somebody tells us to.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The pause after the first look that failed; each further one doubles it, up to the
/// interval.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Follows the branch for as long as it lives.
pub struct Following {
    task: JoinHandle<()>,
    soon: FetchSoon,
}

/// Tells whoever follows the branch to look soon; cheap to clone and to call.
#[derive(Clone, Debug)]
pub struct FetchSoon(Arc<Notify>);

impl FetchSoon {
    pub fn tell(&self) {
        self.0.notify_one();
    }
}

impl Following {
    /// Looks at once, unless the source has just done so, and calls `wake` whenever a
    /// look has changed something. Must be called inside a runtime.
    pub(super) fn begin(source: GitSource, interval: Duration, wake: Wake) -> Following {
        let soon = FetchSoon(Arc::new(Notify::new()));
        let told = Arc::clone(&soon.0);
        let task = tokio::spawn(follow_forever(source, interval, told, wake));
        Following { task, soon }
    }

    pub fn fetch_soon(&self) -> FetchSoon {
        self.soon.clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow_forever(source: GitSource, interval: Duration, told: Arc<Notify>, wake: Wake) {
    let mut failures = 0;
    if source.was_fetched() {
        pause(interval, &told).await;
    }
    loop {
        let before = source.point();
        // What went wrong is part of how the source stands, and logged there.
        failures = if source.fetch().await.is_ok() { 0 } else { failures + 1 };
        if source.point() != before {
            wake();
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        pause(pause_after(failures, interval), &told).await;
    }
}

async fn pause(pause: Duration, told: &Notify) {
    // Told or not, the look that follows is the same.
    let _ = tokio::time::timeout(pause, told.notified()).await;
}

fn pause_after(failures: u32, interval: Duration) -> Duration {
    match failures.checked_sub(1) {
        None => interval,
        Some(doublings) => {
            FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(interval)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_interval() {
        let after = |failures| pause_after(failures, Duration::from_secs(60)).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 5, 99].map(after), [60, 5, 10, 20, 40, 60, 60]);
        assert_eq!(pause_after(1, Duration::from_secs(2)), Duration::from_secs(2));
    }
}
