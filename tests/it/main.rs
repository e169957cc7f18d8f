//! The one integration-test binary.

mod e2e;
mod examples;
mod rig;
