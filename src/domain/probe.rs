//! How the controller learns that a replica is ready.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// A probe, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub check: ProbeCheck,
    /// The time between two probes of a replica that is ready. A replica that
    /// is not ready yet is probed sooner: at once, then with growing pauses.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that make a replica ready.
    pub healthy_after: u32,
    /// Failures in a row that make a ready replica not ready.
    pub unhealthy_after: u32,
}

impl ProbeCheck {
    /// Returns the same question, asked at another port where there is one.
    pub fn at_port(self, other: Option<u16>) -> ProbeCheck {
        match (self, other) {
            (ProbeCheck::Http { path, headers, status, .. }, Some(port)) => {
                ProbeCheck::Http { path, port, headers, status }
            }
            (ProbeCheck::Tcp { .. }, Some(port)) => ProbeCheck::Tcp { port },
            (check, _) => check,
        }
    }
}

/// What one probe does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeCheck {
    /// `GET http://REPLICA:port/path`; a 2xx or 3xx passes, or exactly `status`.
    Http { path: String, port: u16, headers: BTreeMap<String, String>, status: Option<u16> },
    /// A TCP connection is accepted.
    Tcp { port: u16 },
    /// A command inside the replica exits with 0.
    Exec { command: Vec<String> },
    /// Docker's own health check of the image or of `healthcheck:`.
    Docker,
    /// Nothing to ask: a replica that runs is ready once it has stayed up for
    /// `min_healthy_time`.
    Started,
}
