//! What people see: pure functions from values to text.

pub mod changes;
pub mod deployments;
pub mod history;
pub mod progress;
pub mod status;
pub mod table;

use console::{Style, Term, measure_text_width};

/// The surface that a text is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Columns; None where nothing is to be wrapped, as in a pipe.
    pub width: Option<usize>,
    pub palette: Palette,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    Plain,
    Colours,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Bold,
    Dim,
    Good,
    Busy,
    Warning,
    Bad,
    BlueSlot,
    GreenSlot,
}

impl Page {
    /// Returns the page that standard output is.
    pub fn of_stdout() -> Page {
        Page::of(&Term::stdout(), console::colors_enabled())
    }

    /// Returns the page that standard error is.
    pub fn of_stderr() -> Page {
        Page::of(&Term::stderr(), console::colors_enabled_stderr())
    }

    fn of(term: &Term, colours: bool) -> Page {
        let width = term.size_checked().map(|(_rows, columns)| usize::from(columns));
        let palette = if colours { Palette::Colours } else { Palette::Plain };
        Page { width: width.filter(|_| term.is_term()), palette }
    }

    pub fn paint(self, ink: Ink, text: &str) -> String {
        let style = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Bold => Style::new().bold(),
            Ink::Dim => Style::new().dim(),
            Ink::Good | Ink::GreenSlot => Style::new().green(),
            Ink::Busy => Style::new().cyan(),
            Ink::Warning => Style::new().yellow(),
            Ink::Bad => Style::new().red(),
            Ink::BlueSlot => Style::new().blue(),
        };
        match self.palette {
            Palette::Plain => text.to_owned(),
            Palette::Colours => style.force_styling(true).apply_to(text).to_string(),
        }
    }

    /// Returns `text` in lines that begin with `indent` spaces and fit the page.
    pub fn indented(self, indent: usize, text: &str) -> Vec<String> {
        let room = self.width.map(|width| width.saturating_sub(indent));
        let lines = text.lines().flat_map(|line| wrap(line, room));
        lines.map(|line| format!("{:indent$}{line}", "")).collect()
    }
}

/// Returns `text` broken between words into lines of at most `width` columns;
/// a word that is longer alone is broken too.
pub fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.map(|width| width.max(1)) else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = measure_text_width(word);
        if used > 0 && used + 1 + length <= width {
            let line = lines.last_mut().expect("there is always a line");
            line.push(' ');
            line.push_str(word);
            used += 1 + length;
            continue;
        }
        if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for character in word.chars() {
            let columns = measure_text_width(character.encode_utf8(&mut [0; 4]));
            if used + columns > width {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("there is always a line").push(character);
            used += columns;
        }
    }
    lines
}

/// Returns text from outside as one line, with everything removed that a
/// terminal would obey.
pub fn harmless(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    plain.replace('\t', "    ").replace('\n', " ").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_keeps_every_word_and_the_width() {
        let text = "connection refused at 172.18.0.3:8080 averyveryverylongword x";
        let lines = wrap(text, Some(12));
        assert!(lines.iter().all(|line| measure_text_width(line) <= 12), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        assert_eq!(wrap(text, None), [text]);
    }

    #[test]
    fn a_log_line_cannot_command_the_terminal() {
        assert_eq!(harmless("\u{1b}[2J\u{1b}]0;x\u{7}boom\r\u{8}\tend"), "boom    end");
    }
}
