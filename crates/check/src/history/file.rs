//! Histories as files: one JSON object a line.

use std::io::{self, BufRead, Write};

use super::Event;

/// Why a file is not a history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line is not an event.
    #[error("line {line}: {source}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Reads a history; empty lines do not count. Files of several writers of one run may be read as one:
/// the events are sorted by their time.
pub fn read(reader: impl BufRead) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            let event = serde_json::from_str(&line)
                .map_err(|source| ReadError::Line { line: number + 1, source })?;
            events.push(event);
        }
    }
    events.sort_by_key(|event: &Event| event.at);
    Ok(events)
}

/// Writes a history.
pub fn write(mut writer: impl Write, events: &[Event]) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut writer, event)?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}
