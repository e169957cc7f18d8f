//! What changed from one report to the next, a line a service.

use crate::controller::status::{ServiceStatus, StatusReport};
use crate::domain::ServiceName;

use super::{
    Ink, Page, harmless,
    status::{ink, state_text},
};

/// Returns a line for each service that stands otherwise than before. A
/// countdown alone is no change.
pub fn changes(page: Page, before: Option<&StatusReport>, report: &StatusReport) -> Vec<String> {
    let width = report.services.iter().map(|service| service.name.as_str().len()).max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    let file_was_valid = before.is_none_or(|before| before.file.valid);
    if file_was_valid && !report.file.valid {
        lines.push(page.paint(Ink::Bad, "the file is not valid; the one before stays in force"));
        let problem = report.file.problem.as_deref().unwrap_or_default();
        lines.extend(problem.lines().map(|line| format!("  {}", harmless(line))));
    }
    if let Some(commit) = &report.commit
        && before.is_none_or(|before| before.commit.as_ref() != Some(commit))
    {
        lines.push(page.paint(Ink::Dim, &format!("commit {} is in force", commit.short())));
    }
    let trouble_of = |report: &StatusReport| report.file.git.as_ref()?.trouble.clone();
    if let Some(trouble) = trouble_of(report)
        && before.and_then(trouble_of).as_ref() != Some(&trouble)
    {
        let text = format!("the branch is not followed: {}", harmless(&trouble));
        lines.push(page.paint(Ink::Bad, &text));
    }
    for service in &report.services {
        let stood = before.and_then(|before| before.service(&service.name));
        if stood.map(essence) != Some(essence(service)) {
            lines.push(line(page, service, width));
        }
    }
    if let Some(before) = before {
        let gone = before.services.iter().filter(|old| report.service(&old.name).is_none());
        lines.extend(gone.map(|old| gone_line(&old.name, width)));
    }
    lines
}

/// What has to differ for a line to be worth reading.
fn essence(service: &ServiceStatus) -> impl PartialEq + use<'_> {
    (service.state, &service.reason, service.active_slot, &service.image, &service.release)
}

fn line(page: Page, service: &ServiceStatus, width: usize) -> String {
    let state = page.paint(ink(service.state), &format!("{:13}", state_text(service.state)));
    let slot = service.active_slot.map_or(String::new(), |slot| format!(" in {slot}"));
    let serving = format!("{}{slot}", service.image);
    format!("{:width$}  {state}  {serving}: {}", service.name, harmless(&service.reason))
}

fn gone_line(name: &ServiceName, width: usize) -> String {
    format!("{name:width$}  is no longer in the file")
}
