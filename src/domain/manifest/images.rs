//! `images:` — for how long images are kept, and how much of the disk stays free.

use crate::domain::stack::Images;

use super::{
    fields::{Fields, NO_REFUSALS},
    quantity,
    reader::Reader,
    report::shown,
    yaml::Node,
};

pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Images> {
    let mut fields = Fields::of(reader.map(node, "a map such as `{ retain_releases: 5 }`")?);
    let count = fields.get("retain_releases").and_then(|it| reader.count(&it.value, 0..=1000));
    let retain_for = fields.get("retain_for").and_then(|it| reader.positive_duration(&it.value));
    let free = fields.get("min_free_disk").and_then(|it| {
        reader.parsed(&it.value, "a share of the disk", "write a share such as `10%`", |text| {
            quantity::percent(text).map_err(|reason| format!("`{}`: {reason}", shown(text)))
        })
    });
    fields.finish(reader, &NO_REFUSALS);
    let default = Images::default();
    let count = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    Some(Images {
        retain_releases: count.unwrap_or(default.retain_releases),
        retain_for,
        min_free_percent: free.unwrap_or(default.min_free_percent),
    })
}
