//! The one place that writes to the terminal: results to one stream, everything else to the other.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// See the module. With `json` every result is one JSON object on a line of its own.
pub struct Output {
    json: bool,
    results: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Output {
    /// To the process's own streams.
    pub fn of_process(json: bool) -> Self {
        Self::new(json, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// To these.
    pub fn new(json: bool, results: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { json, results, notes }
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A result: as `text` for people, as `value` for programs. Text may have several lines.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn result(&mut self, text: &str, value: &impl Serialize) -> Result<(), Failure> {
        if self.json { self.value(value) } else { self.line(text) }
    }

    /// A line for people alone.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.line(text) }
    }

    /// Something on the side. Nobody may be reading it.
    pub fn note(&mut self, text: &str) {
        let written = writeln!(self.notes, "{text}").and_then(|()| self.notes.flush());
        drop(written);
    }

    /// What went wrong, and what to do.
    pub fn failure(&mut self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        let text = if self.json {
            serde_json::to_string(failure).unwrap_or_default()
        } else {
            failure.for_people()
        };
        self.note(&text);
    }

    /// Bytes as they are, such as a script.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.results.write_all(bytes).and_then(|()| self.results.flush())?)
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.results, "{text}").and_then(|()| self.results.flush())?)
    }

    fn value(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(&text)
    }
}

/// Columns of text, each as wide as it must be.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain([heads[n].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heads.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_straight_columns() {
        let rows = [vec!["a".to_owned(), "12".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME  N\na     12\nlong");
    }
}
