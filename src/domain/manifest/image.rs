//! `image:` — a reference, wherever one stands.

use crate::domain::ImageRef;

use super::{reader::Reader, yaml::Node};

pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<ImageRef> {
    let help = "write `registry/repository:tag`, or `…@sha256:` and a digest";
    reader.parsed(node, "an image reference", help, str::parse::<ImageRef>)
}
