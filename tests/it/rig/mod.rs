//! What tests against the real Docker and Caddy stand on, beside the
//! [`quaymaster_rig`] that the benches share: what knows the code under test,
//! or what only tests need.

pub mod backend;
pub mod caddy;
pub mod cosign;
pub mod port;
pub mod prometheus;
pub mod registry;
pub mod tap;
pub mod tiny;

pub use quaymaster_rig::{
    PATIENCE, client, daemon, docker, edge, eventually, forge, free_port, host, load, mailbox,
    repo, run, status, unique_name,
};
