//! Signatures: which images must carry one, by whose keys, and what was learned.
//!
//! A host's policy says it ([`super::policy`]), the stack carries it to the plan, and
//! the memory holds what a look at the registry has shown. What a signature is made of
//! is the verifier's alone.

use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{Digest, Fingerprint, ImageRef, policy::ImagePrefix};

/// What every P-256 public key in SubjectPublicKeyInfo form begins with (RFC 5480):
/// the algorithm, the curve, and the head of an uncompressed point.
const P256_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// Bytes of both coordinates of a point.
const P256_COORDINATES: usize = 64;

/// Other kinds of keys that people have, by their algorithm's identifier.
const OTHER_KINDS: [(&[u8], &str); 4] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "an RSA key"),
    (&[0x06, 0x03, 0x2b, 0x65, 0x70], "an Ed25519 key"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], "a key on the curve P-384"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "a key on the curve P-521"),
];

/// A public key that signs images: ECDSA on the curve P-256, as `cosign
/// generate-key-pair` makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// What the policy calls it: its file, or where it stands.
    pub name: String,
    /// Its SubjectPublicKeyInfo, in Base64.
    spki: String,
}

/// Why a text is not a key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("there is no `-----BEGIN PUBLIC KEY-----`")]
    NoPem,
    #[error("this is a private key, which belongs to whoever signs and to nobody else")]
    Private,
    #[error("the key is not whole: what stands between BEGIN and END is not Base64 of a key")]
    NotWhole,
    #[error("this is {0}; only ECDSA keys on the curve P-256 are used")]
    OtherKind(&'static str),
}

impl SigningKey {
    /// Reads a key in PEM form (RFC 7468).
    ///
    /// # Errors
    ///
    /// Fails if the text holds no public key, or one of another kind.
    pub fn from_pem(name: &str, text: &str) -> Result<SigningKey, BadKey> {
        const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
        const END: &str = "-----END PUBLIC KEY-----";
        if text.contains("PRIVATE KEY-----") {
            return Err(BadKey::Private);
        }
        let (_, rest) = text.split_once(BEGIN).ok_or(BadKey::NoPem)?;
        let (body, _) = rest.split_once(END).ok_or(BadKey::NotWhole)?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(&body).map_err(|_| BadKey::NotWhole)?;
        if der.starts_with(&P256_HEAD) && der.len() == P256_HEAD.len() + P256_COORDINATES {
            return Ok(SigningKey { name: name.to_owned(), spki: body });
        }
        let holds = |id: &[u8]| der.windows(id.len()).any(|window| window == id);
        let other = OTHER_KINDS.iter().find(|(id, _)| holds(id));
        Err(other.map_or(BadKey::NotWhole, |(_, kind)| BadKey::OtherKind(kind)))
    }

    /// Returns the key's point on the curve, uncompressed (SEC 1, 2.3.3): 65 bytes.
    pub fn point(&self) -> Vec<u8> {
        let der = STANDARD.decode(&self.spki).unwrap_or_default();
        der.get(P256_HEAD.len() - 1..).unwrap_or_default().to_vec()
    }
}

/// Images of which each must be signed by one of these keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRule {
    pub images: ImagePrefix,
    pub keys: Vec<SigningKey>,
}

/// An image, and by whom it must be signed: what is looked for in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureWanted {
    pub image: SignedImage,
    pub keys: Vec<SigningKey>,
}

impl SignatureWanted {
    /// Returns what a policy's rules want of an image; None if nothing. The rule that
    /// names it most closely counts.
    pub fn by(
        rules: &[SignatureRule],
        image: &ImageRef,
        digest: &Digest,
    ) -> Option<SignatureWanted> {
        let about_it = rules.iter().filter(|rule| rule.images.holds(image));
        let rule = about_it.max_by_key(|rule| rule.images.closeness())?;
        let keys: BTreeSet<&str> = rule.keys.iter().map(|key| key.spki.as_str()).collect();
        Some(SignatureWanted {
            image: SignedImage {
                name: image.name(),
                digest: digest.clone(),
                keys: Fingerprint::of(&keys),
            },
            keys: rule.keys.clone(),
        })
    }

    /// Returns what people read of whose signature is wanted.
    pub fn signers(&self) -> String {
        let names: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        names.join(" or ")
    }
}

/// One image as some keys are to have signed it. With other keys it is another one:
/// a policy that changes is asked about anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SignedImage {
    /// The repository with its registry, `docker.io/library/postgres`.
    pub name: String,
    pub digest: Digest,
    /// Of the keys, whatever their order and names.
    pub keys: Fingerprint,
}

impl fmt::Display for SignedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.digest)
    }
}

impl From<SignedImage> for String {
    fn from(image: SignedImage) -> String {
        format!("{image} by {}", image.keys.as_str())
    }
}

impl TryFrom<String> for SignedImage {
    type Error = String;

    fn try_from(text: String) -> Result<SignedImage, String> {
        let parts = || {
            let (image, keys) = text.split_once(" by ")?;
            let (name, digest) = image.split_once('@')?;
            let keys = serde_json::from_value(keys.into()).ok()?;
            Some(SignedImage { name: name.to_owned(), digest: digest.parse().ok()?, keys })
        };
        parts().ok_or_else(|| format!("`{text}` is not NAME@DIGEST by KEYS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3R0ZtpfBd3Y8DaXuB1gM8JPlhsDI
EfXO/WsMJEN14hEn8wajX2HklqL7igZPFICv6tBUGylIHp2mTH2Nhv38mg==
-----END PUBLIC KEY-----
";

    fn rule(images: &str, name: &str, pem: &str) -> SignatureRule {
        let images = images.parse().expect("a prefix");
        let keys = vec![SigningKey::from_pem(name, pem).expect("a key")];
        SignatureRule { images, keys }
    }

    #[test]
    fn a_key_of_cosigns_kind_is_read() {
        let key = SigningKey::from_pem("ci.pub", P256).expect("a key");
        assert_eq!((key.point().len(), key.point()[0]), (65, 4));
    }

    #[test]
    fn other_keys_are_called_by_their_kind() {
        let why = |text: &str| SigningKey::from_pem("k", text).expect_err("refused").to_string();
        let pem =
            |body: &str| format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        let ed25519 = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert!(why(&pem(ed25519)).contains("an Ed25519 key"));
        assert!(why("-----BEGIN EC PRIVATE KEY-----").contains("private key"));
        assert!(why("hello").contains("BEGIN PUBLIC KEY"));
        assert!(why(&P256.replace("38mg==", "")).contains("not whole"));
        assert!(why(&pem("AAAA")).contains("not whole"));
    }

    #[test]
    fn the_closest_rule_counts_and_other_keys_are_another_question() {
        let rules = [rule("*", "any", P256), rule("r.example/shop", "shop", P256)];
        let wanted = |image: &str| {
            let digest = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
            let image = image.parse().expect("an image");
            SignatureWanted::by(&rules, &image, &digest).expect("a rule is about it")
        };
        assert_eq!(wanted("r.example/shop/web:1").signers(), "shop");
        assert_eq!(wanted("r.example/shopping:1").signers(), "any");
        // Names are for people: the keys are the same.
        assert_eq!(wanted("r.example/a").image.keys, wanted("r.example/shop/b").image.keys);
        let image = wanted("r.example/shop/web:1").image;
        assert_eq!(SignedImage::try_from(String::from(image.clone())), Ok(image));
    }
}
