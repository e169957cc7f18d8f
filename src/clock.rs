//! The host's clock: time since boot, sleep included, and the name of that boot.

use std::{fs, io, path::PathBuf, time::SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::{domain::Timestamp, ports::Clock};

/// Where Linux names the present boot; random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The boot of this host has no name, so no stored time could be placed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the name of this boot from {}", path.display())]
pub struct NoBootId {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The clock of the host this runs on.
#[derive(Clone, Debug)]
pub struct HostClock {
    boot_id: String,
}

impl HostClock {
    /// Reads the name of the present boot, once: it cannot change under us.
    pub fn new() -> Result<HostClock, NoBootId> {
        let boot_id = fs::read_to_string(BOOT_ID)
            .map_err(|source| NoBootId { path: BOOT_ID.into(), source })?;
        Ok(HostClock { boot_id: boot_id.trim().to_owned() })
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        // Not CLOCK_MONOTONIC: that stands still while a virtual machine or a
        // laptop is suspended, and a deadline has passed all the same.
        let since_boot = clock_gettime(ClockId::Boottime);
        Timestamp(since_boot.tv_sec * 1_000 + since_boot.tv_nsec / 1_000_000)
    }

    fn unix_ms(&self) -> i64 {
        let millis =
            |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => millis(since),
            // A host whose clock was never set may stand before 1970.
            Err(before) => -millis(before.duration()),
        }
    }

    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_boot_and_never_runs_backwards() {
        let clock = HostClock::new().expect("Linux names its boot");
        let uptime = fs::read_to_string("/proc/uptime").expect("proc is mounted");
        let whole_seconds: i64 =
            uptime.split('.').next().and_then(|text| text.parse().ok()).expect("a number");
        let first = clock.now();
        assert!(first.0 >= whole_seconds * 1_000, "{first} is before {whole_seconds}s");
        assert!(clock.now() >= first);
        assert_eq!(clock.boot_id(), HostClock::new().expect("as before").boot_id());
        assert_eq!(clock.boot_id().len(), 36, "a UUID");
    }
}
