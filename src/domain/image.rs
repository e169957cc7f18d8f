//! Image references, and what they were resolved to.
//!
//! Grammar and normalisation follow the `distribution/reference` specification
//! that Docker itself uses: no registry means `docker.io`, no tag and no digest
//! means `latest`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The registry that a reference without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// A content digest, `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// Returns the first twelve digits, as Docker shows ids.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Digest {
    type Err = BadImage;

    fn from_str(text: &str) -> Result<Digest, BadImage> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| BadImage::Digest(text.to_owned()))?;
        let lower_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if hex.len() != 64 || !hex.chars().all(lower_hex) {
            return Err(BadImage::Digest(text.to_owned()));
        }
        Ok(Digest(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = BadImage;

    fn try_from(text: String) -> Result<Digest, BadImage> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

/// The id of an image on this engine (the digest of its configuration). With
/// Docker's classic image store it differs from the registry's digest.
pub type ImageId = Digest;

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    #[error("an image reference cannot be empty")]
    Empty,
    #[error("`{0}` is not a digest: it must be `sha256:` and 64 lower-case hexadecimal digits")]
    Digest(String),
    #[error(
        "`{0}` is not a tag: at most 128 of letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    Tag(String),
    #[error(
        "`{0}` is not a repository: lower-case letters and digits, joined by `.`, `_`, `__`, `-` or `/`"
    )]
    Repository(String),
    #[error("`{0}` is not a registry: a host name, with `:port` if it has one")]
    Registry(String),
}

/// A reference to an image as the file writes it, parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    written: String,
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageRef {
    /// Returns the reference exactly as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Returns the registry's host and port, `docker.io` if none was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the full repository with its registry, as `docker pull` takes
    /// it: `docker.io/library/postgres`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the repository as Docker lists it: Docker Hub and its `library/`
    /// are left out (`postgres`, `qdrant/qdrant`, `ghcr.io/a/b`).
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return self.name();
        }
        self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned()
    }

    /// Returns the tag; `latest` if neither a tag nor a digest was written.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// Returns the digest that was written with the reference.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns `name:tag` as Docker lists a tag, if there is a tag.
    pub fn familiar_tag(&self) -> Option<String> {
        self.tag().map(|tag| format!("{}:{tag}", self.familiar_name()))
    }

    /// Returns `name@digest` as Docker lists a digest.
    pub fn familiar_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.familiar_name())
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

impl TryFrom<String> for ImageRef {
    type Error = BadImage;

    fn try_from(text: String) -> Result<ImageRef, BadImage> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> String {
        image.written
    }
}

impl FromStr for ImageRef {
    type Err = BadImage;

    fn from_str(text: &str) -> Result<ImageRef, BadImage> {
        if text.is_empty() {
            return Err(BadImage::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; before it, a port.
        let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[path_start..].split_once(':') {
            Some((last, tag)) => (&rest[..path_start + last.len()], Some(tag.to_owned())),
            None => (rest, None),
        };
        if let Some(tag) = &tag
            && !is_tag(tag)
        {
            return Err(BadImage::Tag(tag.clone()));
        }
        let (registry, repository) = split_registry(name)?;
        if repository.is_empty() || !repository.split('/').all(is_repository_part) {
            return Err(BadImage::Repository(name.to_owned()));
        }
        Ok(ImageRef { written: text.to_owned(), registry, repository, tag, digest })
    }
}

fn split_registry(name: &str) -> Result<(String, String), BadImage> {
    // Docker's own rule: the first part is a registry only if it looks like one.
    let first_is_registry = |first: &str| first.contains(['.', ':']) || first == "localhost";
    match name.split_once('/') {
        Some((first, rest)) if first_is_registry(first) => {
            let (host, port) = first.split_once(':').map_or((first, None), |(h, p)| (h, Some(p)));
            let host_is_fine = !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
            let port_is_fine = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p != 0));
            if !host_is_fine || !port_is_fine {
                return Err(BadImage::Registry(first.to_owned()));
            }
            let registry = if first == "index.docker.io" { DOCKER_HUB } else { first };
            Ok((registry.to_owned(), with_library(registry, rest)))
        }
        Some(_) | None => Ok((DOCKER_HUB.to_owned(), with_library(DOCKER_HUB, name))),
    }
}

fn with_library(registry: &str, repository: &str) -> String {
    if registry == DOCKER_HUB && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    }
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_repository_part(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_are_fine = part.split(alphanumeric).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-')
    });
    part.starts_with(alphanumeric) && part.ends_with(alphanumeric) && separators_are_fine
}

/// What an image reference means on this host: resolved once, then kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The registry's digest; for an image that no registry knows, its own id.
    pub digest: Digest,
    /// The image's id on this engine: what a container of it must show.
    pub image_id: ImageId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageRef {
        text.parse().expect("a valid reference")
    }

    #[test]
    fn short_names_mean_docker_hub() {
        let image = parse("postgres:15-alpine");
        assert_eq!(image.name(), "docker.io/library/postgres");
        assert_eq!(image.familiar_tag().as_deref(), Some("postgres:15-alpine"));
        assert_eq!(parse("qdrant/qdrant").tag(), Some("latest"));
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let image = parse("127.0.0.1:5000/app");
        assert_eq!((image.registry(), image.tag()), ("127.0.0.1:5000", Some("latest")));
        assert_eq!(parse("localhost:5000/a/b:1").familiar_name(), "localhost:5000/a/b");
    }

    #[test]
    fn a_digest_wins_over_no_tag() {
        let hex = "a".repeat(64);
        let image = parse(&format!("ghcr.io/a/b@sha256:{hex}"));
        assert_eq!(image.tag(), None);
        assert_eq!(image.digest().map(Digest::short), Some("aaaaaaaaaaaa"));
    }

    #[test]
    fn bad_references_say_which_part() {
        for bad in ["", "Postgres", "a//b", "a:b:c", "a@sha256:12", "a:-x", "/a", "host:0/a", "a b"]
        {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?} was accepted");
        }
    }
}
