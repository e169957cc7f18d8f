//! Whether Caddy can answer to names: hold the addresses at which containers
//! reach this host.
//!
//! Caddy refuses its whole configuration if it cannot listen on one address of
//! it. The addresses of bridges are there only once Docker has made them, so a
//! Caddy that resumes its configuration at boot before Docker would serve
//! nothing at all. The kernel lets it listen on an address that is not there
//! (yet) where `net.ipv4.ip_nonlocal_bind` is 1; each network namespace has its
//! own, so Caddy itself is asked: it shows the value as the word that it cannot
//! make sense of in a Caddyfile that imports the file. A Caddy in a container of
//! its own, which could never listen on the host's bridges, shows a 0.
//!
//! Another process may have one of the addresses all the same. Caddy names it
//! when it refuses the write, and the write is repeated without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
};

use crate::domain::{
    snapshot::NameMechanism,
    stack::{NameChoice, ProxyConfig},
};

use super::admin::{Admin, AdminError};

/// 1 where a process may listen on an address that the host does not have.
const NONLOCAL_BIND: &str = "/proc/sys/net/ipv4/ip_nonlocal_bind";

/// What Caddy says of a word where it expects a directive.
const NO_DIRECTIVE: &str = "unrecognized directive: ";

/// What the system says of an address that it does not have.
const NOT_HERE: &str = "cannot assign requested address";

/// What is known of a Caddy's ability to answer to names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub mechanism: NameMechanism,
    /// Where it could not listen, in its own words.
    pub refused: BTreeMap<SocketAddr, String>,
}

/// What a Caddy was seen to be allowed, while this process was allowed `ours`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    ours: String,
    mechanism: NameMechanism,
}

/// Returns who can answer to names, asking Caddy only if it is not `known`, and
/// if this process sees that it could be Caddy.
pub async fn mechanism(
    admin: &Admin,
    config: &ProxyConfig,
    known: &mut Option<Seen>,
) -> Result<NameMechanism, AdminError> {
    match config.names {
        NameChoice::Caddy => return Ok(NameMechanism::Caddy),
        NameChoice::Docker => return Ok(docker("the file says `proxy.caddy.names: docker`")),
        NameChoice::Auto => {}
    }
    let ours = match own() {
        Ok(ours) if ours == "1" => ours,
        Ok(_) => {
            return Ok(docker(
                "net.ipv4.ip_nonlocal_bind is not 1 on this host, so a Caddy that starts before \
                 Docker could not resume; install manifests/99-quaymaster.conf",
            ));
        }
        Err(error) => return Ok(docker(&format!("cannot read {NONLOCAL_BIND}: {error}"))),
    };
    if let Some(seen) = known.as_ref().filter(|seen| seen.ours == ours) {
        return Ok(seen.mechanism.clone());
    }
    let mechanism = ask(admin).await?;
    *known = Some(Seen { ours, mechanism: mechanism.clone() });
    Ok(mechanism)
}

fn own() -> io::Result<String> {
    Ok(fs::read_to_string(NONLOCAL_BIND)?.trim().to_owned())
}

async fn ask(admin: &Admin) -> Result<NameMechanism, AdminError> {
    let answer = admin.adapt(format!(":1 {{\n\timport \"{NONLOCAL_BIND}\"\n}}\n")).await?;
    Ok(told(&answer.message()))
}

fn told(message: &str) -> NameMechanism {
    let word = message.split_once(NO_DIRECTIVE).map(|(_, rest)| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>()
    });
    match word.as_deref() {
        Some("1") => NameMechanism::Caddy,
        Some(_) => docker(
            "Caddy is on a network of its own, where net.ipv4.ip_nonlocal_bind is not 1: it \
             cannot listen on this host's bridges",
        ),
        None => docker(&format!("Caddy does not see {NONLOCAL_BIND}: {message}")),
    }
}

fn docker(why: &str) -> NameMechanism {
    NameMechanism::Docker { why: why.to_owned() }
}

/// Returns those of the addresses for which Caddy refused a write, with its
/// words; all of them if it is not on this host's network.
pub fn refused(message: &str, listens: &BTreeSet<SocketAddr>) -> BTreeMap<SocketAddr, String> {
    let named: BTreeSet<SocketAddr> =
        listens.iter().filter(|listen| mentions(message, listen)).copied().collect();
    let all = !named.is_empty() && message.contains(NOT_HERE);
    let refused = if all { listens } else { &named };
    let why = message.rsplit_once("listening on ").map_or(message, |(_, why)| why);
    refused.iter().map(|listen| (*listen, why.to_owned())).collect()
}

/// Returns whether the address stands in the text by itself, and not as a part of
/// a longer one.
fn mentions(message: &str, listen: &SocketAddr) -> bool {
    let listen = listen.to_string();
    message.match_indices(&listen).any(|(at, _)| {
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        !is_digit(message[..at].chars().next_back())
            && !is_digit(message[at + listen.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_caddy_does_not_know_is_the_value() {
        let says = |value: &str| {
            told(&format!(
                "adapting config using caddyfile adapter: {NONLOCAL_BIND}:1: unrecognized \
                 directive: {value}"
            ))
        };
        assert_eq!(says("1"), NameMechanism::Caddy);
        assert!(matches!(says("0"), NameMechanism::Docker { .. }));
        assert!(matches!(told("File to import not found"), NameMechanism::Docker { .. }));
    }

    #[test]
    fn an_address_that_is_taken_is_told_from_one_that_is_longer() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let listens = BTreeSet::from([at("10.0.0.1:80"), at("10.0.0.1:8001")]);
        let taken = "http app module: start: listening on 10.0.0.1:8001: listen tcp \
                     10.0.0.1:8001: bind: address already in use";
        let found: Vec<SocketAddr> = refused(taken, &listens).into_keys().collect();
        assert_eq!(found, [at("10.0.0.1:8001")]);
        assert_eq!(refused("listening on 10.0.0.1:80: bind: permission denied", &listens).len(), 1);
        let not_here = "listening on 10.0.0.1:80: listen tcp 10.0.0.1:80: bind: cannot assign \
                        requested address";
        assert_eq!(refused(not_here, &listens).len(), 2);
        assert_eq!(refused("listening on 10.9.9.9:80: cannot assign", &listens).len(), 0);
    }
}
