//! Where the desired state comes from.

mod file;
mod stable;
mod watch;

pub use file::FileSource;
pub use watch::FileWatch;
