//! The format that cosign writes since version 3: a Sigstore bundle with an in-toto
//! statement in a DSSE envelope. Sources: sigstore's `BUNDLE_SPEC.md`, the DSSE
//! protocol (`PAE`), the in-toto statement v1, and what cosign's `sign` puts into it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::domain::SignatureWanted;

use super::{flaw::Flaw, key};

/// What every version of a bundle's media type begins with.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// What a statement has to say for the image to count as signed. Others, of the same
/// signer, attest where an image is from or what is in it.
pub(super) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    /// Missing where something else than a statement is signed.
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    r#type: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: SubjectDigest,
}

#[derive(Default, Deserialize)]
struct SubjectDigest {
    sha256: Option<String>,
}

/// Judges a bundle. Nothing of its statement is read before a signature holds.
pub(super) fn judge(wanted: &SignatureWanted, bundle: &[u8]) -> Result<(), Flaw> {
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|_| Flaw::Damaged)?;
    if !bundle.media_type.starts_with(MEDIA_TYPE) {
        return Err(Flaw::Damaged);
    }
    let envelope = bundle.dsse_envelope.ok_or(Flaw::OtherStatement)?;
    let payload = STANDARD.decode(&envelope.payload).map_err(|_| Flaw::Damaged)?;
    let message = pre_authentication_encoding(&envelope.payload_type, &payload);
    let checked = envelope.signatures.iter().map(|it| key::check(&wanted.keys, &message, &it.sig));
    // One of several will do.
    checked.min().unwrap_or(Err(Flaw::Damaged))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Flaw::OtherStatement);
    }
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|_| Flaw::OtherStatement)?;
    if statement.r#type != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return Err(Flaw::OtherStatement);
    }
    let hex = wanted.image.digest.hex();
    match statement.subject.iter().any(|it| it.digest.sha256.as_deref() == Some(hex)) {
        true => Ok(()),
        false => Err(Flaw::OtherImage),
    }
}

/// Returns what DSSE has signed: type and payload with their lengths, so that neither
/// can be taken for a part of the other.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signature::sample::{Signer, digest, statement, wanted};

    fn judged(bundle: &Value, known: &[&Signer]) -> Result<(), Flaw> {
        judge(&wanted('a', known), bundle.to_string().as_bytes())
    }

    #[test]
    fn a_signature_by_one_of_the_keys_counts() {
        let (ci, old) = (Signer::new(), Signer::new());
        let mut bundle = ci.bundle(&statement(&digest('a')));
        assert_eq!(judged(&bundle, &[&ci]), Ok(()));
        assert_eq!(judged(&bundle, &[&old, &ci]), Ok(()));
        // One of several signatures will do.
        let others = json!([{ "sig": "AAAA" }, bundle["dsseEnvelope"]["signatures"][0]]);
        bundle["dsseEnvelope"]["signatures"] = others;
        assert_eq!(judged(&bundle, &[&ci]), Ok(()));
    }

    #[test]
    fn another_key_or_image_does_not() {
        let (ci, other) = (Signer::new(), Signer::new());
        let of = |digit| statement(&digest(digit));
        assert_eq!(judged(&other.bundle(&of('a')), &[&ci]), Err(Flaw::OtherKey));
        assert_eq!(judged(&ci.bundle(&of('b')), &[&ci]), Err(Flaw::OtherImage));
        let mut nothing = of('a');
        nothing["subject"] = json!([]);
        assert_eq!(judged(&ci.bundle(&nothing), &[&ci]), Err(Flaw::OtherImage));
    }

    #[test]
    fn a_statement_that_was_changed_does_not() {
        let ci = Signer::new();
        let mut bundle = ci.bundle(&statement(&digest('b')));
        let changed = STANDARD.encode(statement(&digest('a')).to_string());
        bundle["dsseEnvelope"]["payload"] = changed.into();
        assert_eq!(judged(&bundle, &[&ci]), Err(Flaw::OtherKey));
    }

    #[test]
    fn the_type_is_signed_too() {
        let ci = Signer::new();
        let mut bundle = ci.bundle(&statement(&digest('a')));
        bundle["dsseEnvelope"]["payloadType"] = "application/json".into();
        assert_eq!(judged(&bundle, &[&ci]), Err(Flaw::OtherKey));
    }

    #[test]
    fn an_attestation_by_the_same_key_does_not() {
        let ci = Signer::new();
        let mut provenance = statement(&digest('a'));
        provenance["predicateType"] = "https://slsa.dev/provenance/v1".into();
        assert_eq!(judged(&ci.bundle(&provenance), &[&ci]), Err(Flaw::OtherStatement));
        let mut other = statement(&digest('a'));
        other["_type"] = "https://example.com/Statement".into();
        assert_eq!(judged(&ci.bundle(&other), &[&ci]), Err(Flaw::OtherStatement));
    }

    #[test]
    fn what_is_cut_short_or_empty_does_not() {
        let ci = Signer::new();
        let mut bundle = ci.bundle(&statement(&digest('a')));
        let text = bundle.to_string();
        for end in 0..text.len() {
            let judged = judge(&wanted('a', &[&ci]), &text.as_bytes()[..end]);
            assert_eq!(judged, Err(Flaw::Damaged), "{end} bytes");
        }
        bundle["dsseEnvelope"]["signatures"] = json!([]);
        assert_eq!(judged(&bundle, &[&ci]), Err(Flaw::Damaged));
        let without = json!({ "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json" });
        assert_eq!(judged(&without, &[&ci]), Err(Flaw::OtherStatement));
        assert_eq!(judged(&json!({ "mediaType": "text/plain" }), &[&ci]), Err(Flaw::Damaged));
    }
}
