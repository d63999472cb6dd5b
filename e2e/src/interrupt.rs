//! The word to stop, for programs that break or change a cluster: they put it back before they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// Set once somebody interrupts or ends the program. `unheard` is told if nobody can.
///
/// # Errors
/// When there is no way to hear of it.
pub fn asked(unheard: impl FnOnce(&std::io::Error) + Send + 'static) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        let ended = runtime.block_on(async {
            let mut term =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted,
                _ = term.recv() => Ok(()),
            }
        });
        match ended {
            Ok(()) => set.store(true, Ordering::Release),
            Err(error) => unheard(&error),
        }
    });
    Ok(stop)
}
