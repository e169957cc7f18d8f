//! Floor 0: the words of the product as types.
//!
//! What the file declares ([`Stack`], [`Service`]), what one pass observed
//! ([`snapshot`]) and what cannot be observed ([`Memory`]). Nothing here knows
//! a clock, a runtime, Docker or Caddy; everything is plain data that a test
//! can write down.

pub mod commit;
pub mod deployment;
pub mod facts;
pub mod gate;
pub mod git;
pub mod host_identity;
pub mod image;
pub mod manifest;
pub mod memory;
pub mod name;
pub mod news;
pub mod policy;
pub mod probe;
pub mod release;
pub mod route;
pub mod said;
pub mod secret;
pub mod service;
pub mod signature;
pub mod slot;
pub mod snapshot;
pub mod stack;
pub mod subnet;
pub mod telling;
pub mod template;
pub mod time;

pub use commit::{Commit, CommitPrefix};
pub use deployment::{Deployment, DeploymentReport};
pub use gate::{Gate, GateCheck, GateId, GateKey, GateTarget, Phase};
pub use git::GitStanding;
pub use host_identity::HostIdentity;
pub use image::{Digest, ImageId, ImageRef, Resolution};
pub use memory::Memory;
pub use name::{ServiceName, StackName};
pub use news::{Delivery, Letter, News, Outbox, Unreached};
pub use policy::HostPolicy;
pub use probe::{Probe, ProbeCheck};
pub use release::{ContainerSpec, Fingerprint, Release, ReleaseId};
pub use route::{Backend, Inside, Preview, Route, RouteState, RouteTable};
pub use secret::{Secret, SecretBytes, SecretFile};
pub use service::{DependsOn, Failover, Rollout, Service, ServiceKind, SlotChoice, Strategy};
pub use signature::{SignatureWanted, SignedImage};
pub use slot::Slot;
pub use snapshot::{Container, ContainerId, Observed, Snapshot};
pub use stack::Stack;
pub use subnet::Subnet;
pub use telling::{Receiver, ReceiverId, Telling};
pub use template::Template;
pub use time::Timestamp;
