//! One question over HTTP/1.1, with TLS where the URL wants it.
//!
//! Of floor 2, and below the adapters there: whatever asks somebody outside asks
//! through [`ask`], over a [`Connector`], and tells of it through [`Secrets`]. What
//! to ask, and what an answer means, is its own affair.

pub mod address;
pub mod ask;
mod conceal;
mod connect;
mod get;

pub use ask::{Answer, Body, NoAnswer, Post, Question, Wants, ask};
pub use conceal::Secrets;
pub use connect::{Connector, Route};
pub use get::get;
