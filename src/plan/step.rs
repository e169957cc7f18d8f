//! The effects a plan can ask for: each one idempotent, and re-observed.

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use serde::Serialize;

use crate::domain::{
    Digest, GateId, ImageId, ImageRef, Release, RouteTable, Secret, ServiceName, SignatureWanted,
    Slot,
    memory::Placement,
    release::RestartPolicy,
    said::SaidLine,
    snapshot::{ContainerId, HoldOf, Subject, Work},
    stack::{NetworkSpec, VolumeSpec},
};

use super::{scrub::scrub, signed};

/// One idempotent effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    CreateNetwork {
        name: String,
        spec: NetworkSpec,
    },
    CreateVolume {
        name: String,
        spec: VolumeSpec,
    },
    /// Starts a pull in the background; its end is an outcome of a later pass.
    Pull {
        service: ServiceName,
        image: ImageRef,
    },
    /// Looks in the registry whether an image is signed as the policy wants.
    Verify {
        service: ServiceName,
        image: ImageRef,
        wanted: Box<SignatureWanted>,
    },
    Create(Box<NewContainer>),
    Start {
        service: ServiceName,
        container: ContainerId,
        name: String,
    },
    /// Gives a replica that has become ready the restart policy the file declares.
    SetRestartPolicy {
        service: ServiceName,
        container: ContainerId,
        name: String,
        policy: RestartPolicy,
    },
    /// Sets the restart policy to `no`, then stops with the signal and grace
    /// period that the container was created with.
    Stop {
        service: ServiceName,
        container: ContainerId,
        name: String,
        grace: Option<Duration>,
    },
    Remove {
        service: ServiceName,
        container: ContainerId,
        name: String,
    },
    /// Keeps the last log lines of `log_of`, and notes that the declaration is held.
    Hold(Box<NewHold>),
    /// Makes the proxy's routes exactly these, in one write.
    WriteRoutes {
        table: RouteTable,
        flips: Vec<Flip>,
    },
    RemoveImage {
        id: ImageId,
        digest: Digest,
    },
}

/// A replica, or a container for a job, to create. It is created with restart policy `no`, so that a
/// start that fails is seen as such, and gets its own policy once ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewContainer {
    pub name: String,
    pub service: ServiceName,
    pub slot: Slot,
    /// Counted from 1; 0 of a job.
    pub replica: u32,
    /// The gate whose job it runs; None of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<GateId>,
    #[serde(serialize_with = "release_id_only")]
    pub release: Release,
    /// Docker's name of a network → the address there; on the others the engine
    /// chooses.
    pub addresses: BTreeMap<String, IpAddr>,
    /// A service's name → where the proxy answers to it, for its hosts file.
    pub hosts: BTreeMap<ServiceName, IpAddr>,
}

fn release_id_only<S: serde::Serializer>(release: &Release, out: S) -> Result<S::Ok, S::Error> {
    // A plan is shown to people, and a container spec holds secret values (S9).
    release.id.serialize(out)
}

/// A release that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewHold {
    pub service: ServiceName,
    pub hold: crate::domain::memory::Hold,
    pub of: HoldOf,
    pub log_of: Option<ContainerId>,
    /// The values that the log must not show (S9): declared secrets, and variables.
    #[serde(skip)]
    pub secrets: Vec<Secret>,
    #[serde(skip)]
    pub variables: Vec<Secret>,
}

impl NewHold {
    /// Returns a line of the log without the values of the service's environment and
    /// secrets.
    pub fn scrub(&self, line: &SaidLine) -> String {
        scrub(line, &self.secrets, &self.variables)
    }
}

/// A change of which release answers a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flip {
    pub service: ServiceName,
    pub from: Option<Placement>,
    pub to: Option<Placement>,
}

impl Step {
    /// Returns what the step works on.
    pub fn subject(&self) -> Subject {
        match self {
            Step::CreateNetwork { name, .. } | Step::CreateVolume { name, .. } => {
                Subject::Host(name.clone())
            }
            Step::RemoveImage { digest, .. } => Subject::Host(digest.to_string()),
            Step::WriteRoutes { .. } => Subject::Proxy,
            Step::Pull { image, .. } => Subject::Host(image.to_string()),
            Step::Verify { wanted, .. } => signed::subject(wanted),
            Step::Hold(new) => Subject::Service(new.service.clone()),
            Step::Create(new) => {
                Subject::Replica { service: new.service.clone(), container: new.name.clone() }
            }
            Step::Start { service, name, .. }
            | Step::SetRestartPolicy { service, name, .. }
            | Step::Stop { service, name, .. }
            | Step::Remove { service, name, .. } => {
                Subject::Replica { service: service.clone(), container: name.clone() }
            }
        }
    }

    /// Returns what the step creates, if it creates a container.
    pub fn creates(&self) -> Option<&NewContainer> {
        match self {
            Step::Create(new) => Some(new),
            Step::CreateNetwork { .. }
            | Step::CreateVolume { .. }
            | Step::Pull { .. }
            | Step::Verify { .. }
            | Step::Start { .. }
            | Step::SetRestartPolicy { .. }
            | Step::Stop { .. }
            | Step::Remove { .. }
            | Step::Hold(_)
            | Step::WriteRoutes { .. }
            | Step::RemoveImage { .. } => None,
        }
    }

    /// Returns what the step does to its subject.
    pub fn work(&self) -> Work {
        match self.takes_away() {
            Some(_) => Work::TakesAway,
            None => Work::Tends,
        }
    }

    /// Returns the container that the step takes away, if it takes one away.
    pub fn takes_away(&self) -> Option<&ContainerId> {
        match self {
            Step::Stop { container, .. } | Step::Remove { container, .. } => Some(container),
            Step::CreateNetwork { .. }
            | Step::CreateVolume { .. }
            | Step::Pull { .. }
            | Step::Verify { .. }
            | Step::Create(_)
            | Step::Start { .. }
            | Step::SetRestartPolicy { .. }
            | Step::Hold(_)
            | Step::WriteRoutes { .. }
            | Step::RemoveImage { .. } => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateNetwork { name, .. } => write!(f, "create network {name}"),
            Step::CreateVolume { name, .. } => write!(f, "create volume {name}"),
            Step::Pull { image, .. } => write!(f, "pull {image}"),
            Step::Verify { image, wanted, .. } => {
                write!(f, "verify that {image} is signed by {}", wanted.signers())
            }
            Step::Create(new) => {
                write!(f, "create {} ({} in {}", new.name, new.release.image, new.slot)?;
                new.addresses.values().try_for_each(|address| write!(f, " at {address}"))?;
                f.write_str(")")
            }
            Step::Start { name, .. } => write!(f, "start {name}"),
            Step::SetRestartPolicy { name, .. } => write!(f, "set restart policy of {name}"),
            Step::Stop { name, .. } => write!(f, "stop {name}"),
            Step::Remove { name, .. } => write!(f, "remove {name}"),
            Step::Hold(new) => write!(f, "hold {}: {}", new.hold.image, new.hold.reason),
            Step::WriteRoutes { flips, .. } if flips.is_empty() => write!(f, "write routes"),
            Step::WriteRoutes { flips, .. } => {
                let flips: Vec<String> = flips.iter().map(Flip::to_string).collect();
                write!(f, "write routes: {}", flips.join(", "))
            }
            Step::RemoveImage { digest, .. } => write!(f, "remove image {}", digest.short()),
        }
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |place: &Option<Placement>| match place {
            Some(place) => format!("{} {}", place.slot, place.release),
            None => "nothing".to_owned(),
        };
        write!(f, "{}: {} → {}", self.service, place(&self.from), place(&self.to))
    }
}
