//! Asking over HTTP/1.1, for the adapters that ask the world: gates and signatures.
//!
//! No adapter of its own and so importable by each of them, as the ports are.

pub mod address;
pub mod ask;
pub mod connect;
