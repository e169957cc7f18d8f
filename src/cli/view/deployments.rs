//! Deployments: a line each, or one in detail.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{
    Ink, Page, harmless,
    history::when,
    table::{self, Cell},
};
use crate::domain::{
    DeploymentReport, ImageRef,
    deployment::{DeploymentOutcome, GateResult, GateVerdict},
    time::human,
};

/// Returns the deployments as a table, or the only one in detail; their times in `zone`.
pub fn render(page: Page, reports: &[DeploymentReport], zone: &TimeZone) -> Vec<String> {
    match reports {
        [] => vec!["Nothing has been deployed yet.".to_owned()],
        [report] => detail(page, report, zone),
        reports => overview(page, reports, zone),
    }
}

fn overview(page: Page, reports: &[DeploymentReport], zone: &TimeZone) -> Vec<String> {
    let rows: Vec<[Cell; 6]> = reports
        .iter()
        .map(|report| {
            [
                Cell::new(when(report.at_unix_ms, zone), Ink::Dim),
                Cell::new(report.service.as_str(), Ink::Bold),
                Cell::new(outcome_text(report.outcome), ink(report.outcome)),
                Cell::plain(report.durations.promoted_ms.map_or("–".to_owned(), span)),
                Cell::plain(images(report, short_image)),
                Cell::plain(what(report)),
            ]
        })
        .collect();
    table::render(page, ["BEGAN", "SERVICE", "OUTCOME", "TOOK", "IMAGE", "WHY"], &rows)
}

/// Returns what the commit says, and why it did not come out well.
fn what(report: &DeploymentReport) -> String {
    let parts = [commit_text(report), report.reason.clone()];
    harmless(&parts.into_iter().flatten().collect::<Vec<_>>().join(" · "))
}

fn commit_text(report: &DeploymentReport) -> Option<String> {
    let commit = report.commit.as_ref()?;
    let subject = commit.subject.as_deref().unwrap_or_default();
    Some(format!("{} {subject}", commit.sha.short()).trim_end().to_owned())
}

fn detail(page: Page, report: &DeploymentReport, zone: &TimeZone) -> Vec<String> {
    let outcome = page.paint(ink(report.outcome), &outcome_text(report.outcome));
    let title = format!("{}/{}", report.stack, report.service);
    let mut facts = format!("{} on {}", when(report.at_unix_ms, zone), harmless(&report.host));
    if let Some(slot) = report.slot {
        facts += &format!(" · {slot}");
    }
    let mut lines = vec![format!("{}  {outcome}", page.paint(Ink::Bold, &title))];
    lines.extend(page.indented(0, &facts).iter().map(|line| page.paint(Ink::Dim, line)));
    if let Some(reason) = &report.reason {
        let reason = page.indented(0, &harmless(reason)).into_iter();
        lines.extend(reason.map(|line| page.paint(ink(report.outcome), &line)));
    }

    lines.push(String::new());
    for (name, text) in identity(report) {
        lines.extend(entry(page, name, &text));
    }
    let parts = parts(report);
    if !parts.is_empty() {
        lines.push(String::new());
        for (name, millis) in parts {
            lines.extend(entry(page, name, &span(millis)));
        }
    }
    if !report.gates.is_empty() {
        lines.push(String::new());
        lines.extend(report.gates.iter().map(|gate| gate_line(page, gate)));
    }
    if !report.log.is_empty() {
        lines.push(String::new());
        lines.push(page.paint(Ink::Dim, "  It last said"));
        for line in &report.log {
            let room = page.width.map_or(usize::MAX, |width| width.saturating_sub(4));
            let text = console::truncate_str(&harmless(line), room, "…").into_owned();
            lines.push(format!("  {} {text}", page.paint(Ink::Dim, "│")).trim_end().to_owned());
        }
    }
    lines
}

/// Returns what was deployed, and in place of what.
fn identity(report: &DeploymentReport) -> Vec<(&'static str, String)> {
    let release = report.release.as_ref().map(|release| match &report.previous {
        Some(previous) if previous.release != *release => {
            format!("{release} in place of {}", previous.release)
        }
        Some(_) | None => release.to_string(),
    });
    let commit = commit_text(report).map(|text| {
        let author = report.commit.as_ref().and_then(|commit| commit.author.as_deref());
        match author.filter(|author| !author.is_empty()) {
            Some(author) => format!("{text} · {author}"),
            None => text,
        }
    });
    let entries = [
        ("image", Some(images(report, |image| image.to_string()))),
        ("digest", report.digest.as_ref().map(ToString::to_string)),
        ("release", release),
        ("commit", commit),
    ];
    entries.into_iter().filter_map(|(name, text)| Some((name, harmless(&text?)))).collect()
}

/// Returns how long its parts took, in their order.
fn parts(report: &DeploymentReport) -> Vec<(&'static str, u64)> {
    let durations = &report.durations;
    let parts = [
        ("pull", durations.pull_ms),
        ("ready", durations.ready_ms),
        ("gates", durations.gates_ms),
        ("promoted", durations.promoted_ms),
        ("bake", durations.bake_ms),
    ];
    parts.into_iter().filter_map(|(name, millis)| Some((name, millis?))).collect()
}

fn entry(page: Page, name: &str, text: &str) -> Vec<String> {
    const NAME_COLUMNS: usize = 10;
    let wrapped = page.indented(2 + NAME_COLUMNS, text);
    let name = page.paint(Ink::Dim, &format!("{name:NAME_COLUMNS$}"));
    let first = wrapped.first().map_or("", |line| line.trim_start());
    let mut lines = vec![format!("  {name}{first}")];
    lines.extend(wrapped.iter().skip(1).cloned());
    lines
}

fn gate_line(page: Page, gate: &GateResult) -> String {
    let (mark, ink, word) = match gate.result {
        GateVerdict::Passed => ("✓", Ink::Good, "passed"),
        GateVerdict::Failed => ("✗", Ink::Bad, "failed"),
        GateVerdict::Open => ("–", Ink::Dim, "not come to an end"),
    };
    let text = gate.text.as_ref().map_or(String::new(), |text| format!(": {text}"));
    let text = format!("{} gate `{}` {word}{text}", gate.phase, gate.name);
    let text = page.indented(4, &harmless(&text)).join("\n");
    format!("  {} {}", page.paint(ink, mark), text.trim_start())
}

/// Returns which image took the place of which.
fn images(report: &DeploymentReport, name: impl Fn(&ImageRef) -> String) -> String {
    let old = report.previous.as_ref().and_then(|previous| previous.image.as_ref());
    match old.filter(|old| **old != report.image) {
        Some(old) if old.familiar_name() == report.image.familiar_name() => {
            let new = report.image.tag().map_or_else(|| name(&report.image), str::to_owned);
            format!("{} → {new}", name(old))
        }
        Some(old) => format!("{} → {}", name(old), name(&report.image)),
        None => name(&report.image),
    }
}

/// Returns the reference without registry and folders, and with a digest's beginning.
fn short_image(image: &ImageRef) -> String {
    let text = image.as_str();
    let (name, digest) = match text.split_once('@') {
        Some((name, _)) => (name, image.digest().map(|digest| &digest.hex()[..6])),
        None => (text, None),
    };
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    digest.map_or(last.to_owned(), |digest| format!("{last}@{digest}…"))
}

fn span(millis: u64) -> String {
    human(Duration::from_millis(millis))
}

fn outcome_text(outcome: DeploymentOutcome) -> String {
    let mark = match outcome {
        DeploymentOutcome::UnderWay | DeploymentOutcome::Baking => "↻",
        DeploymentOutcome::Good => "✓",
        DeploymentOutcome::Held => "✗",
        DeploymentOutcome::RolledBack => "↩",
        DeploymentOutcome::Superseded => "–",
    };
    format!("{mark} {outcome}")
}

fn ink(outcome: DeploymentOutcome) -> Ink {
    match outcome {
        DeploymentOutcome::UnderWay | DeploymentOutcome::Baking => Ink::Busy,
        DeploymentOutcome::Good => Ink::Good,
        DeploymentOutcome::Held => Ink::Bad,
        DeploymentOutcome::RolledBack => Ink::Warning,
        DeploymentOutcome::Superseded => Ink::Dim,
    }
}
