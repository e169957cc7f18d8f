//! The table, in Markdown.

use std::fmt::Write as _;

use quaymaster_rig::load::{Counts, Kind};

use super::{phase::Phase, stand::Measured};

/// What the columns mean, in short; exactly: `benches/README.md`.
pub const LEGEND: &str = "\
*sent*: requests, streams or WebSockets. *failed*: not answered as they must be. *dropped*:
connections that the other side ended although the client meant to go on. *cut*: streams and
WebSockets that ended before their end.";

const WIDTH: usize = 27;

/// Returns the table of one phase.
pub fn of(phase: &Phase, measured: &Measured) -> String {
    let title = format!("{phase} in {} s", measured.took.as_secs());
    let mut table = format!(
        "| {title:WIDTH$} |    sent | failed | dropped |  cut |\n\
         | {:-<WIDTH$} | ------: | -----: | ------: | ---: |\n",
        ""
    );
    for (kind, counts) in &measured.counts {
        let Counts { sent, failed, dropped, .. } = counts;
        let cut = cut(*kind, counts);
        let name = kind.name();
        let row = format!("| {name:WIDTH$} | {sent:7} | {failed:6} | {dropped:7} | {cut:>4} |\n");
        table.push_str(&row);
    }
    let goodbyes: u64 = measured.counts.values().map(|counts| counts.goodbyes).sum();
    if goodbyes > 0 {
        let note = "WebSockets were told goodbye by a replica that was stopped: no cut.";
        write!(table, "\n{goodbyes} {note}\n").expect("text can be written");
    }
    table
}

/// Returns why something is not zero, a line a reason.
pub fn reasons(measured: &Measured) -> String {
    let mut text = String::new();
    for (kind, counts) in &measured.counts {
        for (reason, times) in &counts.reasons {
            writeln!(text, "  {times:6} {}: {reason}", kind.name()).expect("text can be written");
        }
    }
    text
}

/// Only a stream can be cut.
fn cut(kind: Kind, counts: &Counts) -> String {
    match kind {
        Kind::Events | Kind::WebSocket => counts.cut.to_string(),
        Kind::KeepAlive | Kind::Fresh | Kind::Http2 | Kind::Slow | Kind::Upload => "–".to_owned(),
    }
}
