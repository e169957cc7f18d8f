//! `standby:` — an image to run in the idle slot without traffic.

use crate::domain::ImageRef;

use super::{
    fields::{Fields, NO_REFUSALS},
    image,
    reader::Reader,
    yaml::Entry,
};

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<ImageRef> {
    let mut fields = Fields::of(reader.map(&entry.value, "a map such as `{ image: shop/web:2 }`")?);
    let image = fields.get("image");
    let is_misspelt = fields.has_slip_of("image");
    fields.finish(reader, &NO_REFUSALS);
    if image.is_none() && !is_misspelt {
        let help = "add `image:`; everything else is as in the service";
        reader.refuse(entry.key_span, "`standby` names no image", help);
    }
    image::read(reader, &image?.value)
}
