//! IPv4 subnets in CIDR form, as Docker and Caddy both write them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// An IPv4 subnet: `172.18.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

/// The text is no IPv4 subnet in CIDR form.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an IPv4 subnet")]
pub struct BadSubnet(String);

impl Subnet {
    /// Returns the subnet that an address is in; None for a prefix that no
    /// network has: 0, or more than 32 bits.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Option<Subnet> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.clamp(1, 32)))?;
        let network = Ipv4Addr::from_bits(address.to_bits() & mask);
        (1..=32).contains(&prefix).then_some(Subnet { network, prefix })
    }

    pub fn contains(self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => Subnet::around(*address, self.prefix) == Some(self),
            IpAddr::V6(_) => false,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = BadSubnet;

    fn from_str(text: &str) -> Result<Subnet, BadSubnet> {
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            Subnet::around(address.parse().ok()?, prefix.parse().ok()?)
        });
        parts.ok_or_else(|| BadSubnet(text.to_owned()))
    }
}

impl TryFrom<String> for Subnet {
    type Error = BadSubnet;

    fn try_from(text: String) -> Result<Subnet, BadSubnet> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_what_shares_its_prefix() {
        let subnet = Subnet::around([172, 18, 3, 4].into(), 16).unwrap();
        assert_eq!(subnet.to_string(), "172.18.0.0/16");
        assert_eq!("172.18.0.0/16".parse::<Subnet>().unwrap(), subnet);
        assert!(subnet.contains(&[172, 18, 255, 1].into()));
        assert!(!subnet.contains(&[172, 19, 0, 1].into()));
        assert!(!subnet.contains(&"fd00::1".parse().unwrap()));
        let host = Subnet::around([10, 0, 0, 1].into(), 32).unwrap();
        assert_eq!(host.to_string(), "10.0.0.1/32");
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/0", "10.0.0.0/33", "fd00::/64", "/8", ""] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
