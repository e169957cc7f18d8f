//! How many requests are in flight to each address, and how far Caddy can be
//! believed there.
//!
//! Caddy counts requests by the address they were sent to, and keeps the count
//! over every change of its configuration that goes on naming the address. When
//! a change drops it, the count goes with it; since 2.11.2 a second count, by
//! address alone, shows what is left of it until nothing is. (An address that
//! comes back begins at zero on every version: whoever asks must know of the
//! break.)
//!
//! Before 2.11 there is one more thing that no count shows. A connection that a
//! client has opened and not used yet keeps the configuration it was opened
//! under for five seconds, and its first request then goes the old way. Newer
//! ones close it with the change (measured on 2.6.2 and 2.11.7).

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Deserialize;

use crate::domain::snapshot::{InFlight, ProxyVersion, Unlisted};

use super::{
    admin::{Admin, AdminError},
    dialect::Dialect,
};

const UPSTREAMS: &str = "/reverse_proxy/upstreams";

/// The first version that shows what is in flight to an address that its
/// configuration names no more.
const SHOWS_DROPPED: ProxyVersion = ProxyVersion { major: 2, minor: 11, patch: 2 };

/// What a Caddy's counts are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    /// Every request shows, whether its address is still named or not.
    Exact,
    /// A request may be in flight, or still come, and not show.
    Inexact,
}

/// Returns whether this Caddy counts exactly what is in flight to addresses that
/// get no new requests. The one place that decides it.
fn counting(dialect: &Dialect) -> Counting {
    match dialect.version {
        Some(version) if version >= SHOWS_DROPPED => Counting::Exact,
        // A build that does not tell its version is taken for an old one.
        Some(_) | None => Counting::Inexact,
    }
}

/// One line of Caddy's answer.
#[derive(Deserialize)]
struct Upstream {
    address: String,
    num_requests: u64,
}

/// Asks for the counts, with one request; a Caddy that counts inexactly is not
/// asked, and says nothing of any address.
pub async fn count(admin: &Admin, dialect: &Dialect) -> Result<InFlight, AdminError> {
    match counting(dialect) {
        Counting::Inexact => Ok(InFlight::default()),
        Counting::Exact => {
            let upstreams: Vec<Upstream> = admin.read(UPSTREAMS).await?;
            Ok(InFlight { listed: by_address(&upstreams), unlisted: Unlisted::Idle })
        }
    }
}

/// Adds up the counts of each address; what is no IP address is none of ours.
fn by_address(upstreams: &[Upstream]) -> BTreeMap<SocketAddr, u64> {
    let mut counts = BTreeMap::new();
    for upstream in upstreams {
        if let Ok(address) = upstream.address.parse::<SocketAddr>() {
            *counts.entry(address).or_default() += upstream.num_requests;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_listed_twice_has_both_counts() {
        let answer = r#"[{"address":"10.0.0.2:80","num_requests":2,"fails":0},
            {"address":"10.0.0.2:80","num_requests":1,"fails":0},
            {"address":"backend:80","num_requests":7,"fails":0}]"#;
        let upstreams: Vec<Upstream> = serde_json::from_str(answer).expect("Caddy's own shape");
        let dial = "10.0.0.2:80".parse().expect("an address");
        assert_eq!(by_address(&upstreams), BTreeMap::from([(dial, 3)]));
    }
}
