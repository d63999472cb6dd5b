//! Words that have no place in the repository.
//!
//! Never looks into what is generated.

use std::path::Path;

use anyhow::Result;

use super::{
    Finding,
    files::{read, tracked},
};
use crate::env::Env;

/// What must not stand in a source file, and what to do instead. Written in two halves, so that this
/// file does not find itself.
const BANNED: &[(&str, &str, &str)] = &[
    ("to", "do!(", "do it, or leave it out"),
    ("unimpl", "emented!(", "do it, or leave it out"),
    ("#[ig", "nore", "a skipped test is a failing test"),
    ("FIX", "ME", "mend it"),
    ("for n", "ow,", "say what is, or change it"),
];

/// Where words are looked for.
const PATTERNS: &[&str] = &["*.rs", "*.proto", "*.go"];

pub(super) fn check(env: &Env) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for pattern in PATTERNS {
        for path in tracked(env, pattern)? {
            findings.extend(in_text(&path, &read(env, &path)?));
        }
    }
    Ok(findings)
}

fn in_text(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (first, second, instead) in BANNED {
            if line.contains(&format!("{first}{second}")) {
                let (path, number) = (path.display(), number + 1);
                findings.push(format!("{path}:{number}: \"{first}{second}\": {instead}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_words_are_found_with_their_lines() {
        let text = format!("fine\n    {}{}\n", "#[ig", "nore]");
        let found = in_text(Path::new("a.rs"), &text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
    }
}
