//! What a switch file says: the release that has each lane, in one line.
//!
//! ```text
//! {"1":"blue/3f9c2ab01d44","2":"green/77b01de9a0c1"}
//! ```

use crate::caddy::lane::Tenants;

/// Returns the one way in which this is written.
pub fn bytes(tenants: &Tenants) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(tenants).expect("two names are JSON");
    bytes.push(b'\n');
    bytes
}

/// Returns what the bytes say; None if they are no content of a switch file.
pub fn read(bytes: &[u8]) -> Option<Tenants> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_read_back_and_anything_else_says_nothing() {
        let tenants =
            Tenants { one: Some("blue/0123456789ab".to_owned().try_into().unwrap()), two: None };
        assert_eq!(bytes(&tenants), b"{\"1\":\"blue/0123456789ab\",\"2\":null}\n");
        assert_eq!(read(&bytes(&tenants)), Some(tenants));
        for other in ["", "{", "{\"3\":null}", "{\"1\":\"blue\",\"2\":null}", "\u{0}"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
