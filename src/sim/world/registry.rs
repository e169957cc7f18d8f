//! The registry, the images on the host, and the pulls between them.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::domain::{
    Digest, ImageId, ImageRef, Resolution,
    snapshot::{Disk, Failure, FailureKind, LocalImage},
};

use super::{behaviour::Behaviour, gates::GateFate};

/// What the registry answers to a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    Present,
    /// No such tag.
    Missing,
    /// No or wrong credentials.
    Denied,
    /// This many pulls fail half-way, then it works.
    Flaky(u32),
    /// The registry asks to come back this many times, each time later.
    RateLimited(u32),
    /// It was built on this host and no registry knows it.
    LocalOnly,
}

/// What the registry has of a version's signature; nobody asks where it need not be
/// signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFate {
    Signed,
    Unsigned,
    /// This many looks fail, then it is found.
    SignedAfter(u32),
}

/// One version of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub image: ImageRef,
    pub behaviour: Behaviour,
    pub shelf: Shelf,
    /// How long a pull takes, in milliseconds.
    pub pull_time: i64,
    /// How its gates' measurements come out.
    pub gates: GateFate,
    /// The code with which its jobs end.
    pub job_code: i64,
    pub signature: SignatureFate,
}

impl Version {
    /// Returns what the registry calls it; for an image built here, its own id.
    pub fn digest(&self) -> Digest {
        match self.shelf {
            Shelf::LocalOnly => self.image_id(),
            Shelf::Present
            | Shelf::Missing
            | Shelf::Denied
            | Shelf::Flaky(_)
            | Shelf::RateLimited(_) => digest_of("manifest", &self.image),
        }
    }

    pub fn image_id(&self) -> ImageId {
        digest_of("config", &self.image)
    }

    /// Returns whether a container of it gets so far as to write a log.
    pub fn can_log(&self) -> bool {
        let is_here = !matches!(self.shelf, Shelf::Missing | Shelf::Denied);
        let is_let_in = self.signature != SignatureFate::Unsigned;
        is_here && is_let_in && self.behaviour != Behaviour::CannotStart
    }

    pub fn resolution(&self) -> Resolution {
        Resolution { digest: self.digest(), image_id: self.image_id() }
    }
}

fn digest_of(kind: &str, image: &ImageRef) -> Digest {
    let hash = Sha256::digest(format!("{kind} {image}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().expect("64 hexadecimal digits")
}

#[derive(Clone, Debug)]
struct Pull {
    image: ImageRef,
    ends_at: i64,
}

/// How a pull that reached its end came out.
pub struct EndedPull {
    pub image: ImageRef,
    pub result: Result<Resolution, Failure>,
}

#[derive(Clone, Debug)]
pub struct Registry {
    /// By what the file calls them.
    versions: BTreeMap<ImageRef, Version>,
    local: BTreeMap<ImageId, LocalImage>,
    pulling: Vec<Pull>,
    ended: Vec<(ImageRef, Result<Resolution, Failure>)>,
    pub disk: Disk,
    pub down_until: i64,
}

impl Registry {
    pub fn new(catalog: &[Version]) -> Registry {
        let versions = catalog.iter().map(|v| (v.image.clone(), v.clone())).collect();
        let built_here = catalog.iter().filter(|version| version.shelf == Shelf::LocalOnly);
        let local = built_here.map(|version| {
            let tags = version.image.familiar_tag().into_iter().collect();
            let image = LocalImage {
                id: version.image_id(),
                tags,
                digests: BTreeSet::new(),
                pulled_as: BTreeSet::new(),
            };
            (image.id.clone(), image)
        });
        Registry {
            versions,
            local: local.collect(),
            pulling: Vec::new(),
            ended: Vec::new(),
            disk: Disk { total_bytes: 100, free_bytes: 60 },
            down_until: 0,
        }
    }

    pub fn version_of(&self, id: &ImageId) -> Option<&Version> {
        self.versions.values().find(|version| version.image_id() == *id)
    }

    pub fn version(&self, image: &ImageRef) -> Option<&Version> {
        self.versions.get(image)
    }

    pub fn local_images(&self) -> Vec<LocalImage> {
        self.local.values().cloned().collect()
    }

    pub fn local(&self, id: &ImageId) -> Option<&LocalImage> {
        self.local.get(id)
    }

    pub fn begin_pull(&mut self, image: &ImageRef, now: i64) {
        if self.pulling.iter().any(|pull| pull.image == *image) {
            return;
        }
        let time = self.find(image).map_or(40, |version| version.pull_time);
        self.pulling.push(Pull { image: image.clone(), ends_at: now + time });
    }

    /// Returns the pulls in flight.
    pub fn pulls(&self) -> BTreeMap<ImageRef, Option<u8>> {
        self.pulling.iter().map(|pull| (pull.image.clone(), None)).collect()
    }

    pub fn take_ended(&mut self) -> Vec<(ImageRef, Result<Resolution, Failure>)> {
        std::mem::take(&mut self.ended)
    }

    /// Forgets the pulls of a controller that died: killing the client cancels
    /// the pull and discards its layers.
    pub fn cancel_pulls(&mut self) -> usize {
        let cut = self.pulling.len();
        self.pulling.clear();
        self.ended.clear();
        cut
    }

    pub fn next_event(&self) -> Option<i64> {
        self.pulling.iter().map(|pull| pull.ends_at).min()
    }

    /// Ends the pulls that are due, and tells how.
    pub fn advance(&mut self, now: i64) -> Vec<EndedPull> {
        let (due, pulling) = std::mem::take(&mut self.pulling)
            .into_iter()
            .partition(|pull: &Pull| pull.ends_at <= now);
        self.pulling = pulling;
        let mut ended = Vec::new();
        for pull in due {
            let result = self.finish(&pull.image, now);
            self.ended.push((pull.image.clone(), result.clone()));
            ended.push(EndedPull { image: pull.image, result });
        }
        ended
    }

    fn finish(&mut self, image: &ImageRef, now: i64) -> Result<Resolution, Failure> {
        let fail = |kind, message: &str| Err(Failure { kind, message: message.to_owned() });
        if now < self.down_until {
            return fail(FailureKind::Transient, "connection refused");
        }
        let Some(version) = self.find(image) else {
            return fail(FailureKind::Refused, "manifest unknown");
        };
        let key = version.image.clone();
        let version = self.versions.get_mut(&key).expect("it was found under this key");
        match &mut version.shelf {
            Shelf::Missing | Shelf::LocalOnly => {
                return fail(FailureKind::Refused, "manifest unknown");
            }
            Shelf::Denied => return fail(FailureKind::Refused, "unauthorized"),
            Shelf::Flaky(left) if *left > 0 => {
                *left -= 1;
                return fail(FailureKind::Transient, "unexpected EOF");
            }
            Shelf::RateLimited(left) if *left > 0 => {
                *left -= 1;
                let retry_after = Some(std::time::Duration::from_secs(3));
                return fail(FailureKind::RateLimited { retry_after }, "toomanyrequests");
            }
            Shelf::Present | Shelf::Flaky(_) | Shelf::RateLimited(_) => {}
        }
        let resolution = version.resolution();
        let local = self.local.entry(resolution.image_id.clone()).or_insert_with(|| LocalImage {
            id: resolution.image_id.clone(),
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            pulled_as: BTreeSet::new(),
        });
        local.digests.insert(key.familiar_digest(&resolution.digest));
        local.pulled_as.insert(resolution.digest.clone());
        local.tags.insert(format!("pulled-by-us:{}", resolution.digest.short()));
        Ok(resolution)
    }

    /// Finds a version by tag, or by the digest it was pinned to.
    fn find(&self, image: &ImageRef) -> Option<&Version> {
        self.versions.get(image).or_else(|| {
            let digest = image.digest()?;
            self.versions.values().find(|v| v.digest() == *digest && v.image.name() == image.name())
        })
    }

    /// Looks whether what the digest names is signed.
    pub fn look_for_signature(&mut self, digest: &Digest, now: i64) -> Result<(), Failure> {
        let fail = |kind, message: &str| Err(Failure { kind, message: message.to_owned() });
        if now < self.down_until {
            return fail(FailureKind::Transient, "connection refused");
        }
        let version = self.versions.values_mut().find(|version| version.digest() == *digest);
        match version.map(|version| &mut version.signature) {
            Some(SignatureFate::SignedAfter(left)) if *left > 0 => {
                *left -= 1;
                fail(FailureKind::Transient, "unexpected EOF")
            }
            Some(SignatureFate::Signed | SignatureFate::SignedAfter(_)) => Ok(()),
            Some(SignatureFate::Unsigned) | None => fail(FailureKind::Refused, "not signed"),
        }
    }

    /// Takes our mark of `digest` off, and the image with it if `in_use` is none.
    pub fn remove_mark(&mut self, id: &ImageId, digest: &Digest, users: usize) {
        let Some(image) = self.local.get_mut(id) else { return };
        image.pulled_as.remove(digest);
        image.tags.remove(&format!("pulled-by-us:{}", digest.short()));
        if image.tags.is_empty() && users == 0 {
            self.local.remove(id);
        }
    }
}
