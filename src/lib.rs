//! Quaymaster: a reconciling controller for plain Docker hosts.
//!
//! The modules, in floor order; imports only point downward:
//!
//! - 0 [`domain`]: the words as types; the file, the snapshot, the memory
//! - 1 [`plan`]: what to do next, purely
//! - 2 [`ports`] and the adapters behind them
//! - 3 [`controller`]: the loop

pub mod controller;
pub mod domain;
pub mod plan;
pub mod ports;
pub mod sim;
