//! Whether one of the keys has signed some bytes: ECDSA on P-256 over SHA-256, the
//! signature in ASN.1 as X9.62 and cosign write it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::domain::signature::SigningKey;

use super::flaw::Flaw;

/// Checks a signature in Base64 over `message`.
pub(super) fn check(keys: &[SigningKey], message: &[u8], signature: &str) -> Result<(), Flaw> {
    let signature = STANDARD.decode(signature.trim()).map_err(|_| Flaw::Damaged)?;
    let has_signed = |key: &SigningKey| {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.point());
        key.verify(message, &signature).is_ok()
    };
    match keys.iter().any(has_signed) {
        true => Ok(()),
        false => Err(Flaw::OtherKey),
    }
}
