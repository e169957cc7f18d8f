//! Quaymaster: a reconciling controller for plain Docker hosts.

pub mod cli;
pub mod controller;
pub mod domain;
pub mod plan;
pub mod ports;
pub mod server;
