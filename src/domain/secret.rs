//! Values that must never be printed.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

/// A value that `Debug` hides (S9). It serialises as it is, because the store
/// and the release fingerprint need it; neither is shown to anyone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// Returns the value, for the one place that hands it to the engine.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The content of a secret file, which need not be text: a keystore is none. It
/// serialises as Base64, and like [`Secret`] for the store and the fingerprint only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    pub fn new(content: impl Into<Vec<u8>>) -> Self {
        SecretBytes(content.into())
    }

    /// Returns the content, for the one place that writes it where the engine mounts it.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// Returns the content as it would look in a log.
    pub fn as_text(&self) -> Secret {
        Secret::new(String::from_utf8_lossy(&self.0))
    }
}

impl From<SecretBytes> for String {
    fn from(content: SecretBytes) -> String {
        BASE64_STANDARD.encode(content.0)
    }
}

/// The text is not Base64. What it is instead is not told.
#[derive(Debug, thiserror::Error)]
#[error("a secret's content is not Base64")]
pub struct BadSecretBytes;

impl TryFrom<String> for SecretBytes {
    type Error = BadSecretBytes;

    fn try_from(text: String) -> Result<SecretBytes, BadSecretBytes> {
        BASE64_STANDARD.decode(text).map(SecretBytes).map_err(|_| BadSecretBytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A file in a container, with a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// What the file calls the secret: a plain name without any `/`.
    pub name: String,
    pub content: SecretBytes,
    /// Who owns it, where the file says so; else whoever the controller runs as.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_nothing_of_a_secret() {
        let file = SecretFile {
            name: "db".to_owned(),
            content: SecretBytes::new("hunter2"),
            uid: None,
            gid: None,
            mode: 0o444,
        };
        let told = format!("{file:?} {:?}", Secret::new("hunter2"));
        assert!(!told.contains("hunter2") && !told.contains("104"), "{told}");
    }

    #[test]
    fn content_that_is_no_text_comes_back_from_the_store() {
        let content = SecretBytes::new(vec![0, 0xff, b'\n']);
        let stored = serde_json::to_string(&content).expect("it serialises");
        assert_eq!(stored, "\"AP8K\"");
        assert_eq!(serde_json::from_str::<SecretBytes>(&stored).expect("our own"), content);
        let error = serde_json::from_str::<SecretBytes>("\"hunter2!\"").expect_err("not Base64");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
