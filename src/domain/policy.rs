//! What a host lets run, whatever the desired state says.
//!
//! The policy is a file of the host and not of the repository: whoever may commit a
//! desired state cannot also widen what it may ask for. A rule that is not written is
//! off. Read by [`super::manifest::parse_policy`].

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ImageRef, image::DOCKER_HUB, signature::SignatureRule};

/// The rules of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// What reports call the file.
    pub file: String,
    /// What images must come from; None lets every registry.
    pub allowed_images: Option<Vec<ImagePrefix>>,
    pub digest: DigestRule,
    pub signatures: Vec<SignatureRule>,
    pub containers: ContainerRules,
    /// The files that were read beside the policy itself.
    pub key_files: Vec<PathBuf>,
}

/// Whether an image must be named by its digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestRule {
    #[default]
    Optional,
    Required,
}

/// Whether something is allowed at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    #[default]
    Allowed,
    Forbidden,
}

/// What containers may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerRules {
    /// What of the host may be mounted; None lets everything.
    pub bind_mounts: Option<Vec<AllowedMount>>,
    pub docker_socket: Permission,
    pub host_network: Permission,
    /// The capabilities that may be added, without `CAP_`; None lets all of them.
    pub cap_add: Option<BTreeSet<String>>,
    /// The texts that `security_opt:` may hold; None lets all of them.
    pub security_opt: Option<BTreeSet<String>>,
}

/// A folder or file of the host, with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedMount {
    pub place: MountPlace,
    pub access: MountAccess,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountPlace {
    /// Absolute, without `.` and `..`.
    Path(PathBuf),
    /// The folder of the desired-state file itself, wherever that is.
    BesideTheFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountAccess {
    ReadWrite,
    ReadOnly,
}

/// Images by the beginning of their name: a registry, or a part of its repositories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImagePrefix {
    Everything,
    Below {
        registry: String,
        /// Whole parts of a repository's name; empty for all of the registry.
        repository: String,
    },
}

/// Why a text is not the beginning of images' names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    #[error("`{0}` names no registry")]
    NoRegistry(String),
    #[error("`{0}` is not a registry, with the beginning of a repository if it has one")]
    NotAPrefix(String),
}

impl ImagePrefix {
    /// Returns whether the image is one of these.
    pub fn holds(&self, image: &ImageRef) -> bool {
        let ImagePrefix::Below { registry, repository } = self else { return true };
        let name = image.name();
        let (_, own) = name.split_once('/').unwrap_or((&name, ""));
        let below = || own.strip_prefix(repository.as_str());
        *registry == one_name(image.registry())
            && (repository.is_empty()
                || below().is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Returns how closely an image is named by this: of two, the greater one counts.
    pub fn closeness(&self) -> usize {
        match self {
            ImagePrefix::Everything => 0,
            ImagePrefix::Below { registry, repository } => registry.len() + 1 + repository.len(),
        }
    }
}

/// Returns the one name of a registry that has several: written otherwise it is no
/// other registry.
fn one_name(registry: &str) -> String {
    const HUB: [&str; 4] =
        [DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
    let lower = registry.to_ascii_lowercase();
    let (host, port) = lower.split_once(':').map_or((&*lower, None), |(h, p)| (h, Some(p)));
    let host = host.trim_end_matches('.');
    // As many zeros as one likes make no other port.
    let port = port.map(|port| port.trim_start_matches('0')).filter(|port| *port != "443");
    match port {
        None if HUB.contains(&host) => DOCKER_HUB.to_owned(),
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}

impl FromStr for ImagePrefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<ImagePrefix, BadPrefix> {
        if text == "*" {
            return Ok(ImagePrefix::Everything);
        }
        let (registry, repository) = text.split_once('/').unwrap_or((text, ""));
        let repository = repository.strip_suffix('/').unwrap_or(repository);
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return Err(BadPrefix::NoRegistry(text.to_owned()));
        }
        // Whatever follows must be able to be the beginning of a reference.
        let whole =
            format!("{registry}/{repository}{}x", if repository.is_empty() { "" } else { "/" });
        let is_a_name = whole
            .parse::<ImageRef>()
            .is_ok_and(|image| image.digest().is_none() && !repository.contains([':', '@']));
        if !is_a_name {
            return Err(BadPrefix::NotAPrefix(text.to_owned()));
        }
        Ok(ImagePrefix::Below { registry: one_name(registry), repository: repository.to_owned() })
    }
}

impl TryFrom<String> for ImagePrefix {
    type Error = BadPrefix;

    fn try_from(text: String) -> Result<ImagePrefix, BadPrefix> {
        text.parse()
    }
}

impl From<ImagePrefix> for String {
    fn from(prefix: ImagePrefix) -> String {
        prefix.to_string()
    }
}

impl fmt::Display for ImagePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImagePrefix::Everything => f.pad("*"),
            ImagePrefix::Below { registry, repository } if repository.is_empty() => f.pad(registry),
            ImagePrefix::Below { registry, repository } => write!(f, "{registry}/{repository}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(prefix: &str, image: &str) -> bool {
        let prefix: ImagePrefix = prefix.parse().expect("a prefix");
        assert_eq!(prefix.to_string().parse(), Ok(prefix.clone()), "what is shown reads back");
        prefix.holds(&image.parse().expect("an image"))
    }

    #[test]
    fn a_prefix_holds_whole_parts_of_names() {
        assert!(holds("r.example", "r.example/a/b:1"));
        assert!(holds("r.example/a", "r.example/a:1"));
        assert!(holds("r.example/a/", "r.example/a/b"));
        assert!(!holds("r.example/a", "r.example/ab"));
        assert!(!holds("r.example", "evil.r.example/a"));
        assert!(!holds("r.example", "r.example.evil/a"));
        assert!(holds("docker.io/library", "postgres:15"));
        assert!(!holds("docker.io/library", "qdrant/qdrant"));
        assert!(holds("localhost:5000", "localhost:5000/a"));
        assert!(holds("*", "anything"));
    }

    #[test]
    fn another_spelling_is_no_other_registry() {
        for image in ["R.Example/a", "r.example:443/a", "r.example./a", "r.example:0443/a"] {
            assert!(holds("r.example", image), "{image} got past");
        }
        assert!(holds("docker.io", "registry-1.docker.io/library/redis"));
        assert!(holds("r.example:443", "r.example/a"));
        assert!(!holds("r.example", "r.example:8443/a"));
    }

    #[test]
    fn what_is_no_beginning_of_a_name_is_refused() {
        for bad in
            ["", "postgres", "r.example/a:1", "r.example/A", "r.example//a", "https://r.example"]
        {
            assert!(bad.parse::<ImagePrefix>().is_err(), "{bad:?} was accepted");
        }
    }
}
