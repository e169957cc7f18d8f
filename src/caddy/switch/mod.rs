//! The switch: a folder in which the name of one file per service decides, at
//! each request, which lane answers.
//!
//! ```text
//! STATE_DIR/switch/STACK/web.1           lane 1 answers
//!                        web.2           lane 2 answers
//!                        web.2+standby   lane 2 answers; what it cannot take goes to lane 1
//! ```
//!
//! Caddy's `file` matchers look for them in the order of `Sign::LOOKED_FOR`,
//! so a flip is a rename and Caddy is not told anything. The content says which
//! release has each lane, for us: so Caddy's configuration names no release, and
//! stays as it is when the next one comes to the same addresses.
//!
//! A flip puts the new name beside the old one, then takes the old one away
//! (`flip`), and exactly one of these two steps moves the traffic. A crash
//! between them leaves two files, of which the first that is looked for counts,
//! for us as for Caddy.
//!
//! A request looks name by name while this goes on, so it may look for the new
//! name too early and for the old one too late, and find neither. Then it ends
//! in lane 1. That is right for a flip between the lanes and for one within lane
//! 1, but not where lane 2 gets a standby: so the route of `web.2` looks for
//! `web.2+standby` once more (`render`).
//!
//! Here: `sign` the names, `content` what a file says, `flip` the steps, `course`
//! which flips go before and after a write of the configuration, `folder` the
//! files themselves, `sight` whether Caddy sees them.

mod content;
pub mod course;
pub mod flip;
pub mod folder;
#[cfg(test)]
mod race;
pub mod sight;
mod sign;

pub use folder::{Access, Folder};
