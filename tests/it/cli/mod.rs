//! What can be typed, and what is printed.

mod arguments;
mod binary;
mod reports;
mod server;
mod views;
