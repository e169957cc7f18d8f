//! What cannot be observed.
//!
//! Docker and Caddy hold the facts. This holds the rest: when something was
//! first seen, what a tag was resolved to, what failed, what was good. Losing
//! all of it restarts timers and loses history; it never breaks traffic.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Commit, Deployment, DeploymentReport, Fingerprint, GateId, ImageRef, Outbox, Phase, Release,
    ReleaseId, Resolution, RouteTable, ServiceName, SignedImage, Slot, Stack, Timestamp,
    snapshot::{ContainerId, Failure},
    stack::ProxyConfig,
};

/// The most history entries that are kept.
pub const MAX_HISTORY: usize = 500;

/// The most images of which it is kept that they are signed: one is asked about again
/// if it is forgotten.
pub const MAX_VERIFIED: usize = 500;

/// The log lines that are kept of a release that failed.
pub const KEPT_LOG_LINES: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Which boot of the host the timestamps count from, and when this was
    /// last saved on that count.
    pub boot: Option<Boot>,
    /// In force while the file is bad.
    pub accepted: Option<Accepted>,
    pub resolutions: BTreeMap<ImageRef, Resolution>,
    /// Pulls that failed, by what the file calls the image.
    pub failed_pulls: BTreeMap<ImageRef, Attempts>,
    /// Images that were seen to be signed as the policy wants; newest last, at most
    /// [`MAX_VERIFIED`].
    pub verified: Vec<SignedImage>,
    /// Looks at signatures that failed, or found none.
    pub failed_checks: BTreeMap<SignedImage, Attempts>,
    pub services: BTreeMap<ServiceName, ServiceMemory>,
    /// Writes to the proxy that failed since the last one that did not. Of this
    /// run only, like `failed_host_steps`: a new start may try at once.
    #[serde(skip)]
    pub failed_writes: Option<Attempts>,
    /// Networks and volumes that could not be made, likewise.
    #[serde(skip)]
    pub failed_host_steps: Option<Attempts>,
    /// Our routes as they last stood intact, or were about to be written: what a
    /// wiped proxy gets back.
    pub routes: RouteTable,
    /// The proxy that may have routes of ours: one that the file names no more is
    /// to be rid of them.
    pub proxy: Option<ProxyConfig>,
    /// When images were last looked through for ones that nothing needs.
    pub pruned_at: Option<Timestamp>,
    /// Oldest first; at most [`MAX_HISTORY`].
    pub history: Vec<Event>,
    /// Deployments that are over and have been followed by others, oldest first; at most
    /// [`MAX_REPORTS`](super::deployment::MAX_REPORTS).
    #[serde(default)]
    pub reports: Vec<DeploymentReport>,
    #[serde(default)]
    pub outbox: Outbox,
}

/// The last stack that was valid, and the file that declared it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub stack: Stack,
    /// Absolute.
    pub file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    pub id: String,
    pub saved_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMemory {
    /// Everything needed to create a replica of a release again, for the
    /// releases that are retained; newest last.
    pub releases: Vec<Release>,
    /// The slot and release that the route last pointed at; for a service
    /// without a route, that last did the work.
    pub active: Option<Placement>,
    /// What was active before: the standby while it is warm.
    pub previous: Option<Placement>,
    /// When `active` became so; what the bake counts from.
    pub promoted_at: Option<Timestamp>,
    /// The rollout in hand: what it is for and when it was first seen wanting.
    pub rollout: Option<RolloutMemory>,
    /// Releases that finished their bake, newest last.
    pub good: Vec<ReleaseId>,
    /// What was seen of each replica that still exists.
    pub replicas: BTreeMap<ContainerId, ReplicaMemory>,
    pub hold: Option<Hold>,
    /// Steps that failed since the last one that did not.
    pub failed_steps: Option<Attempts>,
    /// What became of the gates of each release, kept for longer than the releases:
    /// a job that succeeded is not run again when its release comes back.
    #[serde(default)]
    pub gates: BTreeMap<ReleaseId, ReleaseGates>,
    /// The declared standby that failed.
    #[serde(default)]
    pub failed_standby: Option<Hold>,
    /// Since when each retained release neither serves nor may have to.
    #[serde(default)]
    pub unneeded_since: BTreeMap<ReleaseId, Timestamp>,
    /// The release that an operator wants promoted, where the file leaves that to one.
    #[serde(default)]
    pub promote: Option<ReleaseId>,
    /// The newest deployment, for people.
    #[serde(default)]
    pub deployment: Option<Deployment>,
}

/// What became of the gates of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseGates {
    /// Wall-clock milliseconds since 1970 of the last change; the oldest go first.
    pub at_unix_ms: i64,
    pub records: BTreeMap<GateId, GateRecord>,
}

/// What became of one gate of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRecord {
    /// What people call it.
    pub name: String,
    pub phase: Phase,
    /// Since when it is under way.
    pub since: Timestamp,
    pub standing: GateStanding,
}

/// How a gate stands, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum GateStanding {
    /// With what its last measurement said against it.
    Open {
        why: Option<String>,
    },
    Passed {
        what: String,
    },
    Failed {
        why: String,
    },
    /// It failed and is to be tried again, once what is left of its job is gone.
    Discarded,
}

/// What is remembered of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaMemory {
    /// Since when its probes pass without a break.
    pub probed_ready_since: Option<Timestamp>,
    pub traffic: Traffic,
    /// How its requests run out since no route names it.
    #[serde(default)]
    pub ebb: Ebb,
    pub restart_policy_set: bool,
    /// How often it was seen to stop running.
    pub deaths: u32,
    /// When we stopped it, unless we have started it again since.
    pub stopped_at: Option<Timestamp>,
    /// Since when it is seen not running, after it was seen otherwise.
    pub died_at: Option<Timestamp>,
    /// It had ended when it was first seen, and has not run since: nobody knows
    /// when, or whether on purpose.
    #[serde(default)]
    pub found_ended: bool,
}

/// Whether requests can still be in flight to a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// It was first seen before it ever ran, and no route has named it since.
    #[default]
    NeverRouted,
    Routed,
    /// No route names it, but one did or may have done until then.
    UnroutedSince(Timestamp),
}

/// What the proxy's counts have shown of a replica that no route names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ebb {
    /// How many counts of zero there were in a row.
    pub zeros: u32,
    /// When the last of them was.
    pub counted_at: Option<Timestamp>,
    pub listing: Listing,
}

/// Whether the proxy's configuration has named a replica without a break: what
/// was in flight at a break is missing from the count that begins after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    #[default]
    Kept,
    Dropped,
    /// It was dropped, or nobody knows whether it was, and is named again.
    BackSince(Timestamp),
}

/// A release in a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Placement {
    pub slot: Slot,
    pub release: ReleaseId,
}

impl From<Placement> for String {
    fn from(placement: Placement) -> String {
        format!("{}/{}", placement.slot, placement.release)
    }
}

impl TryFrom<String> for Placement {
    type Error = String;

    fn try_from(text: String) -> Result<Placement, String> {
        let (slot, release) = text.split_once('/').ok_or("a placement is SLOT/RELEASE")?;
        Ok(Placement {
            slot: slot.parse().map_err(|error| format!("{error}"))?,
            release: ReleaseId::try_from(release.to_owned()).map_err(|error| error.to_string())?,
        })
    }
}

/// A rollout from when it was first wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutMemory {
    pub declaration: Fingerprint,
    /// When its pull began or its first replica was seen, or when it last ceased to be
    /// ready: waiting for a dependency or a gate does not count against
    /// `progress_deadline`.
    pub started_at: Option<Timestamp>,
    /// It is ready, and waits to be promoted.
    #[serde(default)]
    pub is_waiting: bool,
    /// That it began is part of the history.
    #[serde(default)]
    pub is_told: bool,
}

/// Failures of one thing in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    pub count: u32,
    pub last_at: Timestamp,
    pub failure: Failure,
}

/// A declaration that is not tried again until the file says something else of
/// the service, or an operator says `retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub declaration: Fingerprint,
    /// The release that failed; None if it never got so far (a failed pull).
    pub release: Option<ReleaseId>,
    pub image: ImageRef,
    pub reason: String,
    /// Its last log lines, at most [`KEPT_LOG_LINES`].
    pub log: Vec<String>,
    /// How its gates stood when it failed, in the order of the file.
    #[serde(default)]
    pub gates: Vec<GateRecord>,
    /// Whether it failed, or somebody wanted the one before it.
    #[serde(default)]
    pub by: HeldBy,
    /// Wall-clock milliseconds since 1970, for people.
    pub at_unix_ms: i64,
}

/// Who holds a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    #[default]
    Failure,
    Operator,
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Wall-clock milliseconds since 1970.
    pub at_unix_ms: i64,
    pub service: ServiceName,
    pub kind: EventKind,
    pub slot: Option<Slot>,
    pub release: Option<ReleaseId>,
    pub image: Option<ImageRef>,
    /// The commit that declared the release; None without Git.
    #[serde(default)]
    pub commit: Option<Commit>,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A rollout began.
    Started,
    /// A gate passed.
    Passed,
    /// An operator said that a release may be promoted.
    Approved,
    /// A release became active.
    Promoted,
    /// A release finished its bake.
    Good,
    /// A release failed.
    Held,
    /// Traffic went back to an earlier release.
    RolledBack,
    /// The file changed before a rollout had ended.
    Superseded,
    /// An operator asked for a new try.
    Retried,
}

impl GateRecord {
    /// Returns whether it has neither passed nor failed.
    pub fn is_open(&self) -> bool {
        matches!(self.standing, GateStanding::Open { .. })
    }

    pub fn has_passed(&self) -> bool {
        matches!(self.standing, GateStanding::Passed { .. })
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.standing, GateStanding::Failed { .. })
    }
}

impl ServiceMemory {
    /// Returns what became of one gate of a release.
    pub fn gate(&self, release: &ReleaseId, gate: &GateId) -> Option<&GateRecord> {
        self.gates.get(release)?.records.get(gate)
    }
}

impl Memory {
    /// Returns what is remembered of a service; nothing, if it is new.
    pub fn service(&self, name: &ServiceName) -> ServiceMemory {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// Returns what became of every deployment that is known, oldest first.
    pub fn all_reports(&self) -> Vec<DeploymentReport> {
        let newest = self.services.values().filter_map(|service| service.deployment.as_ref());
        let newest = newest.map(|deployment| deployment.report.clone());
        let mut reports: Vec<_> = self.reports.iter().cloned().chain(newest).collect();
        reports.sort_by_key(|report| report.at_unix_ms);
        reports
    }

    /// Returns the memory with every timestamp moved onto the count of the
    /// present boot: a reboot is as if no time had passed while the host was down.
    pub fn rebase(mut self, boot_id: &str, now: Timestamp) -> Memory {
        let saved = self.boot.take();
        self.boot = Some(Boot { id: boot_id.to_owned(), saved_at: now });
        match saved {
            // A count that ran backwards within one boot is damage, not time.
            Some(saved) if saved.id == boot_id && saved.saved_at <= now => self,
            Some(saved) => {
                let shift = now.0.saturating_sub(saved.saved_at.0);
                self.for_each_timestamp(|at| at.0 = at.0.saturating_add(shift).min(now.0));
                self
            }
            None => {
                self.for_each_timestamp(|at| *at = now);
                self
            }
        }
    }

    fn for_each_timestamp(&mut self, mut change: impl FnMut(&mut Timestamp)) {
        self.failed_pulls.values_mut().for_each(|pull| change(&mut pull.last_at));
        self.failed_checks.values_mut().for_each(|check| change(&mut check.last_at));
        self.pruned_at.iter_mut().for_each(&mut change);
        self.outbox.news.iter_mut().flat_map(|news| &mut news.since).for_each(&mut change);
        for service in self.services.values_mut() {
            service.promoted_at.iter_mut().for_each(&mut change);
            service.rollout.iter_mut().flat_map(|r| &mut r.started_at).for_each(&mut change);
            for replica in service.replicas.values_mut() {
                replica.probed_ready_since.iter_mut().for_each(&mut change);
                replica.stopped_at.iter_mut().for_each(&mut change);
                replica.died_at.iter_mut().for_each(&mut change);
                replica.ebb.counted_at.iter_mut().for_each(&mut change);
                if let Listing::BackSince(at) = &mut replica.ebb.listing {
                    change(at);
                }
                if let Traffic::UnroutedSince(at) = &mut replica.traffic {
                    change(at);
                }
            }
            service.unneeded_since.values_mut().for_each(&mut change);
            let gates = service.gates.values_mut().flat_map(|gates| gates.records.values_mut());
            gates.for_each(|record| change(&mut record.since));
            service.failed_steps.iter_mut().for_each(|failed| change(&mut failed.last_at));
            if let Some(deployment) = &mut service.deployment {
                change(&mut deployment.began_at);
                change(&mut deployment.mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_stops_the_clock() {
        let mut memory = Memory { pruned_at: Some(Timestamp(900)), ..Memory::default() };
        memory.boot = Some(Boot { id: "first".to_owned(), saved_at: Timestamp(1000) });
        let rebased = memory.rebase("second", Timestamp(50));
        assert_eq!(rebased.pruned_at, Some(Timestamp(-50)));
        assert_eq!(rebased.rebase("second", Timestamp(80)).pruned_at, Some(Timestamp(-50)));
    }
}
