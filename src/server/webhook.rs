//! `POST /hooks/git`: somebody pushed, so the branch is looked at soon.
//!
//! What a forge sends is signed, and never read: that it was signed is all that it
//! says. GitHub and Gitea sign the body, GitLab sends the secret itself.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode},
};
use futures::StreamExt;
use hmac::Mac;

use super::shared_secret::{SharedSecret, Signature};

/// GitHub sends at most this much.
const MAX_BODY_BYTES: usize = 25 * 1024 * 1024;

/// Where GitHub and, beside its own, Gitea put `sha256=HEX`.
const GITHUB: &str = "x-hub-signature-256";
/// Where Gitea and Forgejo put `HEX`.
const GITEA: [&str; 2] = ["x-gitea-signature", "x-forgejo-signature"];
/// Where GitLab puts the secret.
const GITLAB: &str = "x-gitlab-token";

/// Why a call counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unheard {
    #[error("the signature is missing or wrong")]
    NotSigned,
    #[error("the body has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body ended early")]
    Broken,
}

impl Unheard {
    pub fn status(self) -> StatusCode {
        match self {
            Unheard::NotSigned => StatusCode::UNAUTHORIZED,
            Unheard::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Unheard::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a call to its end and checks that whoever made it knows the secret.
pub(super) async fn check(
    secret: &SharedSecret,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Unheard> {
    let signature = sign(secret, body).await?;
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let signed = header(GITHUB).and_then(|value| value.strip_prefix(b"sha256="));
    let signed = GITEA.iter().filter_map(|name| header(name)).chain(signed);
    let is_signed = signed
        .filter_map(from_hex)
        .any(|presented| signature.clone().verify_slice(&presented).is_ok());
    let is_told = || header(GITLAB).is_some_and(|presented| secret.is(presented));
    match is_signed || is_told() {
        true => Ok(()),
        false => Err(Unheard::NotSigned),
    }
}

async fn sign(secret: &SharedSecret, body: Body) -> Result<Signature, Unheard> {
    let mut signature = secret.signature();
    let mut size_bytes: usize = 0;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Unheard::Broken)?;
        size_bytes = size_bytes.saturating_add(part.len());
        if size_bytes > MAX_BODY_BYTES {
            return Err(Unheard::TooLarge);
        }
        signature.update(&part);
    }
    Ok(signature)
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation, "Validating webhook deliveries".
    #[tokio::test]
    async fn what_github_signs_is_believed() {
        let secret = SharedSecret::new(b"It's a Secret to Everybody").expect("a secret");
        let signed = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let call = async |signed: &str, body: &'static str| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(GITHUB),
                signed.parse().expect("a header"),
            )]);
            check(&secret, &headers, Body::from(body)).await
        };
        assert_eq!(call(signed, "Hello, World!").await, Ok(()));
        assert_eq!(call(signed, "Hello, World?").await, Err(Unheard::NotSigned));
        for wrong in ["sha256=", "sha256=7", "sha256=zz", &signed["sha256=".len()..]] {
            assert_eq!(call(wrong, "Hello, World!").await, Err(Unheard::NotSigned), "{wrong}");
        }
    }
}
