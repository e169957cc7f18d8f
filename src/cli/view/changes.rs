//! A plan as a readable diff.

use super::{Ink, Page, harmless};
use crate::cli::changes::{Action, Changes, FieldChange, ServiceChange};

/// Returns the diff, and one line that sums it up.
pub fn render(page: Page, changes: &Changes) -> Vec<String> {
    let mut lines = vec![page.paint(Ink::Bold, changes.stack.as_str())];
    for unseen in &changes.unseen {
        let unseen = page.indented(0, &format!("✗ {}", harmless(unseen)));
        lines.extend(unseen.iter().map(|line| page.paint(Ink::Bad, line)));
    }
    for service in &changes.services {
        match service.action {
            Action::Keep => {}
            Action::Create | Action::Change | Action::Remove | Action::Held => {
                lines.push(String::new());
                lines.extend(block(page, service));
            }
        }
    }
    if !changes.on_other_hosts.is_empty() {
        let names: Vec<&str> = changes.on_other_hosts.iter().map(|name| name.as_str()).collect();
        let text = page.indented(0, &format!("On other hosts: {}", names.join(", ")));
        lines.push(String::new());
        lines.extend(text.iter().map(|line| page.paint(Ink::Dim, line)));
    }
    if !changes.first_steps.is_empty() {
        lines.push(String::new());
        lines.push("It would begin with:".to_owned());
        for step in &changes.first_steps {
            lines.extend(page.indented(2, &harmless(step)));
        }
    }
    lines.push(String::new());
    lines.push(summary(changes));
    lines
}

fn block(page: Page, service: &ServiceChange) -> Vec<String> {
    let (mark, ink) = match service.action {
        Action::Create => ("+", Ink::Good),
        Action::Change => ("~", Ink::Warning),
        Action::Remove => ("-", Ink::Bad),
        Action::Held => ("✗", Ink::Bad),
        Action::Keep => ("=", Ink::Dim),
    };
    let mut lines =
        vec![format!("{} {}", page.paint(ink, mark), page.paint(Ink::Bold, service.name.as_str()))];
    if !service.why.is_empty() {
        let why = page.indented(4, &harmless(&service.why));
        lines.extend(why.iter().map(|line| page.paint(Ink::Dim, line)));
    }
    let width = service.fields.iter().map(|field| field.field.chars().count()).max().unwrap_or(0);
    for field in &service.fields {
        lines.extend(page.indented(4, &field_text(field, width)));
    }
    if !service.way.is_empty() {
        lines.extend(page.indented(4, &format!("⇒ {}", service.way.join(", "))));
    }
    lines
}

fn field_text(field: &FieldChange, width: usize) -> String {
    let name = &field.field;
    let values = match (&field.from, &field.to) {
        (Some(from), Some(to)) if from == to => format!("changed {to}"),
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (Some(from), None) => format!("{from} → nothing"),
        (None, Some(to)) => to.clone(),
        (None, None) => String::new(),
    };
    format!("{name:width$}  {}", harmless(&values))
}

fn summary(changes: &Changes) -> String {
    let count = |action| changes.services.iter().filter(|one| one.action == action).count();
    let counts = [
        (count(Action::Create), "to create"),
        (count(Action::Change), "to change"),
        (count(Action::Remove), "to remove"),
        (count(Action::Held), "held"),
        (count(Action::Keep), "as declared"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let services = if counts.is_empty() { "no services".to_owned() } else { counts.join(", ") };
    if changes.something_to_do {
        format!("Services: {services}.")
    } else {
        format!("Nothing to do. Services: {services}.")
    }
}
