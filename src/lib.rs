//! Quaymaster: a reconciling controller for plain Docker hosts.

pub mod docker;
pub mod domain;
pub mod plan;
pub mod ports;
