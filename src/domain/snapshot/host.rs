//! What a host holds beside containers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::domain::{Digest, ImageId, ImageRef, Resolution, Subnet};

/// Images, networks, volumes and disk of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub images: Vec<LocalImage>,
    /// By Docker's names.
    pub networks: BTreeMap<String, HostNetwork>,
    /// Docker's names.
    pub volumes: BTreeSet<String>,
    /// The disk that holds the images; None where it cannot be read from here.
    pub disk: Option<Disk>,
    /// The addresses on which anything on this host listens; None where that
    /// cannot be read from here.
    pub listening: Option<BTreeSet<SocketAddr>>,
}

/// A network of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNetwork {
    /// The addresses that this stack assigns by itself; None where the engine
    /// chooses: on a network that somebody else or an earlier version made.
    pub ours: Option<AddressRange>,
    /// The addresses that containers have, or will have once they start, and the
    /// containers' names. Empty where none are ours to assign.
    pub taken: BTreeMap<IpAddr, String>,
    /// Where its containers reach this host; None where they do not.
    pub gateway: Option<Gateway>,
}

/// This host's own address on a bridge, and the subnet of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gateway {
    pub address: Ipv4Addr,
    pub subnet: Subnet,
}

/// IPv4 addresses, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

impl AddressRange {
    pub fn contains(self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => (self.first..=self.last).contains(address),
            IpAddr::V6(_) => false,
        }
    }

    /// Returns all of them, the lowest first.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let bits = self.first.to_bits()..=self.last.to_bits();
        bits.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalImage {
    pub id: ImageId,
    /// `name:tag`, as Docker lists them.
    pub tags: BTreeSet<String>,
    /// `name@sha256:…`, as Docker lists them; empty for an image that was built
    /// here and never pushed.
    pub digests: BTreeSet<String>,
    /// The digests under which *this stack* pulled it. Read from the tag that
    /// each of our pulls leaves on the image, so it survives the loss of the
    /// store; empty means that it is not ours to remove (S4).
    pub pulled_as: BTreeSet<Digest>,
}

impl LocalImage {
    /// Whether it was built or loaded here under this name, or has lost its name to a
    /// newer build: then no registry ever knew it by another.
    fn may_be_of(&self, image: &ImageRef) -> bool {
        let name = image.familiar_name();
        let is_of = |tag: &String| tag.rsplit_once(':').is_some_and(|(of, _)| of == name);
        self.digests.is_empty() && (self.tags.is_empty() || self.tags.iter().any(is_of))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

impl Disk {
    /// Returns the free share, in whole percent.
    pub fn free_percent(self) -> u8 {
        if self.total_bytes == 0 {
            return 100;
        }
        u8::try_from(u128::from(self.free_bytes) * 100 / u128::from(self.total_bytes))
            .unwrap_or(100)
    }
}

impl Host {
    /// Returns what `image` means on this host, if it is here and needs no
    /// registry to tell: a written digest, a tag of an image built here, or a
    /// tag other than `latest` that somebody pulled.
    pub fn resolve(&self, image: &ImageRef) -> Option<Resolution> {
        if let Some(digest) = image.digest() {
            return self
                .find(image, digest)
                .map(|found| Resolution { digest: digest.clone(), image_id: found.id.clone() });
        }
        let tag = image.familiar_tag()?;
        let local = self.images.iter().find(|local| local.tags.contains(&tag))?;
        let prefix = format!("{}@", image.familiar_name());
        let from_registry = local
            .digests
            .iter()
            .find_map(|digest| digest.strip_prefix(&prefix)?.parse::<Digest>().ok());
        match from_registry {
            // `latest` moves: what it means is the registry's to say.
            Some(_) if image.tag() == Some("latest") => None,
            Some(digest) => Some(Resolution { digest, image_id: local.id.clone() }),
            None => Some(Resolution { digest: local.id.clone(), image_id: local.id.clone() }),
        }
    }

    /// Returns the local image of `image`'s repository with this digest. One that came
    /// from another repository is not it, whatever its id and whoever pulled it: a policy
    /// lets images run by the name of where they are from.
    fn find(&self, image: &ImageRef, digest: &Digest) -> Option<&LocalImage> {
        let from_there = image.familiar_digest(digest);
        let is_it = |local: &&LocalImage| {
            let is_meant = local.id == *digest || local.pulled_as.contains(digest);
            local.digests.contains(&from_there) || is_meant && local.may_be_of(image)
        };
        self.images.iter().find(is_it)
    }

    /// Returns whether the image with this id is here.
    pub fn has_image(&self, id: &ImageId) -> bool {
        self.images.iter().any(|local| local.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: &str) -> Digest {
        format!("sha256:{}", letter.repeat(64)).parse().expect("a digest")
    }

    fn host(tags: &[&str], digests: &[&str], pulled_as: &[Digest]) -> Host {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let pulled_as = pulled_as.iter().cloned().collect();
        let (tags, digests) = (texts(tags), texts(digests));
        let image = LocalImage { id: digest("a"), tags, digests, pulled_as };
        Host { images: vec![image], ..Host::default() }
    }

    fn is_found(host: &Host, name: &str, digest: &Digest) -> bool {
        host.resolve(&format!("{name}@{digest}").parse().expect("an image")).is_some()
    }

    #[test]
    fn an_image_is_of_the_repository_that_it_came_from() {
        let (id, pulled) = (digest("a"), digest("b"));
        let from = format!("evil/app@{pulled}");
        let host = host(&["evil/app:v1"], &[&from], std::slice::from_ref(&pulled));
        assert!(is_found(&host, "evil/app", &pulled));
        for digest in [&id, &pulled] {
            assert!(!is_found(&host, "registry.example.com/shop", digest), "{digest}");
        }
    }

    #[test]
    fn an_image_that_was_built_here_is_found_by_its_id() {
        let id = digest("a");
        assert!(is_found(&host(&["shop/app:v1"], &[], &[]), "shop/app", &id));
        assert!(is_found(&host(&["registry:5000/app:v1"], &[], &[]), "registry:5000/app", &id));
        assert!(is_found(&host(&[], &[], &[]), "shop/app", &id), "a newer build has its tag");
        assert!(!is_found(&host(&["evil/app:v1"], &[], &[]), "shop/app", &id));
    }
}
