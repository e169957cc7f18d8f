//! `image:` — a reference, wherever one stands.

use crate::domain::ImageRef;

use super::{obey, reader::Reader, yaml::Node};

pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<ImageRef> {
    let help = "write `registry/repository:tag`, or `…@sha256:` and a digest";
    let image = reader.parsed(node, "an image reference", help, str::parse::<ImageRef>)?;
    obey::image(reader, node.span, &image);
    Some(image)
}
