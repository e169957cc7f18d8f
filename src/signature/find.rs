//! Where a registry keeps signatures of an image, and whether one of them counts.
//!
//! Every answer is bounded: how much is read of it, and how many signatures are looked
//! at. Whoever may push to the repository can put anything there.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{Digest, SignatureWanted, snapshot::Failure};

use super::{
    bundle,
    flaw::Flaw,
    registry::{Got, Registry, exactly},
    simple_signing,
};

/// The most signatures of one image that are looked at, in each format.
const MAX_SIGNATURES: usize = 100;

/// The most parts of a list of referrers that are read.
const MAX_PAGES: usize = 10;

/// What says which predicate a bundle's statement has, where the list tells.
const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

/// What some tools write in place of a missing artifact type.
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// What looking in one format came to.
pub(super) enum Found {
    Signed,
    /// Everything that is there, and why it does not count.
    Unsigned(Vec<Flaw>),
}

/// A manifest or an index, as far as signatures are concerned.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Manifest {
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    artifact_type: Option<String>,
    digest: String,
    annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    fn digest(&self) -> Result<Digest, Flaw> {
        self.digest.parse().map_err(|_| Flaw::Damaged)
    }

    fn annotation(&self, name: &str) -> Option<&String> {
        self.annotations.as_ref()?.get(name)
    }
}

/// Looks at the `.sig` tag.
pub(super) async fn simple(
    registry: &Registry<'_>,
    wanted: &SignatureWanted,
) -> Result<Found, Failure> {
    let tag = format!("sha256-{}.sig", wanted.image.digest.hex());
    let mut flaws = Vec::new();
    let manifest = match registry.manifest(&tag).await? {
        Got::Absent => return Ok(Found::Unsigned(flaws)),
        Got::TooLong => return Ok(Found::Unsigned(vec![Flaw::Damaged])),
        Got::Bytes { bytes, .. } => serde_json::from_slice::<Manifest>(&bytes),
    };
    let Ok(manifest) = manifest else { return Ok(Found::Unsigned(vec![Flaw::Damaged])) };
    let payloads = manifest.layers.iter().filter(|it| it.media_type == simple_signing::MEDIA_TYPE);
    for layer in payloads.take(MAX_SIGNATURES) {
        match judge_layer(registry, wanted, layer).await? {
            Ok(()) => return Ok(Found::Signed),
            Err(flaw) => flaws.push(flaw),
        }
    }
    Ok(Found::Unsigned(flaws))
}

async fn judge_layer(
    registry: &Registry<'_>,
    wanted: &SignatureWanted,
    layer: &Descriptor,
) -> Result<Result<(), Flaw>, Failure> {
    let Some(signature) = layer.annotation(simple_signing::SIGNATURE) else {
        return Ok(Err(Flaw::Damaged));
    };
    let payload = match layer.digest() {
        Ok(digest) => registry.blob(&digest).await?,
        Err(flaw) => Err(flaw),
    };
    Ok(payload.and_then(|payload| simple_signing::judge(wanted, &payload, signature)))
}

/// Looks at the bundles that refer to the image.
pub(super) async fn bundles(
    registry: &Registry<'_>,
    wanted: &SignatureWanted,
) -> Result<Found, Failure> {
    let mut flaws = Vec::new();
    for referrer in referrers(registry, &wanted.image.digest).await?.iter().take(MAX_SIGNATURES) {
        match judge_referrer(registry, wanted, referrer).await? {
            Ok(()) => return Ok(Found::Signed),
            Err(flaw) => flaws.push(flaw),
        }
    }
    Ok(Found::Unsigned(flaws))
}

/// Returns the manifests that refer to an image and may hold a bundle: from the
/// referrers API, else from the tag that clients keep where there is none.
async fn referrers(registry: &Registry<'_>, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
    let mut found = Vec::new();
    let mut page = registry.referrers(digest).await?;
    if let Got::Absent = page {
        page = registry.manifest(&format!("sha256-{}", digest.hex())).await?;
    }
    for _ in 0..MAX_PAGES {
        let Got::Bytes { bytes, next } = page else { break };
        let index: Manifest = serde_json::from_slice(&bytes).unwrap_or_default();
        found.extend(index.manifests.into_iter().filter(may_hold_a_bundle));
        let Some(next) = next else { break };
        page = registry.next(&next).await?;
    }
    Ok(found)
}

/// cosign's own entries under the tag lack their annotations (sigstore/cosign#4641): what
/// is not said is looked at.
fn may_hold_a_bundle(referrer: &Descriptor) -> bool {
    let is_said_to_be_other = match referrer.artifact_type.as_deref() {
        None | Some("" | EMPTY_CONFIG) => false,
        Some(kind) => !kind.starts_with(bundle::MEDIA_TYPE),
    };
    let predicate = referrer.annotation(PREDICATE_ANNOTATION);
    !is_said_to_be_other && predicate.is_none_or(|predicate| predicate == bundle::PREDICATE_TYPE)
}

async fn judge_referrer(
    registry: &Registry<'_>,
    wanted: &SignatureWanted,
    referrer: &Descriptor,
) -> Result<Result<(), Flaw>, Failure> {
    let Ok(digest) = referrer.digest() else { return Ok(Err(Flaw::Damaged)) };
    let manifest = exactly(registry.manifest(digest.as_str()).await?, &digest);
    let manifest = manifest
        .and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).map_err(|_| Flaw::Damaged));
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(flaw) => return Ok(Err(flaw)),
    };
    let layer = manifest.layers.iter().find(|it| it.media_type.starts_with(bundle::MEDIA_TYPE));
    let Some(layer) = layer else { return Ok(Err(Flaw::OtherStatement)) };
    let held = match layer.digest() {
        Ok(digest) => registry.blob(&digest).await?,
        Err(flaw) => Err(flaw),
    };
    Ok(held.and_then(|bytes| bundle::judge(wanted, &bytes)))
}
