//! The shells that ship, in a world of their own: control plane, owners, edges and clients as they are,
//! each on a simulated host, over a simulated network, with models of the database and of etcd behind
//! their traits. Everything breaks, by one seed; people write all the while, and in the end whatever
//! was accepted must have arrived, once and in order.
//!
//! Time is simulated. What the shells draw for themselves, jitter and keys, no seed decides: a seed
//! gives the same faults at the same times, and not the same run to the last packet.

mod errors;
mod etcd;
mod faults;
mod ground;
mod hosts;
mod machine;
mod network;
mod sky;
mod stillness;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Once};
use std::time::Duration;

use iris_net::OnThisThread;
use iris_testing::traffic::{PairReport, Traffic};
use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;

use errors::Errors;
use faults::{Faults, Plan};
use ground::Ground;

/// In so many worlds everything that is counted happens, or they are too quiet.
pub const SEEDS_FOR_EVERYTHING: u64 = 60;
/// Pairs of people who write to each other.
const PAIRS: usize = 6;
/// How often each of them writes.
const PERIOD: Duration = Duration::from_millis(40);
/// Nothing takes longer, in simulated time.
const LONGEST: Duration = Duration::from_secs(300);

thread_local! {
    /// What panicked on this thread.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A task that panics takes nobody along: its end would be seen as that of its process.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let what = panic.to_string().replace('\n', " ");
            PANICS.with_borrow_mut(|panics| panics.push(what));
            before(panic);
        }));
    });
}

/// How a world went.
#[derive(Debug)]
pub struct Outcome {
    /// What became of the messages, or what is wrong.
    pub ledger: Result<PairReport, String>,
    /// What panicked, and what hosts said at ERROR that no fault brings about. Each is a failure, too.
    pub errors: Vec<String>,
    /// How often each fault struck.
    pub faults: Vec<(&'static str, u64)>,
    /// How long it took, in simulated time.
    pub simulated: Duration,
}

impl Outcome {
    /// What is wrong, if anything is.
    pub fn wrong(&self) -> Option<String> {
        let ledger = self.ledger.as_ref().err();
        let wrong: Vec<_> = ledger.into_iter().chain(&self.errors).map(String::as_str).collect();
        (!wrong.is_empty()).then(|| wrong.join("\n  "))
    }
}

/// The world of a seed, from its first host to its last message; what hosts say at `shown` and above is
/// shown. A defect of the core that the caller's
/// thread has switched on (`iris_core::mutation`) is there in all of it.
///
/// # Errors
/// When the world cannot be made.
pub fn run(seed: u64, shown: LevelFilter) -> anyhow::Result<Outcome> {
    note_panics();
    PANICS.take();
    let errors = Errors::listen(shown);
    let plan = Plan::draw(seed);
    let ground = Arc::new(Ground::new(seed)?);
    let _network = OnThisThread::set(network::Simulated(Arc::clone(&ground)));
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(ground::epoch())
        .simulation_duration(LONGEST)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(4))
        .tcp_capacity(4096)
        .build();
    hosts::start(&mut sim, &ground);
    let ledger = Arc::new(Mutex::new(None));
    let (people, told) = (Arc::clone(&ground), Arc::clone(&ledger));
    let until = plan.over;
    sim.client("people", async move {
        let went = write(&people, until).await;
        *told.lock() = Some(went.map_err(|error| format!("{error:#}")));
        Ok(())
    });
    let mut faults = Faults::new(&plan, &ground);
    let stepped = loop {
        faults.strike(&mut sim);
        match sim.step() {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        }
    };
    let ledger = ledger.lock().take();
    let ledger = match (ledger, stepped) {
        (Some(went), _) => went,
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err("nobody wrote".to_owned()),
    };
    let mut counts = faults.counts();
    counts.extend(ground.counts());
    counts.extend(ground.sky.counts());
    counts.extend(ground.etcd.counts());
    let mut errors = errors.unexpected();
    errors.splice(0..0, PANICS.take());
    Ok(Outcome { ledger, errors, faults: counts, simulated: sim.elapsed() })
}

/// Runs the worlds of these seeds on every core, each of whose threads begins with `begin`; hands their
/// outcomes over as they come.
///
/// # Errors
/// What `take` says is one.
pub fn over_seeds(
    (seeds, shown): (Range<u64>, LevelFilter),
    begin: impl Fn() + Sync,
    take: &mut dyn FnMut(u64, anyhow::Result<Outcome>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let (outcomes, done) = mpsc::sync_channel(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, begin, outcomes) = (&next, &begin, outcomes.clone());
            scope.spawn(move || {
                begin();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || outcomes.send((seed, run(seed, shown))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outcomes);
        done.into_iter().try_for_each(|(seed, outcome)| take(seed, outcome))
    })
}

/// People write until everything that was planned has happened.
async fn write(ground: &Ground, until: Duration) -> anyhow::Result<PairReport> {
    ground.operator()?.all_served().await?;
    let traffic = Traffic::start(&ground.connector()?, PAIRS, PERIOD).await?;
    ground.begin();
    tokio::time::sleep(until).await;
    traffic.end().await
}
