//! `tidy`: what no compiler checks, about the layers, the files and what is generated.
//!
//! Never changes a file.

mod files;
mod layers;
mod libraries;
mod words;

use anyhow::{Result, bail};

use crate::{env::Env, progress::Progress};

/// One thing that is not as it should be, in words that say what to do.
pub(crate) type Finding = String;

/// Checks the repository; fails with everything that was found.
pub(crate) fn run(progress: &Progress) -> Result<()> {
    let env = Env::open()?;
    let mut findings = layers::check(&env)?;
    findings.extend(libraries::check(&env)?);
    findings.extend(files::check(&env)?);
    findings.extend(words::check(&env)?);
    if findings.is_empty() {
        progress.say("tidy: layers, libraries, files and words are as they should be");
        return Ok(());
    }
    for finding in &findings {
        progress.say(&format!("tidy: {finding}"));
    }
    bail!("{} findings", findings.len())
}
