//! Aligned columns that fit the page.
//!
//! The last column takes what is left and wraps; where too little is left, it
//! moves beneath its row.

use console::measure_text_width;

use super::{Ink, Page, wrap};

/// The gap between two columns.
const GAP: usize = 2;

/// The narrowest that the last column is worth having beside the others.
const MIN_LAST: usize = 18;

/// One cell: its text and what its colour says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    ink: Ink,
}

impl Cell {
    pub fn new(text: impl Into<String>, ink: Ink) -> Cell {
        Cell { text: text.into(), ink }
    }

    pub fn plain(text: impl Into<String>) -> Cell {
        Cell::new(text, Ink::Plain)
    }
}

/// Returns the table's lines. `rows` have as many cells as `headers`.
pub fn render<const N: usize>(page: Page, headers: [&str; N], rows: &[[Cell; N]]) -> Vec<String> {
    let last = N - 1;
    let widths: Vec<usize> = (0..last)
        .map(|column| {
            let cells = rows.iter().map(|row| measure_text_width(&row[column].text));
            cells.chain([headers[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let before_last: usize = widths.iter().map(|width| width + GAP).sum();
    let place = place_last(page, before_last, rows.iter().map(|row| &row[last]));

    let mut lines = Vec::new();
    let header = headers.map(|header| Cell::new(header, Ink::Dim));
    if rows.iter().all(|row| row[last].text.is_empty()) || place == Last::Beneath {
        lines.push(row_start(page, &header[..last], &widths).trim_end().to_owned());
    } else {
        lines
            .push(row_start(page, &header[..last], &widths) + &page.paint(Ink::Dim, headers[last]));
    }
    for row in rows {
        let start = row_start(page, &row[..last], &widths);
        let cell = &row[last];
        match place {
            Last::Beside(width) => {
                let mut wrapped = wrap(&cell.text, width).into_iter();
                let first = page.paint(cell.ink, &wrapped.next().unwrap_or_default());
                lines.push((start + &first).trim_end().to_owned());
                lines.extend(
                    wrapped
                        .map(|text| format!("{:before_last$}{}", "", page.paint(cell.ink, &text))),
                );
            }
            Last::Beneath => {
                lines.push(start.trim_end().to_owned());
                let beneath = page.indented(GAP, &cell.text).into_iter();
                lines.extend(beneath.map(|text| page.paint(cell.ink, &text)));
            }
        }
    }
    // What is wider than the page all the same would break the columns.
    match page.width {
        Some(width) => {
            lines.iter().map(|line| console::truncate_str(line, width, "…").into_owned()).collect()
        }
        None => lines,
    }
}

/// Where the last column's texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// With at most so many columns.
    Beside(Option<usize>),
    Beneath,
}

fn place_last<'a>(
    page: Page,
    before_last: usize,
    mut cells: impl Iterator<Item = &'a Cell>,
) -> Last {
    let Some(width) = page.width else { return Last::Beside(None) };
    let room = width.saturating_sub(before_last);
    let fits = room >= MIN_LAST || cells.all(|cell| measure_text_width(&cell.text) <= room);
    if fits { Last::Beside(Some(room)) } else { Last::Beneath }
}

fn row_start(page: Page, cells: &[Cell], widths: &[usize]) -> String {
    cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| {
            let padding = width + GAP - measure_text_width(&cell.text);
            format!("{}{:padding$}", page.paint(cell.ink, &cell.text), "")
        })
        .collect()
}
