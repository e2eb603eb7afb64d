//! Tables like kubectl's: upper-case headers, columns three blanks apart, no lines.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use owo_colors::{OwoColorize, Style};

/// Blanks between two columns.
const GAP: usize = 3;

/// Rows under headers. A row shorter than the header is filled up with nothing.
#[derive(Debug, Clone, Default)]
pub struct Table {
    headers: Vec<Cow<'static, str>>,
    rows: Vec<Vec<String>>,
    /// Width of each column; grows and never shrinks, so that a watch keeps its columns.
    widths: Vec<usize>,
}

impl Table {
    /// A table without rows. Headers are printed in upper case.
    pub fn new<H: Into<Cow<'static, str>>>(headers: impl IntoIterator<Item = H>) -> Table {
        let headers: Vec<Cow<'static, str>> = headers.into_iter().map(Into::into).collect();
        let widths = headers.iter().map(|header| width(header)).collect();
        Table {
            headers,
            rows: Vec::new(),
            widths,
        }
    }

    /// Adds a row. Line breaks and other control characters become blanks: what a cluster says must not draw on the
    /// terminal of whoever looks at it.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| one_line(&cell)).collect();
        for (column, cell) in cells.iter().enumerate() {
            if let Some(widest) = self.widths.get_mut(column) {
                *widest = (*widest).max(width(cell));
            }
        }
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes headers (if wanted) and rows, and forgets the rows.
    pub fn write(&mut self, out: &mut impl Write, with_headers: bool) -> io::Result<()> {
        if with_headers {
            let headers: Vec<String> = self.headers.iter().map(|header| header.to_uppercase()).collect();
            self.write_row(out, &headers, false)?;
        }
        for row in std::mem::take(&mut self.rows) {
            self.write_row(out, &row, true)?;
        }
        Ok(())
    }

    /// To stdout, in colour when that is a terminal.
    pub fn print(&mut self, with_headers: bool) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        self.write(&mut out, with_headers)?;
        out.flush()
    }

    /// As text without colour, for parts of a description.
    pub fn into_text(mut self) -> String {
        let mut bytes = Vec::new();
        let mut out = anstream::StripStream::new(&mut bytes);
        self.write(&mut out, true).expect("writing to memory does not fail");
        String::from_utf8(bytes).expect("cells are text")
    }

    fn write_row(&self, out: &mut impl Write, row: &[String], coloured: bool) -> io::Result<()> {
        let last = row.iter().rposition(|cell| !cell.is_empty());
        for (column, cell) in row.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            match self
                .headers
                .get(column)
                .filter(|_| coloured)
                .and_then(|header| style(header, cell))
            {
                Some(style) => write!(out, "{}", cell.style(style))?,
                None => write!(out, "{cell}")?,
            }
            if Some(column) != last {
                let fill = self
                    .widths
                    .get(column)
                    .copied()
                    .unwrap_or_default()
                    .saturating_sub(width(cell))
                    + GAP;
                write!(out, "{:fill$}", "")?;
            }
        }
        writeln!(out)
    }
}

/// Colour repeats what the cell says, for the two columns people look for first.
fn style(header: &str, cell: &str) -> Option<Style> {
    match (header, cell) {
        ("Ready" | "Connected", "True") => Some(Style::new().green()),
        ("Ready" | "Connected", "False") => Some(Style::new().red()),
        ("Ready" | "Connected", "Unknown") | ("Suspended", "True") => Some(Style::new().yellow()),
        ("Failed", count) if count != "0" && !count.is_empty() => Some(Style::new().red()),
        ("Type", "Warning") => Some(Style::new().yellow()),
        _ => None,
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text in one line without control characters.
pub fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(["Name", "Ready", "Message"]);
        table.row(strings(["eu-1", "True", "applied revision main@sha1:1234"]));
        table.row(strings(["a-long-name", "False", ""]));
        table.row(strings(["ü", "Unknown", "line\nbreak\u{1b}[31m"]));
        assert_eq!(
            table.into_text(),
            "NAME          READY     MESSAGE\n\
             eu-1          True      applied revision main@sha1:1234\n\
             a-long-name   False\n\
             ü             Unknown   line break [31m\n"
        );
    }

    #[test]
    fn a_watch_keeps_its_columns() {
        let mut table = Table::new(["Name", "Ready"]);
        table.row(strings(["a-long-name", "True"]));
        let mut out = Vec::new();
        table.write(&mut out, true).unwrap();
        table.row(strings(["b", "True"]));
        let mut second = anstream::StripStream::new(Vec::new());
        table.write(&mut second, false).unwrap();
        assert_eq!(String::from_utf8(second.into_inner()).unwrap(), "b             True\n");
    }

    #[test]
    fn colour_says_nothing_alone() {
        let mut table = Table::new(["Name", "Ready"]);
        table.row(strings(["x", "False"]));
        let mut out = Vec::new();
        table.write(&mut out, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("False") && text.contains('\u{1b}'), "{text:?}");
    }
}
