//! The tag that makes a write conditional on what was read.
//!
//! Caddy's ETag is `"<path> <hash>"` over the answer's body. From 2.8 on it is
//! a header. Before, it is a trailer of a chunked answer, which HTTP clients
//! rarely expose; its hash is FNV-1a, 32 bits, so it can be computed here.

/// The value to send as `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(pub String);

impl ETag {
    /// Returns the tag that Caddy before 2.8 gives to `body` at `path`.
    pub fn computed(path: &str, body: &[u8]) -> ETag {
        ETag(format!("\"{path} {:08x}\"", fnv1a_32(body)))
    }
}

/// FNV-1a with 32 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a_32(bytes: &[u8]) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Caddy 2.6.2's trailers.
    #[test]
    fn the_computed_tag_is_the_one_an_old_caddy_sends() {
        let null = ETag::computed("/config/", b"null\n");
        assert_eq!(null.0, "\"/config/ 0e7c22ea\"");
        let admin = ETag::computed("/config/", b"{\"admin\":{\"listen\":\"127.0.0.1:28191\"}}\n");
        assert_eq!(admin.0, "\"/config/ c887ac09\"");
    }
}
