//! What happened, line by line, for whoever replays a seed.

/// A trace that is kept, or none: most runs are never looked at.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn kept() -> Trace {
        Trace { lines: Some(Vec::new()) }
    }

    pub fn none() -> Trace {
        Trace { lines: None }
    }

    /// Appends what `line` says, with the time in front; does not ask it if
    /// nothing is kept.
    pub fn line(&mut self, now: i64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>8}.{:03} {}", now / 1000, now % 1000, line()));
        }
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
