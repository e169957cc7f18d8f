//! The status table.

use console::measure_text_width;

use super::{
    Ink, Page, harmless,
    table::{self, Cell},
};
use crate::controller::status::{HoldStatus, ServiceStatus, StatusReport};
use crate::domain::{
    GitStanding, ImageRef, ServiceName, Slot, Unreached,
    memory::{GateStanding, HeldBy},
    snapshot::{FlipMechanism, NameMechanism},
};
use crate::plan::ServiceState;

/// Images longer than this are shortened where the page is narrow.
const IMAGE_COLUMNS: usize = 28;

/// The subject of a commit is shortened to what git recommends for one.
const SUBJECT_COLUMNS: usize = 50;

/// Pages narrower than this get short image names.
const WIDE_PAGE: usize = 160;

/// Returns the whole report for people, with at most `log_lines` of each failed
/// release's log.
pub fn render(page: Page, report: &StatusReport, log_lines: usize) -> Vec<String> {
    let mut lines = headline(page, report);
    if !report.services.is_empty() {
        lines.push(String::new());
        let rows: Vec<[Cell; 6]> =
            report.services.iter().map(|service| row(page, service)).collect();
        let headers = ["SERVICE", "STATE", "SLOT", "READY", "IMAGE", "WAITING ON"];
        lines.extend(table::render(page, headers, &rows));
    }
    for service in &report.services {
        if let Some(hold) = &service.hold {
            lines.push(String::new());
            lines.extend(held(page, service, hold, log_lines));
        }
    }
    lines
}

fn headline(page: Page, report: &StatusReport) -> Vec<String> {
    let state = page.paint(ink(report.state), &state_text(report.state));
    let mut lines = vec![format!("{}  {state}", page.paint(Ink::Bold, report.stack.as_str()))];
    let mut facts = match &report.file.git {
        Some(git) => branch_text(git, report.at_unix_ms),
        None => report.file.path.display().to_string(),
    };
    if let Some(version) = &report.proxy.version {
        facts += &format!(" · Caddy {version}");
    }
    if let Some(FlipMechanism::SwitchFile) = &report.proxy.flip {
        facts += " · flips by switch file";
    }
    if let Some(NameMechanism::Caddy) = &report.proxy.names {
        facts += " · names by Caddy";
    }
    lines.extend(page.indented(0, &facts).iter().map(|line| page.paint(Ink::Dim, line)));
    if let Some(FlipMechanism::AdminApi { why }) = &report.proxy.flip {
        let text = format!("Flips go through Caddy's admin API: {}", harmless(why));
        lines.extend(page.indented(0, &text).iter().map(|line| page.paint(Ink::Dim, line)));
    }
    for text in names(report) {
        lines.extend(page.indented(0, &text).iter().map(|line| page.paint(Ink::Dim, line)));
    }

    if !report.controlled {
        let text = "! No controller runs: this is how it looks from here.";
        lines.extend(page.indented(0, text).iter().map(|line| page.paint(Ink::Warning, line)));
    }

    let mut trouble = |text: String| {
        lines.extend(page.indented(0, &text).iter().map(|line| page.paint(Ink::Bad, line)));
    };
    if !report.docker.known {
        let why = report.docker.why.as_deref().unwrap_or("it does not say why");
        trouble(format!("✗ Docker cannot be seen: {}", harmless(why)));
    }
    if report.proxy.used && !report.proxy.part.known {
        let why = report.proxy.part.why.as_deref().unwrap_or("it does not say why");
        trouble(format!("✗ Caddy cannot be seen: {}", harmless(why)));
    }
    if let Some(FlipMechanism::Blocked { why }) = &report.proxy.flip {
        trouble(format!("✗ Nothing flips: {}", harmless(why)));
    }
    if let Some(why) = report.file.git.as_ref().and_then(|git| git.trouble.as_ref()) {
        trouble(format!("✗ The branch is not followed: {}", harmless(why)));
    }
    if !report.file.valid {
        let then = match (report.controlled, &report.commit) {
            (true, Some(commit)) => format!(" What {} said stays in force.", commit.short()),
            (true, None) => " What it said before stays in force.".to_owned(),
            (false, _) => String::new(),
        };
        trouble(format!("✗ The file is not valid.{then}"));
        let problem = report.file.problem.as_deref().unwrap_or_default();
        lines.extend(
            problem.lines().map(|line| format!("  {}", harmless(line)).trim_end().to_owned()),
        );
    }
    for Unreached { name, why } in &report.unreached {
        let text = format!("! {} is not told what happens: {}", harmless(name), harmless(why));
        lines.extend(page.indented(0, &text).iter().map(|line| page.paint(Ink::Warning, line)));
    }
    if !report.orphans.is_empty() {
        let names: Vec<&str> = report.orphans.iter().map(|name| name.as_str()).collect();
        let text = format!("No longer in the file, and leaving: {}", names.join(", "));
        lines.extend(page.indented(0, &text).iter().map(|line| page.paint(Ink::Busy, line)));
    }
    lines
}

/// Returns which commit is read, and from where.
fn branch_text(git: &GitStanding, now_unix_ms: i64) -> String {
    let GitStanding { url, branch, path, commit, subject, committed_at_unix_ms, .. } = git;
    let age_s = now_unix_ms.saturating_sub(*committed_at_unix_ms) / 1000;
    let subject = console::truncate_str(&harmless(subject), SUBJECT_COLUMNS, "…").into_owned();
    let age = age(age_s);
    format!("git: {url} {branch} @ {} \"{subject}\" {age} · {path}", commit.short())
}

/// Returns an age as people say it; a clock that is behind makes nothing younger than now.
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Returns what is to be said of names that do not lead to what is active.
fn names(report: &StatusReport) -> Vec<String> {
    let of_all = match &report.proxy.names {
        Some(NameMechanism::Docker { why }) => Some(why),
        Some(NameMechanism::Caddy) | None => None,
    };
    let mut texts = Vec::new();
    // A service that is alone has nobody who calls it.
    let are_called =
        report.services.len() > 1 && report.services.iter().any(|s| s.name_answered.is_some());
    if let Some(why) = of_all.filter(|_| are_called) {
        texts.push(format!("Names reach every replica, by Docker: {}", harmless(why)));
    }
    for service in &report.services {
        let Some(NameMechanism::Docker { why }) = &service.name_answered else { continue };
        let name = &service.name;
        if of_all.is_none() {
            texts.push(format!("{name} is reached by Docker's alias: {}", harmless(why)));
        }
        if service.hosts.is_empty() {
            texts
                .push(format!("{name} is for the inside only, and its name reaches every replica"));
        }
    }
    if !report.proxy.promised.is_empty() {
        let names: Vec<&str> = report.proxy.promised.iter().map(ServiceName::as_str).collect();
        let names = names.join(", ");
        texts.push(format!(
            "Caddy still answers to names for {names}, until their next deploy: if it starts \
             before Docker meanwhile, it may refuse its whole configuration"
        ));
    }
    if !report.proxy.untold.is_empty() {
        let names: Vec<&str> = report.proxy.untold.iter().map(ServiceName::as_str).collect();
        let names = names.join(", ");
        texts.push(format!("Asking Docker for names until their next deploy: {names}"));
    }
    texts
}

fn row(page: Page, service: &ServiceStatus) -> [Cell; 6] {
    let slot = match service.active_slot {
        Some(slot) => Cell::new(slot.as_str(), slot_ink(slot)),
        None => Cell::new("–", Ink::Dim),
    };
    let replicas = service.replicas;
    let short_of = if replicas.ready < replicas.declared { Ink::Warning } else { Ink::Plain };
    [
        Cell::new(service.name.as_str(), Ink::Bold),
        Cell::new(state_text(service.state), ink(service.state)),
        slot,
        Cell::new(format!("{}/{}", replicas.ready, replicas.declared), short_of),
        Cell::plain(image_text(page, service)),
        Cell::new(what_next(service), Ink::Plain),
    ]
}

/// Returns the one thing worth saying beside a row.
pub fn what_next(service: &ServiceStatus) -> String {
    let text = match service.state {
        ServiceState::Settled => service.waiting_on.join("; "),
        ServiceState::Progressing if !service.waiting_on.is_empty() => {
            service.waiting_on.join("; ")
        }
        ServiceState::Held
        | ServiceState::Progressing
        | ServiceState::Degraded
        | ServiceState::Unknown => service.reason.clone(),
    };
    harmless(&text)
}

/// Returns the image that serves, and the one on its way if that is another.
fn image_text(page: Page, service: &ServiceStatus) -> String {
    let shorten = page.width.is_some_and(|width| width < WIDE_PAGE);
    let short = |image: &ImageRef| if shorten { short_image(image) } else { image.to_string() };
    let wanted = &service.declared.image;
    if service.image == *wanted {
        return short(wanted);
    }
    match (service.image.familiar_name() == wanted.familiar_name(), wanted.tag()) {
        (true, Some(tag)) => format!("{} → {tag}", short(&service.image)),
        (true, None) | (false, _) => format!("{} → {}", short(&service.image), short(wanted)),
    }
}

/// Returns the reference without what is the same for most of a stack: the
/// registry, the folders, most of a digest.
fn short_image(image: &ImageRef) -> String {
    let text = image.as_str();
    if measure_text_width(text) <= IMAGE_COLUMNS {
        return text.to_owned();
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, _)) => (name, image.digest().map(|digest| &digest.hex()[..6])),
        None => (text, None),
    };
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    let digest = digest.map_or(String::new(), |digest| format!("@{digest}…"));
    console::truncate_str(&format!("{last}{digest}"), IMAGE_COLUMNS, "…").into_owned()
}

/// Returns what is known of a failed release, and the next command to type.
fn held(page: Page, service: &ServiceStatus, hold: &HoldStatus, log_lines: usize) -> Vec<String> {
    let release = hold.release.as_ref().map_or(String::new(), |id| format!(" (release {id})"));
    let title = if hold.log.is_empty() || !hold.gates.is_empty() {
        format!("✗ {} holds {}{release}", service.name, hold.image)
    } else {
        format!("✗ {} holds {}{release}, which last said", service.name, hold.image)
    };
    let title = page.indented(0, &harmless(&title)).into_iter();
    let mut lines: Vec<String> = title.map(|line| page.paint(Ink::Bad, &line)).collect();
    for gate in &hold.gates {
        let (mark, ink, text) = match &gate.standing {
            GateStanding::Passed { what } => ("✓", Ink::Good, format!("passed: {what}")),
            GateStanding::Failed { why } => ("✗", Ink::Bad, format!("failed: {why}")),
            GateStanding::Open { .. } | GateStanding::Discarded => {
                ("–", Ink::Dim, "not come to an end".to_owned())
            }
        };
        let text = format!("{} gate `{}` {text}", gate.phase, gate.name);
        let gate = page.indented(4, &harmless(&text)).join("\n");
        lines.push(format!("  {} {}", page.paint(ink, mark), gate.trim_start()));
    }
    if !hold.gates.is_empty() && !hold.log.is_empty() {
        lines.push(page.paint(Ink::Dim, "  It last said"));
    }
    let skipped = hold.log.len().saturating_sub(log_lines);
    if skipped > 0 {
        let text = format!("  │ … {skipped} lines more: quaymaster logs {}", service.name);
        lines.push(page.paint(Ink::Dim, &text));
    }
    for line in &hold.log[skipped..] {
        let room = page.width.map_or(usize::MAX, |width| width.saturating_sub(4));
        let text = console::truncate_str(&harmless(line), room, "…").into_owned();
        lines.push(format!("  {} {text}", page.paint(Ink::Dim, "│")).trim_end().to_owned());
    }
    let next = match hold.by {
        HeldBy::Failure => "Mend the file, or try the same again:",
        HeldBy::Operator => "Bring the file to what serves, or go forward to it again:",
    };
    lines.extend(page.indented(2, next));
    // On a line of its own, so that it can be copied whatever the width.
    lines.push(format!("    quaymaster retry {}", service.name));
    lines
}

pub fn state_text(state: ServiceState) -> String {
    let mark = match state {
        ServiceState::Settled => "✓",
        ServiceState::Progressing => "↻",
        ServiceState::Degraded => "!",
        ServiceState::Held => "✗",
        ServiceState::Unknown => "?",
    };
    format!("{mark} {state}")
}

pub fn ink(state: ServiceState) -> Ink {
    match state {
        ServiceState::Settled => Ink::Good,
        ServiceState::Progressing => Ink::Busy,
        ServiceState::Degraded | ServiceState::Unknown => Ink::Warning,
        ServiceState::Held => Ink::Bad,
    }
}

fn slot_ink(slot: Slot) -> Ink {
    match slot {
        Slot::Blue => Ink::BlueSlot,
        Slot::Green => Ink::GreenSlot,
    }
}
