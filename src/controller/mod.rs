//! Floor 3: the loop, and what it tells about itself.

pub mod request;
pub mod status;
pub mod wake;

pub use request::Request;
pub use status::StatusReport;
pub use wake::{Wake, Waker, Wakes};
