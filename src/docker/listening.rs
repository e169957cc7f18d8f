//! The addresses on which anything on this host listens, as the kernel lists them.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The kernel's word for a socket that listens.
const LISTENS: &str = "0A";

/// Returns all of them; None where the kernel does not tell. A kernel without
/// IPv6 has no list of it.
pub(super) fn read() -> Option<BTreeSet<SocketAddr>> {
    let v4 = fs::read_to_string("/proc/net/tcp").ok()?;
    let v6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Some(v4.lines().chain(v6.lines()).filter_map(listens).collect())
}

/// Reads `0: 0100007F:1F90 00000000:0000 0A …`.
fn listens(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next()?, words.nth(1)?);
    let (address, port) = local.split_once(':')?;
    let is_it = state == LISTENS;
    is_it.then_some(SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Each four bytes stand in the order of the machine.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_each_kind_is_seen_and_a_connection_is_not() {
        for local in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            // A machine may be without IPv6.
            let Ok(listener) = TcpListener::bind(local) else { continue };
            let address = listener.local_addr().expect("a bound socket has an address");
            let connection = std::net::TcpStream::connect(address).expect("it listens");
            let seen = read().expect("the kernel tells");
            assert!(seen.contains(&address), "{address}");
            let other = connection.local_addr().expect("a connected socket has an address");
            assert!(!seen.contains(&other), "{other}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_listener_says_nothing() {
        for line in ["  sl  local_address rem_address   st tx_queue", "", "0: 0A:1 0:0 0A"] {
            assert_eq!(listens(line), None, "{line}");
        }
    }
}
