//! Where the desired state comes from.

mod desired;
mod file;
pub mod git;
mod open;
mod policy;
mod stable;
mod variables;
mod vault;
mod watch;

pub use desired::{DesiredState, Watch};
pub use file::FileSource;
pub use git::GitSource;
pub use policy::PolicyFile;
pub use vault::AgeIdentity;
pub use watch::FileWatch;
