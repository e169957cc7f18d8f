//! The format that cosign wrote until version 3: a payload in JSON, and the signature
//! over its bytes in an annotation beside it. Sources: cosign's `SIGNATURE_SPEC.md`, and
//! containers/image's `containers-signature(5)` for the payload.

use serde::Deserialize;

use crate::domain::SignatureWanted;

use super::{flaw::Flaw, key};

/// What kind of a layer holds a payload.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of a layer that holds its signature.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What the payload says that it is.
const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: String,
}

/// Judges a payload and its signature in Base64. Nothing of the payload is read before
/// the signature holds.
pub(super) fn judge(wanted: &SignatureWanted, payload: &[u8], signature: &str) -> Result<(), Flaw> {
    key::check(&wanted.keys, payload, signature)?;
    let payload: Payload = serde_json::from_slice(payload).map_err(|_| Flaw::OtherStatement)?;
    if payload.critical.r#type != TYPE {
        return Err(Flaw::OtherStatement);
    }
    match payload.critical.image.docker_manifest_digest == wanted.image.digest.as_str() {
        true => Ok(()),
        false => Err(Flaw::OtherImage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::sample::{Signer, digest, payload, wanted};

    /// Returns how a payload is judged that `signer` signed.
    fn judged(payload: &[u8], signer: &Signer, known: &[&Signer]) -> Result<(), Flaw> {
        judge(&wanted('a', known), payload, &signer.sign(payload))
    }

    #[test]
    fn a_signature_by_one_of_the_keys_counts() {
        let (ci, old) = (Signer::new(), Signer::new());
        let payload = payload(&digest('a')).to_string();
        assert_eq!(judged(payload.as_bytes(), &ci, &[&ci]), Ok(()));
        assert_eq!(judged(payload.as_bytes(), &ci, &[&old, &ci]), Ok(()));
        // Space, as some tools put around it, is no part of it.
        let signature = format!("{}\n", ci.sign(payload.as_bytes()));
        assert_eq!(judge(&wanted('a', &[&ci]), payload.as_bytes(), &signature), Ok(()));
    }

    #[test]
    fn a_signature_by_another_key_does_not() {
        let (ci, other) = (Signer::new(), Signer::new());
        let payload = payload(&digest('a')).to_string();
        assert_eq!(judged(payload.as_bytes(), &other, &[&ci]), Err(Flaw::OtherKey));
    }

    #[test]
    fn a_signature_of_another_image_does_not() {
        let ci = Signer::new();
        let payload = payload(&digest('b')).to_string();
        assert_eq!(judged(payload.as_bytes(), &ci, &[&ci]), Err(Flaw::OtherImage));
    }

    #[test]
    fn a_payload_that_was_changed_does_not() {
        let ci = Signer::new();
        let signature = ci.sign(payload(&digest('b')).to_string().as_bytes());
        let changed = payload(&digest('a')).to_string();
        let judged = judge(&wanted('a', &[&ci]), changed.as_bytes(), &signature);
        assert_eq!(judged, Err(Flaw::OtherKey));
    }

    #[test]
    fn what_is_cut_short_does_not() {
        let ci = Signer::new();
        let payload = payload(&digest('a')).to_string();
        let signature = ci.sign(payload.as_bytes());
        let wanted = wanted('a', &[&ci]);
        for end in 0..payload.len() {
            let cut = &payload.as_bytes()[..end];
            assert_eq!(judge(&wanted, cut, &signature), Err(Flaw::OtherKey), "{end} bytes");
        }
        for end in 0..signature.len() {
            assert!(judge(&wanted, payload.as_bytes(), &signature[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn another_statement_by_the_same_key_does_not() {
        let ci = Signer::new();
        let mut other = payload(&digest('a'));
        other["critical"]["type"] = "atomic container signature".into();
        let judged = |text: &str| judged(text.as_bytes(), &ci, &[&ci]);
        assert_eq!(judged(&other.to_string()), Err(Flaw::OtherStatement));
        assert_eq!(judged("{}"), Err(Flaw::OtherStatement));
        assert_eq!(judged("no JSON"), Err(Flaw::OtherStatement));
    }
}
