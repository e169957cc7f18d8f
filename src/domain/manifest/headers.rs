//! `headers:` — what a probe's or a gate's HTTP request carries.

use std::collections::BTreeMap;

use super::{
    reader::{Pair, Reader},
    yaml::Entry,
};

pub(super) fn read(reader: &mut Reader<'_>, entry: Option<&Entry>) -> BTreeMap<String, String> {
    let pairs =
        entry.map(|entry| reader.pairs(&entry.value, "a map of headers")).unwrap_or_default();
    pairs.into_iter().filter_map(|pair| read_one(reader, pair)).collect()
}

fn read_one(reader: &mut Reader<'_>, pair: Pair) -> Option<(String, String)> {
    let value = pair.value.map(|text| text.value).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = !pair.key.is_empty() && pair.key.bytes().all(plain);
    let is_line = value.chars().all(|c| c == '\t' || !c.is_control());
    if !is_name || !is_line {
        let help = "a name has letters, digits and `-`, a value has one line";
        reader.refuse(pair.span, "this is not an HTTP header", help);
        return None;
    }
    Some((pair.key, value))
}
