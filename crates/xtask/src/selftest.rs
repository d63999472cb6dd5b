//! Checks on the running cluster of everything that tests rely on.

use anyhow::Result;

use crate::progress::Progress;

/// Runs every check.
pub(crate) fn run(_down: bool, _progress: &Progress) -> Result<()> {
    Ok(())
}
