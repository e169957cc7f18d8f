//! One binary for all integration tests: one link, and one place to look.

mod child;
mod lock;
mod probe;
mod source;
mod store;
mod systemd;
