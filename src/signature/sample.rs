//! Signatures as cosign makes them, by keys of the tests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use crate::domain::{Digest, SignatureWanted, signature::SigningKey};

/// Whoever signs.
pub struct Signer(EcdsaKeyPair);

impl Signer {
    pub fn new() -> Signer {
        let (kind, chance) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(kind, &chance).expect("chance");
        Signer(EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &chance).expect("a key pair"))
    }

    pub fn public_key(&self) -> SigningKey {
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend_from_slice(self.0.public_key().as_ref());
        let body = STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        SigningKey::from_pem("ci.pub", &pem).expect("a public key")
    }

    pub fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), message).expect("it signs"))
    }

    /// Returns a bundle of cosign 3 around a statement.
    pub fn bundle(&self, statement: &Value) -> Value {
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "x" }, "tlogEntries": [] },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{ "sig": self.sign(message.as_bytes()) }],
            },
        })
    }
}

/// Returns the digest of 64 times this digit.
pub fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().expect("a digest")
}

/// Returns what asks whether one of these has signed the image with this digest.
pub fn wanted(digit: char, signers: &[&Signer]) -> SignatureWanted {
    let keys: Vec<SigningKey> = signers.iter().map(|signer| signer.public_key()).collect();
    let rule =
        crate::domain::signature::SignatureRule { images: "*".parse().expect("a prefix"), keys };
    let image = "r.example/shop/web:1".parse().expect("an image");
    SignatureWanted::by(&[rule], &image, &digest(digit)).expect("it is wanted")
}

pub fn payload(digest: &Digest) -> Value {
    json!({
        "critical": {
            "identity": { "docker-reference": "r.example/shop/web" },
            "image": { "docker-manifest-digest": digest.as_str() },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
}

pub fn statement(digest: &Digest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest.hex() }, "annotations": {} }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}
