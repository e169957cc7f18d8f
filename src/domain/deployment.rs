//! Deployments: what became of each try to bring a release into service.
//!
//! Derived from what is remembered of a rollout while it lasts, and kept for people.
//! Nothing is decided on it, so losing it breaks nothing.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Commit, Digest, Fingerprint, ImageRef, Phase, ReleaseId, ServiceName, Slot, StackName,
    Timestamp, time::Now,
};

/// The most reports that are kept of deployments that are over.
pub const MAX_REPORTS: usize = 200;

/// The log lines of a failed release that a report keeps; its hold has more.
pub const REPORTED_LOG_LINES: usize = 20;

/// The longest of them, in characters: lines of 16 KiB in each of the reports would make
/// the memory one of tens of megabytes.
pub const MAX_LOG_LINE_CHARS: usize = 500;

/// The newest deployment of a service, over or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What the file said of the service.
    pub declaration: Fingerprint,
    pub began_at: Timestamp,
    /// When its last part ended: its pull, its becoming ready, its promotion.
    pub mark: Timestamp,
    pub report: DeploymentReport,
}

/// What became of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentReport {
    /// When it began: wall-clock milliseconds since 1970, as are all times here.
    pub at_unix_ms: i64,
    /// When its outcome was last news.
    pub ended_at_unix_ms: Option<i64>,
    pub outcome: DeploymentOutcome,
    /// Why, if it did not come out well.
    pub reason: Option<String>,
    pub stack: StackName,
    pub host: String,
    pub service: ServiceName,
    /// None for one that never got so far, as are the release and the digest.
    pub slot: Option<Slot>,
    pub image: ImageRef,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
    pub release: Option<ReleaseId>,
    /// What served when it began; None for a first deployment.
    pub previous: Option<PreviousRelease>,
    /// The commit that asked for it; None without Git.
    pub commit: Option<DeployedCommit>,
    pub durations: Durations,
    /// In the order of the file.
    pub gates: Vec<GateResult>,
    /// The last lines of a release that failed.
    pub log: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousRelease {
    pub release: ReleaseId,
    pub slot: Slot,
    /// None if nothing is known of it any more.
    pub image: Option<ImageRef>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedCommit {
    pub sha: Commit,
    pub subject: Option<String>,
    pub author: Option<String>,
}

/// How long its parts took, in milliseconds; None for what it had not, or has not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// None where the image was here.
    pub pull_ms: Option<u64>,
    /// From then until every replica was ready.
    pub ready_ms: Option<u64>,
    /// From then until gates, group and operator let it be promoted.
    pub gates_ms: Option<u64>,
    /// From its beginning until its promotion.
    pub promoted_ms: Option<u64>,
    /// From its promotion until it was good, or was not.
    pub bake_ms: Option<u64>,
}

/// What became of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    pub name: String,
    pub phase: Phase,
    pub result: GateVerdict,
    /// What it showed.
    pub text: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateVerdict {
    Passed,
    Failed,
    /// It has not come to an end.
    Open,
}

/// How a deployment came out, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentOutcome {
    UnderWay,
    /// It is promoted, and a failure still undoes that.
    Baking,
    Good,
    /// It failed, and what served before goes on serving.
    Held,
    /// It was promoted, and traffic went back to an earlier release.
    RolledBack,
    /// The file changed before it was good.
    Superseded,
}

impl fmt::Display for DeploymentOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DeploymentOutcome::UnderWay => "under way",
            DeploymentOutcome::Baking => "baking",
            DeploymentOutcome::Good => "good",
            DeploymentOutcome::Held => "held",
            DeploymentOutcome::RolledBack => "rolled back",
            DeploymentOutcome::Superseded => "superseded",
        })
    }
}

impl Deployment {
    /// Notes the outcome.
    pub fn came_out(&mut self, outcome: DeploymentOutcome, now: Now) {
        self.report.outcome = outcome;
        self.report.ended_at_unix_ms = Some(now.unix_ms);
    }

    /// Returns the milliseconds since its last part ended, and begins the next.
    pub fn part_ended(&mut self, now: Now) -> u64 {
        let took = millis(now.at.since(self.mark));
        self.mark = now.at;
        took
    }

    /// Returns the milliseconds since it began.
    pub fn age_ms(&self, now: Now) -> u64 {
        millis(now.at.since(self.began_at))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
