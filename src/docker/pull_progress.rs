//! How far a pull is, from the lines that the engine streams.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;

use crate::domain::Digest;

/// What the lines of one pull have told so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    layers: HashMap<String, Layer>,
    percent: Option<u8>,
    digest: Option<Digest>,
}

/// One layer that is not here yet, in bytes.
#[derive(Debug, Default)]
struct Layer {
    total: u64,
    downloaded: u64,
    extracted: u64,
}

impl Progress {
    /// Takes in one line; returns the share done if it has grown. Half of the
    /// work is downloading and half is extracting, and no line means the end:
    /// only the end of the stream does, so 100 is never reached.
    pub fn advance(&mut self, line: &CreateImageInfo) -> Option<u8> {
        let status = line.status.as_deref().unwrap_or_default();
        if let Some(digest) = status.strip_prefix("Digest: ") {
            self.digest = digest.trim().parse().ok();
        }
        self.note_layer(line, status);
        let percent = self.share();
        // Layers become known one by one, which would let the share fall back.
        if percent > self.percent {
            self.percent = percent;
            return percent;
        }
        None
    }

    /// Returns the digest that the engine said it pulled.
    pub fn digest(&self) -> Option<Digest> {
        self.digest.clone()
    }

    fn note_layer(&mut self, line: &CreateImageInfo, status: &str) {
        let Some(id) = &line.id else { return };
        let bytes = |count: Option<i64>| count.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let detail = line.progress_detail.as_ref();
        let current = bytes(detail.and_then(|detail| detail.current));
        let total = bytes(detail.and_then(|detail| detail.total));
        let layer = self.layers.entry(id.clone()).or_default();
        layer.total = layer.total.max(total);
        match status {
            "Downloading" => layer.downloaded = current,
            "Verifying Checksum" | "Download complete" => layer.downloaded = layer.total,
            "Extracting" => (layer.downloaded, layer.extracted) = (layer.total, current),
            "Pull complete" => (layer.downloaded, layer.extracted) = (layer.total, layer.total),
            _ => {}
        }
    }

    fn share(&self) -> Option<u8> {
        let total: u64 = self.layers.values().map(|layer| layer.total.saturating_mul(2)).sum();
        let done: u64 = self
            .layers
            .values()
            .map(|layer| layer.downloaded.saturating_add(layer.extracted))
            .sum();
        if total == 0 {
            return None;
        }
        let percent = u128::from(done) * 100 / u128::from(total);
        Some(u8::try_from(percent.min(99)).expect("at most 99"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: serde_json::Value) -> CreateImageInfo {
        serde_json::from_value(json).expect("bollard's own shape")
    }

    fn layer(id: &str, status: &str, current: u64, total: u64) -> CreateImageInfo {
        let detail = serde_json::json!({ "current": current, "total": total });
        line(serde_json::json!({ "id": id, "status": status, "progressDetail": detail }))
    }

    #[test]
    fn downloading_is_one_half_and_extracting_the_other() {
        let mut progress = Progress::default();
        assert_eq!(progress.advance(&layer("a", "Downloading", 50, 100)), Some(25));
        assert_eq!(progress.advance(&layer("a", "Download complete", 0, 0)), Some(50));
        assert_eq!(progress.advance(&layer("a", "Extracting", 50, 100)), Some(75));
        assert_eq!(progress.advance(&layer("a", "Pull complete", 0, 0)), Some(99));
    }

    #[test]
    fn a_layer_that_turns_up_late_does_not_set_it_back() {
        let mut progress = Progress::default();
        assert_eq!(progress.advance(&layer("a", "Downloading", 80, 100)), Some(40));
        assert_eq!(progress.advance(&layer("b", "Downloading", 0, 900)), None);
        assert_eq!(progress.advance(&layer("b", "Downloading", 900, 900)), Some(49));
    }

    #[test]
    fn layers_of_unknown_size_say_nothing() {
        let mut progress = Progress::default();
        let waiting = serde_json::json!({ "id": "a", "status": "Pulling fs layer" });
        assert_eq!(progress.advance(&line(waiting)), None);
    }

    #[test]
    fn the_digest_is_taken_from_the_stream() {
        let digest = format!("sha256:{}", "c".repeat(64));
        let mut progress = Progress::default();
        progress.advance(&line(serde_json::json!({ "status": format!("Digest: {digest}") })));
        assert_eq!(progress.digest().map(|digest| digest.to_string()), Some(digest));
    }
}
