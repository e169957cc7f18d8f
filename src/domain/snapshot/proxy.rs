//! Our part of the proxy's configuration.

use serde::{Deserialize, Serialize};

use crate::domain::RouteTable;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyState {
    /// Our routes as far as they could be read back.
    pub table: RouteTable,
    /// Whether what stands there is exactly what we write for `table`, once and
    /// in its place. False for an edited, doubled or misplaced subtree, and for
    /// one that is missing although `table` is not meant to be empty: anything
    /// that one more write would put right.
    pub intact: bool,
    /// None where the proxy does not tell.
    pub version: Option<ProxyVersion>,
}

/// A proxy's version, as far as behaviour depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProxyVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}
