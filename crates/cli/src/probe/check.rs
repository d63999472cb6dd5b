//! One check: what was expected, what was seen.

use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) expected: String,
    pub(super) seen: String,
    pub(super) verdict: Verdict,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Differs,
    /// It could not be tried.
    Skipped,
}

impl Check {
    pub(super) fn new(name: &str, expected: &str, seen: &str, ok: bool) -> Self {
        let verdict = if ok { Verdict::Ok } else { Verdict::Differs };
        let [name, expected, seen] = [name, expected, seen].map(str::to_owned);
        Self { name, expected, seen, verdict }
    }

    pub(super) fn skipped(name: &str, expected: &str, why: &str) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::new(name, expected, why, false) }
    }

    pub(super) fn row(&self) -> Vec<String> {
        let mark = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Differs => "DIFFERS",
            Verdict::Skipped => "skipped",
        };
        let cells = [mark, &self.name, &self.expected, &self.seen];
        cells.map(str::to_owned).into()
    }
}
