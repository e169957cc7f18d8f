//! Quaymaster: a reconciling controller for plain Docker hosts.

pub mod domain;
pub mod plan;
pub mod ports;

pub mod caddy;
