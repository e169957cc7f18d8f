//! The simulator: the production loop, unchanged, on ports over one in-memory
//! world.
//!
//! A seed decides a scenario (services, edits, accidents, faults); the same seed
//! gives the same trace. Everything runs on one thread and in no real time: the
//! loop is polled by hand, and time jumps to the next thing that happens.
//!
//! | file | idea |
//! | --- | --- |
//! | `scenario/` | what is declared and what happens, drawn from a seed or written out |
//! | `world/` | Docker, its registry, Caddy, probes, and what people do to them |
//! | `faults` | which calls crash, fail or take their time |
//! | `ports` | the controller's ports over the world; every call passes one gate |
//! | `oracle/` | S1 to S8 and S11 at every effect, L1 and L2 at the end |
//! | `run` | drives one controller after another through a scenario |
//! | `shrink` | drops what a failing scenario does not need |
//! | `mutant` | lies that the oracle must see through |
//!
//! Deliberately absent: a network, several hosts, real time. What only a real
//! engine can show is tested on a real engine.

pub mod counters;
pub mod faults;
pub mod mutant;
pub mod oracle;
mod ports;
pub mod prng;
mod run;
pub mod scenario;
mod shrink;
mod trace;
pub mod world;

pub use oracle::{Rule, Violation};
pub use run::{Verdict, run, run_seed, run_traced};
pub use scenario::Scenario;
pub use shrink::shrink;
pub use world::World;
