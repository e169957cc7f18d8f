//! The one integration-test binary.

mod cli;
mod e2e;
mod examples;
mod manifest;
mod plans;
mod rig;
mod tidy;
