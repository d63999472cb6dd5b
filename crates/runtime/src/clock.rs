//! Where a process gets the time from; the only place that asks the system.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iris_core::clock::{MonoUs, Now, WallMs};

/// A source of time. Simulations have their own.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock and a monotonic clock that goes on while the machine is suspended.
    fn now(&self) -> Now;
}

/// A clock that is shared by a process.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clocks, shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody takes")]
    fn now(&self) -> Now {
        let wall = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // CLOCK_BOOTTIME counts suspension: a fence read from before a pause must look old after it.
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
        let micros = u64::try_from(boot.tv_nsec / 1_000).unwrap_or_default();
        Now { wall: WallMs(millis(wall)), mono: MonoUs(seconds * 1_000_000 + micros) }
    }
}

/// Whole milliseconds, saturating.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
