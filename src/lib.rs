//! Quaymaster: a reconciling controller for plain Docker hosts.

pub mod clock;
pub mod domain;
pub mod lock;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod source;
pub mod store;
pub mod systemd;
