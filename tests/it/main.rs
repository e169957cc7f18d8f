//! The one integration-test binary.

mod caddy;
mod child;
mod cli;
mod docker_engine;
mod e2e;
mod examples;
mod gate;
mod lock;
mod manifest;
mod plans;
mod probe;
mod rig;
mod signature;
mod sim;
mod source;
mod store;
mod systemd;
mod tidy;
