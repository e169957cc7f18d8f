//! Signs as cosign does with a key, in both of its published formats, and pushes what
//! that makes. Made of the specifications: cosign itself cannot be had here.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::registry::Registry;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What `cosign generate-key-pair` makes.
pub struct Signer(EcdsaKeyPair);

impl Default for Signer {
    fn default() -> Signer {
        let (kind, chance) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(kind, &chance).expect("chance");
        Signer(EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &chance).expect("a key pair"))
    }
}

impl Signer {
    /// Returns the public key as `cosign.pub` holds it.
    pub fn pem(&self) -> String {
        let mut der = vec![0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d];
        der.extend([0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
        der.extend([0x03, 0x42, 0x00]);
        der.extend(self.0.public_key().as_ref());
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem + "-----END PUBLIC KEY-----\n"
    }

    fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), message).expect("it signs"))
    }

    /// Signs the image with this digest as cosign did until version 3: under a `.sig` tag.
    pub fn sign_simply(&self, registry: &Registry, repository: &str, digest: &str) {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": format!("{}/{repository}", registry.host()) },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = self.sign(&payload);
        push_simply(registry, repository, digest, &payload, &signature);
    }

    /// Signs the image with this digest as cosign 3 does: a bundle that refers to it, under
    /// the tag that lists what refers where a registry cannot.
    pub fn sign_in_a_bundle(&self, registry: &Registry, repository: &str, digest: &str) {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": hex(digest) }, "annotations": {} }],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        });
        let bundle = self.bundle(&statement);
        let referrer = push_bundle(registry, repository, digest, &bundle);
        list_referrers(registry, repository, digest, &[referrer]);
    }

    /// Returns a bundle around a statement.
    pub fn bundle(&self, statement: &Value) -> Value {
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "x" }, "tlogEntries": [] },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{ "sig": self.sign(message.as_bytes()) }],
            },
        })
    }
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").expect("a digest")
}

/// Pushes a payload and its signature in Base64 under the image's `.sig` tag.
pub fn push_simply(
    registry: &Registry,
    repository: &str,
    digest: &str,
    payload: &[u8],
    signature: &str,
) {
    let layer = registry.put_blob(repository, payload);
    let config = registry.put_blob(repository, b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": layer,
            "size": payload.len(),
            "annotations": { "dev.cosignproject.cosign/signature": signature },
        }],
    });
    let tag = format!("sha256-{}.sig", hex(digest));
    registry.put_manifest(repository, &tag, OCI_MANIFEST, &manifest);
}

/// Pushes a bundle that refers to an image, and returns how an index lists it: without
/// annotations, as cosign does where there is no referrers API.
pub fn push_bundle(registry: &Registry, repository: &str, digest: &str, bundle: &Value) -> Value {
    let bytes = bundle.to_string().into_bytes();
    let layer = registry.put_blob(repository, &bytes);
    let config = registry.put_blob(repository, b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": BUNDLE, "digest": layer, "size": bytes.len() }],
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
        },
        "subject": { "mediaType": OCI_MANIFEST, "digest": digest, "size": 1 },
    });
    let (own, size) = registry.put_by_digest(repository, OCI_MANIFEST, &manifest);
    json!({ "mediaType": OCI_MANIFEST, "digest": own, "size": size, "artifactType": BUNDLE })
}

/// Writes the tag that lists what refers to an image.
pub fn list_referrers(registry: &Registry, repository: &str, digest: &str, listed: &[Value]) {
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed });
    let tag = format!("sha256-{}", hex(digest));
    registry.put_manifest(repository, &tag, OCI_INDEX, &index);
}
