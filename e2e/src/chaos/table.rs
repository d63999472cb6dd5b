//! Results as a table for a terminal. Pure.

use std::fmt::Write as _;

use super::verdict::Outcome;

const HEADINGS: [&str; 12] = [
    "CELL",
    "RESULT",
    "ACKED",
    "LOST",
    "DUP",
    "REORD",
    "GAPS",
    "UNREAD",
    "GAP P50/P99/MAX MS",
    "SETTLED",
    "READY",
    "TOOK",
];

/// The headings and a line for each outcome, then why those that failed did.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut rows: Vec<[String; 12]> = vec![HEADINGS.map(ToOwned::to_owned)];
    rows.extend(outcomes.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 12] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            // Words on the left, numbers on the right.
            if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        // A String takes everything.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
        for failure in &outcome.failures {
            let _ = writeln!(text, "{}: {failure}", outcome.cell);
        }
    }
    text
}

/// One outcome as a line of words.
pub fn line(outcome: &Outcome) -> String {
    let result = if outcome.passed { "ok  " } else { "FAIL" };
    let proof: Vec<_> = outcome.proof.iter().map(ToString::to_string).collect();
    format!(
        "{result} {}: {} acked, {} lost, {} duplicated, {} reordered; write gap at most {}; settled {}, Ready \
         {}; {}{}",
        outcome.cell,
        outcome.acked,
        outcome.lost,
        outcome.duplicated,
        outcome.reordered,
        outcome
            .write_gap_ms
            .map_or_else(|| "unknown".to_owned(), |gap| format!("{:.0} ms", gap.max)),
        seconds(outcome.settle_s),
        seconds(outcome.ready_s),
        proof.join(", "),
        outcome.failures.iter().fold(String::new(), |text, failure| text + "\n     " + failure),
    )
}

pub(super) fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn row(outcome: &Outcome) -> [String; 12] {
    let gap = outcome
        .write_gap_ms
        .map_or_else(String::new, |gap| format!("{:.0}/{:.0}/{:.0}", gap.p50, gap.p99, gap.max));
    [
        outcome.cell.clone(),
        if outcome.passed { "ok" } else { "FAIL" }.to_owned(),
        outcome.acked.to_string(),
        outcome.lost.to_string(),
        outcome.duplicated.to_string(),
        outcome.reordered.to_string(),
        outcome.gaps.to_string(),
        outcome.receipts_missing.to_string(),
        gap,
        seconds(outcome.settle_s),
        seconds(outcome.ready_s),
        format!("{:.0} s", outcome.seconds),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::{good, judged};
    use super::super::verdict::{Outcome, Seen};
    use super::*;

    #[test]
    fn columns_stand_below_their_headings_and_failures_below_the_table() {
        let failed = judged(Seen { ready_s: None, ..good() });
        let text = table(&[judged(good()), Outcome { cell: "x".to_owned(), ..failed }]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let at = |line: &str, word: &str| line.find(word).unwrap();
        assert_eq!(at(lines[0], "RESULT"), at(lines[1], "ok"));
        assert_eq!(at(lines[0], "RESULT"), at(lines[2], "FAIL"));
        assert!(lines[1].contains("5/40/900") && lines[1].contains("1.5 s"), "{text}");
        assert!(lines[3].starts_with("x: not within the bound"), "{text}");
    }

    #[test]
    fn a_line_has_the_proof() {
        assert!(line(&judged(good())).contains("process replaced 1"));
    }
}
