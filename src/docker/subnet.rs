//! How a subnet is shared: its lower half is ours to assign, and Docker chooses
//! from the upper half for containers that were promised nothing.

use std::net::{AddrParseError, IpAddr, Ipv4Addr};

use bollard::models::IpamConfig;

use crate::domain::snapshot::AddressRange;

/// The longest prefix of a subnet that is worth sharing: each half of it has
/// eight addresses.
const LONGEST_PREFIX: u32 = 28;

/// An IPv4 subnet that is large enough to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    network: Ipv4Addr,
    prefix: u32,
}

impl Subnet {
    /// Reads CIDR form; None for IPv6, for one that is too small, and for what is
    /// no subnet at all.
    pub fn parse(cidr: &str) -> Option<Subnet> {
        let (network, prefix) = parse_cidr(cidr)?;
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        let network = Ipv4Addr::from_bits(network.to_bits() & mask);
        (1..=LONGEST_PREFIX).contains(&prefix).then_some(Subnet { network, prefix })
    }

    /// Returns the configuration that makes a network share it. The gateway is
    /// its first address, as without a range.
    pub fn shared(self) -> IpamConfig {
        IpamConfig {
            subnet: Some(format!("{}/{}", self.network, self.prefix)),
            ip_range: Some(format!("{}/{}", self.middle(), self.prefix + 1)),
            gateway: Some(self.gateway().to_string()),
            auxiliary_addresses: None,
        }
    }

    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    /// The first address of the upper half.
    fn middle(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + (1 << (31 - self.prefix)))
    }
}

/// Returns the addresses that are ours on a network with this configuration;
/// None if it is not shared as [`Subnet::shared`] does it.
pub(super) fn ours(config: &IpamConfig) -> Option<AddressRange> {
    let subnet = Subnet::parse(config.subnet.as_deref()?)?;
    if subnet.shared().ip_range != config.ip_range || config.gateway != subnet.shared().gateway {
        return None;
    }
    let first = Ipv4Addr::from_bits(subnet.gateway().to_bits() + 1);
    let last = Ipv4Addr::from_bits(subnet.middle().to_bits() - 1);
    Some(AddressRange { first, last })
}

fn parse_cidr(cidr: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, prefix) = cidr.split_once('/')?;
    let address: Result<IpAddr, AddrParseError> = address.parse();
    match (address, prefix.parse()) {
        (Ok(IpAddr::V4(address)), Ok(prefix)) if prefix <= 32 => Some((address, prefix)),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(cidr: &str) -> (String, String) {
        let config = Subnet::parse(cidr).expect("large enough").shared();
        (config.subnet.expect("it has one"), config.ip_range.expect("it has one"))
    }

    #[test]
    fn the_upper_half_is_dockers() {
        let halves = |cidr| shared(cidr).1;
        assert_eq!(halves("172.20.0.0/16"), "172.20.128.0/17");
        assert_eq!(halves("10.1.2.0/24"), "10.1.2.128/25");
        assert_eq!(halves("10.1.2.16/28"), "10.1.2.24/29");
        assert_eq!(shared("10.1.2.77/24").0, "10.1.2.0/24");
    }

    #[test]
    fn the_lower_half_without_the_gateway_is_ours() {
        let config = Subnet::parse("10.1.2.0/24").expect("large enough").shared();
        let range = ours(&config).expect("it is shared");
        assert_eq!((range.first, range.last), ([10, 1, 2, 2].into(), [10, 1, 2, 127].into()));
    }

    #[test]
    fn a_network_that_others_made_has_no_address_for_us() {
        let config = |subnet: &str, range: Option<&str>, gateway: &str| IpamConfig {
            subnet: Some(subnet.to_owned()),
            ip_range: range.map(str::to_owned),
            gateway: Some(gateway.to_owned()),
            auxiliary_addresses: None,
        };
        assert_eq!(ours(&config("10.1.2.0/24", None, "10.1.2.1")), None);
        assert_eq!(ours(&config("10.1.2.0/24", Some("10.1.2.0/25"), "10.1.2.1")), None);
        assert_eq!(ours(&config("10.1.2.0/24", Some("10.1.2.128/25"), "10.1.2.9")), None);
    }

    #[test]
    fn what_is_too_small_or_no_ipv4_is_not_shared() {
        for cidr in ["10.0.0.0/29", "10.0.0.0/32", "0.0.0.0/0", "fd00::/64", "10.0.0.0", "/8"] {
            assert_eq!(Subnet::parse(cidr), None, "{cidr}");
        }
    }
}
