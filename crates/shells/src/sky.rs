//! The weather of a world's database: fair, or foul for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use iris_store::embedded::{Access, Answer, Fate};
use parking_lot::Mutex;

use crate::machine::Road;

/// How late a write may be that nobody waits for.
const LATE_MAX: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Sky {
    foul: Arc<AtomicBool>,
    /// Writes that happened and whose sender was not told; that did not; that happened late.
    unclear: Arc<[AtomicU64; 3]>,
    random: Arc<Mutex<fastrand::Rng>>,
}

impl Sky {
    pub(crate) fn new(seed: u64) -> Self {
        let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        Self { foul: Arc::default(), unclear: Arc::default(), random }
    }

    /// Whether a read that begins now, and is not serial, misses what was decided last.
    pub(crate) fn reads_old(&self) -> bool {
        self.random.lock().u8(0..8) == 0
    }

    pub(crate) fn set_foul(&self, foul: bool) {
        self.foul.store(foul, Ordering::Release);
    }

    /// What becomes of an access of a host that reaches the database so.
    pub(crate) fn fate(&self, access: Access, road: Road) -> Fate {
        let fate = self.draw(road);
        let at = match fate.answer {
            Answer::Unknown => Some(0),
            Answer::Lost => Some(1),
            Answer::Late(_) => Some(2),
            Answer::Done | Answer::Unavailable => None,
        };
        if let (Access::Write, Some(at)) = (access, at) {
            self.unclear[at].fetch_add(1, Ordering::Relaxed);
        }
        fate
    }

    /// How many writes nobody knew the outcome of, by what it was.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        let count = |at: usize| self.unclear[at].load(Ordering::Relaxed);
        [
            ("a write happened and seemed lost", count(0)),
            ("a write was lost", count(1)),
            ("a write happened when nobody waited any more", count(2)),
        ]
    }

    fn draw(&self, road: Road) -> Fate {
        let mut random = self.random.lock();
        let after = Duration::from_micros(random.u64(300..3_000));
        if road == Road::Open && !self.foul.load(Ordering::Acquire) {
            return Fate { after, answer: Answer::Done };
        }
        // A timeout takes as long as Cassandra's own.
        let timeout = Duration::from_millis(random.u64(100..2_000));
        match road {
            Road::Open => {}
            Road::Closed if random.bool() => {
                return Fate { after: timeout, answer: Answer::Unavailable };
            }
            Road::Closed => return Fate { after: timeout, answer: Answer::Lost },
            Road::NoWayBack => return Fate { after: timeout, answer: Answer::Unknown },
        }
        match random.u8(0..20) {
            0 | 1 => Fate { after: timeout, answer: Answer::Unavailable },
            2 => Fate { after: timeout, answer: Answer::Unknown },
            3 => Fate { after: timeout, answer: Answer::Lost },
            4 => {
                let by = Duration::from_secs_f64(random.f64() * LATE_MAX.as_secs_f64());
                Fate { after: timeout, answer: Answer::Late(by) }
            }
            5..8 => Fate { after: after * 100, answer: Answer::Done },
            _ => Fate { after, answer: Answer::Done },
        }
    }
}
