//! The integration tests, in one binary.

mod caddy;
mod rig;
