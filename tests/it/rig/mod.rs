//! Real programs that tests start, and what stands in front of them.

pub mod backend;
pub mod caddy;
pub mod port;
pub mod tap;
