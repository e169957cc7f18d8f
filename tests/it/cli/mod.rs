//! What can be typed, and what is printed.

mod arguments;
mod binary;
mod changes;
mod deployments;
mod public;
mod reports;
mod server;
mod views;
mod wait;
