//! What happened, a line an event.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Ink, Page, harmless,
    table::{self, Cell},
};
use crate::domain::memory::{Event, EventKind};

/// Returns the events as a table, with their times in `zone`.
pub fn render(page: Page, events: &[Event], zone: &TimeZone) -> Vec<String> {
    if events.is_empty() {
        return vec!["Nothing has happened yet.".to_owned()];
    }
    let rows: Vec<[Cell; 6]> = events
        .iter()
        .map(|event| {
            let slot = event.slot.map_or("–", |slot| slot.as_str());
            let release = event.release.as_ref().map_or("–", |release| release.as_str());
            [
                Cell::new(when(event.at_unix_ms, zone), Ink::Dim),
                Cell::new(event.service.as_str(), Ink::Bold),
                Cell::new(word(event.kind), ink(event.kind)),
                Cell::plain(slot),
                Cell::plain(release),
                Cell::plain(what(event)),
            ]
        })
        .collect();
    table::render(page, ["TIME", "SERVICE", "EVENT", "SLOT", "RELEASE", "WHAT"], &rows)
}

/// Returns what happened, and which commit asked for it.
fn what(event: &Event) -> String {
    let text = harmless(&event.text);
    match &event.commit {
        Some(commit) => format!("{text} · {}", commit.short()),
        None => text,
    }
}

/// Returns a wall-clock time as people of `zone` read it.
pub fn when(unix_ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(unix_ms) {
        Ok(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "–".to_owned(),
    }
}

fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Started => "started",
        EventKind::Passed => "passed",
        EventKind::Approved => "approved",
        EventKind::Promoted => "promoted",
        EventKind::Good => "good",
        EventKind::Held => "held",
        EventKind::RolledBack => "rolled back",
        EventKind::Superseded => "superseded",
        EventKind::Retried => "retried",
    }
}

fn ink(kind: EventKind) -> Ink {
    match kind {
        EventKind::Started | EventKind::Superseded | EventKind::Retried | EventKind::Approved => {
            Ink::Busy
        }
        EventKind::Promoted | EventKind::Good | EventKind::Passed => Ink::Good,
        EventKind::RolledBack => Ink::Warning,
        EventKind::Held => Ink::Bad,
    }
}
