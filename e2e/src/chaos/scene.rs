//! Where cells happen: the cluster, somebody who is told how it goes, and the word to stop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use parking_lot::Mutex;
use xtask::cluster::Cluster;

/// How often a wait looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    stop: Arc<AtomicBool>,
    say: Box<dyn Fn(&str) + Send + Sync>,
    random: Mutex<fastrand::Rng>,
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Somebody ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Scene {
    /// On a cluster; `seed` draws what the faults leave open; `stop` is set when somebody ends the run.
    pub fn new(
        cluster: Cluster,
        seed: u64,
        stop: Arc<AtomicBool>,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { cluster, stop, say: Box::new(say), random }
    }

    /// Tells how it goes.
    pub fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Draws from `range`, in seconds.
    pub(crate) fn draw(&self, range: std::ops::Range<f64>) -> f64 {
        range.start + self.random.lock().f64() * (range.end - range.start)
    }

    /// Fails once somebody ended the run.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Acquire) { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// Waits, unless somebody ends the run.
    pub(crate) fn pause(&self, seconds: f64) -> Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Asks every `every` seconds until the answer is there; fails with the last reason why not.
    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        every: f64,
        mut ask: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let until = Instant::now() + limit;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(why) if Instant::now() >= until => {
                    return Err(why.context(format!("not within {} s", limit.as_secs())));
                }
                Err(_) => self.pause(every)?,
            }
        }
    }
}
