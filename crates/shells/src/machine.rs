//! What a host of a world has to itself: whether it stands still, and how it sees what all share.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use iris_coord::SharedCoord;
use iris_core::clock::{MonoUs, Now, WallMs};
use iris_runtime::clock::{Clock, SharedClock, millis};
use iris_runtime::task::{Pace as _, Tasks};
use iris_store::SharedStore;
use iris_store::embedded::{Access, EmbeddedStore, Fate, Weather};
use tokio::sync::watch;

use crate::etcd::{Etcd, Line};
use crate::ground::elapsed;
use crate::sky::Sky;
use crate::stillness::Stillness;

/// The way from a host to the database or to etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    Open,
    /// What is asked does not get there.
    Closed,
    /// What is asked gets there, and its answer does not come back.
    NoWayBack,
}

/// See the module.
pub(crate) struct Machine {
    pub(crate) stillness: Arc<Stillness>,
    pub(crate) store: SharedStore,
    pub(crate) coord: SharedCoord,
    pub(crate) clock: SharedClock,
    to_database: watch::Sender<Road>,
    to_etcd: watch::Sender<Road>,
}

impl Machine {
    pub(crate) fn new(store: &EmbeddedStore, etcd: &Arc<Etcd>, sky: &Sky) -> Self {
        let stillness = Arc::<Stillness>::default();
        let (to_database, road) = watch::channel(Road::Open);
        let outlook = Outlook { sky: sky.clone(), road, stillness: Arc::clone(&stillness) };
        let (to_etcd, road) = watch::channel(Road::Open);
        let line = Line { etcd: Arc::clone(etcd), road, stillness: Arc::clone(&stillness) };
        Self {
            store: Arc::new(store.seen_in(outlook)),
            coord: Arc::new(line),
            clock: Arc::new(HostClock(Arc::clone(&stillness))),
            stillness,
            to_database,
            to_etcd,
        }
    }

    /// From now on the host reaches the database so.
    pub(crate) fn set_to_database(&self, road: Road) {
        self.to_database.send_replace(road);
    }

    /// From now on the host reaches etcd so.
    pub(crate) fn set_to_etcd(&self, road: Road) {
        self.to_etcd.send_replace(road);
    }

    /// The tasks of a process there.
    pub(crate) fn tasks(&self) -> Tasks {
        Tasks::paced(self.stillness.clone())
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
    road: watch::Receiver<Road>,
    stillness: Arc<Stillness>,
}

impl Weather for Outlook {
    fn elapsed(&self) -> Duration {
        elapsed()
    }

    fn fate(&self, access: Access) -> Fate {
        self.sky.fate(access, *self.road.borrow())
    }

    fn reads_old(&self) -> bool {
        self.sky.reads_old()
    }

    fn poll_hears(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stillness.poll_going(context)
    }
}
