//! Quaymaster: a reconciling controller for plain Docker hosts.
//!
//! The modules, in floor order; imports only point downward:
//!
//! - 0 [`domain`]: the words as types; the file, the snapshot, the memory
//! - 1 [`plan`]: what to do next, purely
//! - 2 [`ports`] and the adapters behind them: [`docker`], [`caddy`], [`probe`],
//!   [`gate`], [`notify`], [`signature`], [`store`], [`source`], [`clock`], [`lock`], [`systemd`]
//!   [`http`] and [`credentials`] are below them: how any of them asks somebody outside
//! - 3 [`controller`]: the loop; [`server`]: how it answers
//! - 4 [`cli`]: the command line

pub mod caddy;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod credentials;
pub mod docker;
pub mod domain;
pub mod gate;
pub mod http;
pub mod lock;
pub mod notify;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod server;
pub mod signature;
pub mod sim;
pub mod source;
pub mod store;
pub mod systemd;
