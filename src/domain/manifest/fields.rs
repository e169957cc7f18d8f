//! The keys of one map: which are known, and what an unknown one gets.

use super::{
    reader::Reader,
    report::shown,
    yaml::{Entry, Map, Span},
};

/// Keys that a place of the file does not take, although its reader may well
/// look for them there.
pub(super) struct Refusals {
    /// What a later version takes.
    pub later: &'static [&'static str],
    /// What is refused for good, each with what to do instead.
    pub never: &'static [(&'static str, &'static str)],
}

/// A place where every unknown key is simply unknown.
pub(super) const NO_REFUSALS: Refusals = Refusals { later: &[], never: &[] };

/// Hands out the entries of a map, and knows afterwards which nobody asked for.
pub(super) struct Fields<'n> {
    map: &'n Map,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    pub fn of(map: &'n Map) -> Fields<'n> {
        Fields { map, asked: Vec::new() }
    }

    /// Returns the entry unless it is missing or null, which Compose treats
    /// alike.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Entry> {
        self.get_or_null(key).filter(|entry| !entry.value.is_null())
    }

    /// Returns the entry, which may hold nothing.
    pub fn get_or_null(&mut self, key: &'static str) -> Option<&'n Entry> {
        self.asked.push(key);
        self.map.get(key)
    }

    /// Returns whether an unknown key is most likely `key` misspelt; then its
    /// own refusal says all there is to say.
    pub fn has_slip_of(&self, key: &str) -> bool {
        let mut unknown = self.map.entries.iter().filter(|it| !self.asked.contains(&&*it.key));
        unknown.any(|entry| nearest(&entry.key, std::iter::once(key)).is_some())
    }

    /// Refuses every key that was not asked for. `x-…` is Compose's room for
    /// other tools and passes.
    pub fn finish(self, reader: &mut Reader<'_>, refusals: &Refusals) {
        for entry in &self.map.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                refuse_key(reader, entry, &self.asked, refusals);
            }
        }
    }
}

fn refuse_key(reader: &mut Reader<'_>, entry: &Entry, known: &[&str], refusals: &Refusals) {
    let key = entry.key.as_str();
    let name = shown(key);
    if refusals.later.contains(&key) || key == "x-quaymaster" {
        reader.refuse(
            entry.key_span,
            format!("`{name}` is not supported yet"),
            "remove it: a key that has no effect would only look as if it had one",
        );
    } else if let Some((_, help)) = refusals.never.iter().find(|(never, _)| *never == key) {
        reader.refuse(entry.key_span, format!("`{name}` is not supported"), *help);
    } else if !key.starts_with("x-") {
        let help = match reader.suggest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        reader.refuse(entry.key_span, format!("unknown key `{name}`"), help);
    }
}

/// Notes that `name` is none of `known`, with the nearest of them as the mend.
pub(super) fn refuse_name<'k>(
    reader: &mut Reader<'_>,
    span: Span,
    message: String,
    name: &str,
    known: impl Iterator<Item = &'k str>,
    otherwise: impl Into<String>,
) {
    let help = match reader.suggest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise.into(),
    };
    reader.refuse(span, message, help);
}

/// Returns the known name that `name` is most likely a slip of.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A name of a kilobyte is no slip, and comparing it would take long.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase().replace('-', "_");
    known
        .map(|candidate| {
            let plain = candidate.to_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&lower, &plain), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
