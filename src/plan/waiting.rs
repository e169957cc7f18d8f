//! What a plan waits on: the barriers it stops at.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::drain::{COUNT_INTERVAL, Count};
use crate::domain::{DependsOn, ImageRef, Phase, ServiceName, Slot, Timestamp, time::human};

/// One thing that a service waits on, with the time it ends at the latest
/// where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum WaitingOn {
    /// A pull in the background.
    Pull { image: ImageRef, percent: Option<u8> },
    /// A look at an image's signature.
    Signature { image: ImageRef },
    /// Replicas that are not ready yet.
    Readiness {
        ready: u32,
        of: u32,
        slot: Slot,
        deadline: Option<Timestamp>,
        last_failure: Option<String>,
    },
    /// Replicas whose probes pass, but not for `min_healthy_time` yet.
    MinHealthyTime { until: Timestamp },
    /// A dependency's condition.
    Dependency { service: ServiceName, condition: DependsOn },
    /// The old release's requests in flight.
    Drain { slot: Slot, until: Timestamp, in_flight: Count },
    /// The new release's trial time.
    Bake { until: Timestamp },
    /// The standby, kept warm.
    Standby { slot: Slot, until: Timestamp },
    /// A gate that has not passed yet.
    Gate { gate: String, phase: Phase, until: Option<Timestamp>, why: Option<String> },
    /// An operator, who says when a release that is ready is promoted.
    Promotion { slot: Slot },
    /// Another service of the group, which is promoted together with this one.
    Group { service: ServiceName },
    /// What the file wants in the idle slot.
    Idle { ready: u32, of: u32, slot: Slot },
    /// The pace after a failure.
    Retry { at: Timestamp, attempt: u32, failure: String },
    /// A part of the world that cannot be seen.
    Unknown { part: String, why: String },
    /// More free disk.
    DiskSpace { free_percent: u8, min_free_percent: u8 },
    /// A step that is being done.
    StepInHand,
}

impl WaitingOn {
    /// Returns when it is worth looking again without being woken.
    pub fn revisit(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            WaitingOn::Readiness { deadline: at, .. } | WaitingOn::Gate { until: at, .. } => *at,
            WaitingOn::Drain { until, in_flight: Count::Requests(_), .. } => {
                Some((now + COUNT_INTERVAL).min(*until))
            }
            WaitingOn::MinHealthyTime { until: at }
            | WaitingOn::Drain { until: at, in_flight: Count::Untold | Count::Unread, .. }
            | WaitingOn::Bake { until: at }
            | WaitingOn::Standby { until: at, .. }
            | WaitingOn::Retry { at, .. } => Some(*at),
            WaitingOn::Pull { .. }
            | WaitingOn::Signature { .. }
            | WaitingOn::Dependency { .. }
            | WaitingOn::Promotion { .. }
            | WaitingOn::Group { .. }
            | WaitingOn::Idle { .. }
            | WaitingOn::Unknown { .. }
            | WaitingOn::DiskSpace { .. }
            | WaitingOn::StepInHand => None,
        }
    }

    /// Returns whether the service has arrived all the same: only time that
    /// changes nothing by itself is left.
    pub fn is_settled(&self) -> bool {
        matches!(self, WaitingOn::Standby { .. } | WaitingOn::Idle { .. })
    }

    /// Returns the text for people, with the time left from `now`.
    pub fn describe(&self, now: Timestamp) -> String {
        let left = |until: &Timestamp| human(Duration::from_secs(until.since(now).as_secs() + 1));
        match self {
            WaitingOn::Pull { image, percent: Some(percent) } => {
                format!("pulling {image}, {percent} %")
            }
            WaitingOn::Pull { image, percent: None } => format!("pulling {image}"),
            WaitingOn::Signature { image } => format!("the signature of {image} to be verified"),
            WaitingOn::Readiness { ready, of, slot, deadline, last_failure } => {
                let why = last_failure.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                let left = deadline.map_or(String::new(), |at| format!(", {} left", left(&at)));
                format!("{ready} of {of} ready in {slot}{left}{why}")
            }
            WaitingOn::MinHealthyTime { until } => {
                format!("ready for a while more: {} left", left(until))
            }
            WaitingOn::Dependency { service, condition } => format!("{service} to be {condition}"),
            WaitingOn::Drain { slot, until, in_flight } => {
                let left = left(until);
                match in_flight {
                    Count::Requests(1) => {
                        format!("{slot} draining, 1 request in flight, {left} left at most")
                    }
                    Count::Requests(count) => {
                        format!("{slot} draining, {count} requests in flight, {left} left at most")
                    }
                    Count::Untold => format!(
                        "{slot} draining, {left} left (this proxy cannot count what is in \
                         flight: the whole drain_timeout passes)"
                    ),
                    Count::Unread => format!("{slot} draining, {left} left"),
                }
            }
            WaitingOn::Bake { until } => format!("baking, {} left", left(until)),
            WaitingOn::Standby { slot, until } => {
                format!("{slot} warm for rollback, {} left", left(until))
            }
            WaitingOn::Gate { gate, phase, until, why } => {
                let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                let left = until.map_or(String::new(), |at| format!(", {} left", left(&at)));
                format!("{phase} gate `{gate}`{left}{why}")
            }
            WaitingOn::Promotion { slot } => {
                format!("ready in {slot}, to be promoted by hand")
            }
            WaitingOn::Group { service } => format!("{service} of its group to be ready as well"),
            WaitingOn::Idle { ready, of, slot } => {
                format!("standby in {slot}, {ready} of {of} ready")
            }
            WaitingOn::Retry { at, attempt, failure } => {
                format!("try {} in {}: {failure}", attempt + 1, left(at))
            }
            WaitingOn::Unknown { part, why } => format!("{part} cannot be seen: {why}"),
            WaitingOn::DiskSpace { free_percent, min_free_percent } => format!(
                "disk space: {free_percent} % free, {min_free_percent} % needed before a pull"
            ),
            WaitingOn::StepInHand => "the step in hand".to_owned(),
        }
    }
}

impl fmt::Display for DependsOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DependsOn::ServiceStarted => "started",
            DependsOn::ServiceHealthy => "healthy",
            DependsOn::ServiceCompletedSuccessfully => "completed successfully",
        })
    }
}
