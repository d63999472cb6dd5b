//! What a host of a world has to itself: whether it stands still, and how it sees what all share.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use iris_core::clock::{MonoUs, Now, WallMs};
use iris_runtime::clock::{Clock, SharedClock, millis};
use iris_runtime::task::{Pace as _, Tasks};
use iris_store::SharedStore;
use iris_store::embedded::{Access, EmbeddedStore, Fate, Weather};

use crate::ground::elapsed;
use crate::sky::Sky;
use crate::stillness::Stillness;

/// See the module.
pub(crate) struct Machine {
    pub(crate) stillness: Arc<Stillness>,
    pub(crate) store: SharedStore,
    pub(crate) clock: SharedClock,
}

impl Machine {
    pub(crate) fn new(store: &EmbeddedStore, sky: &Sky) -> Self {
        let stillness = Arc::<Stillness>::default();
        let outlook = Outlook { sky: sky.clone(), stillness: Arc::clone(&stillness) };
        Self {
            store: Arc::new(store.seen_in(outlook)),
            clock: Arc::new(HostClock(Arc::clone(&stillness))),
            stillness,
        }
    }

    /// The tasks of a process there.
    pub(crate) fn tasks(&self) -> Tasks {
        Tasks::paced(Arc::clone(&self.stillness) as _)
    }
}

/// The time, at so much since the world began and since 1970.
pub(crate) fn now(world: Duration, wall: Duration) -> Now {
    let mono = u64::try_from(world.as_micros()).unwrap_or(u64::MAX);
    Now { wall: WallMs(millis(wall)), mono: MonoUs(mono) }
}

/// The world's time, which a process that stands still does not see go by.
struct HostClock(Arc<Stillness>);

impl Clock for HostClock {
    fn now(&self) -> Now {
        let world = || now(elapsed(), turmoil::since_epoch().unwrap_or_default());
        self.0.since().unwrap_or_else(world)
    }
}

/// The database's weather as a host has it.
struct Outlook {
    sky: Sky,
    stillness: Arc<Stillness>,
}

impl Weather for Outlook {
    fn elapsed(&self) -> Duration {
        elapsed()
    }

    fn fate(&self, access: Access) -> Fate {
        self.sky.fate(access)
    }

    fn poll_hears(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stillness.poll_going(context)
    }
}
