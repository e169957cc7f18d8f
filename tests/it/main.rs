//! The one integration-test binary.

mod docker_engine;
mod rig;
