//! A piece of the terminal that is drawn again in place.

use std::io;

use console::Term;

/// What was drawn last, so that the next drawing starts where it started.
#[derive(Debug)]
pub struct Screen {
    term: Term,
    drawn: usize,
}

impl Screen {
    pub fn of_stdout() -> Screen {
        Screen { term: Term::buffered_stdout(), drawn: 0 }
    }

    /// Draws `lines` over the last ones, in one write so that nothing flickers.
    /// What does not fit the height is left out, and said so.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (rows, columns) = self.term.size();
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let room = rows.saturating_sub(1).max(1);
        let (shown, hidden) = match lines.len() {
            count if count <= room => (lines, 0),
            count => (&lines[..room - 1], count - (room - 1)),
        };
        self.term.move_cursor_up(self.drawn.min(room))?;
        for line in shown {
            self.line(&console::truncate_str(line, columns, "…"))?;
        }
        if hidden > 0 {
            self.line(&format!("… {hidden} lines more"))?;
        }
        self.term.clear_to_end_of_screen()?;
        self.term.flush()?;
        self.drawn = shown.len() + usize::from(hidden > 0);
        Ok(())
    }

    fn line(&self, text: &str) -> io::Result<()> {
        self.term.clear_line()?;
        self.term.write_line(text)
    }
}
