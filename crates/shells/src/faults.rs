//! What breaks in a world, when, and for how long: drawn from its seed before it begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use turmoil::Sim;

use crate::ground::Ground;
use crate::hosts::{CONTROLS, EDGES, OWNERS, names};
use crate::machine::{self, Road};

/// People write for so long.
const OVER: Duration = Duration::from_secs(16);
/// Who owns shards is taken for dead when its lease ends, at the latest.
const LEASE: Duration = Duration::from_secs(5);
const LONG_STILLNESS: &str = "a process stood still for longer than a lease";
/// From one fault to the next, in seconds.
const APART_S: std::ops::Range<f64> = 0.2..2.5;

/// Something that breaks.
#[derive(Debug, Clone, PartialEq)]
enum Fault {
    /// A process dies without a word, and comes back.
    Dies(String),
    /// A process stands still, and goes on.
    StandsStill(String),
    /// What two hosts send each other is lost.
    Cut(String, String),
    /// What one host sends another is lost.
    CutOneWay(String, String),
    /// What two hosts send each other comes only later.
    Held(String, String),
    /// The database answers late, not at all, or not what happened.
    Foul,
    /// A host does not reach the database.
    NoDatabaseFor(String, Road),
    /// Nobody reaches etcd.
    NoEtcd,
    /// A host does not reach etcd.
    NoEtcdFor(String, Road),
    /// What becomes of changes in etcd is unknown at times.
    EtcdUnwell,
}

impl Fault {
    fn draw(random: &mut fastrand::Rng) -> (Self, Duration) {
        let mut seconds =
            |from: f64, upto: f64| Duration::from_secs_f64(from + random.f64() * (upto - from));
        let (short, long, dead) = (seconds(0.3, 3.0), seconds(0.5, 7.0), seconds(0.1, 3.0));
        let still = (seconds(0.2, 5.0), seconds(5.2, 9.0));
        match random.u8(0..20) {
            0..4 => (Self::Dies(server(random)), dead),
            4..7 => {
                let still = if random.bool() { still.0 } else { still.1 };
                let owner = format!("owner-{}", random.usize(..OWNERS));
                (Self::StandsStill(if random.bool() { owner } else { server(random) }), still)
            }
            7 => {
                let (one, other) = two(random);
                (Self::Cut(one, other), long)
            }
            8 | 9 => {
                let (one, other) = two(random);
                (Self::CutOneWay(one, other), long)
            }
            10 | 11 => {
                let (one, other) = two(random);
                (Self::Held(one, other), long)
            }
            12..15 => (Self::Foul, short),
            15 | 16 => (Self::NoDatabaseFor(keeper(random), no_road(random)), long),
            17 => (Self::NoEtcdFor(keeper(random), no_road(random)), long),
            18 => (Self::EtcdUnwell, long),
            _ => (Self::NoEtcd, long),
        }
    }

    /// One of each kind.
    fn kinds() -> [Self; 10] {
        let host = String::new;
        [
            Self::Dies(host()),
            Self::StandsStill(host()),
            Self::Cut(host(), host()),
            Self::CutOneWay(host(), host()),
            Self::Held(host(), host()),
            Self::Foul,
            Self::NoDatabaseFor(host(), Road::Closed),
            Self::NoEtcd,
            Self::NoEtcdFor(host(), Road::Closed),
            Self::EtcdUnwell,
        ]
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dies(_) => "a process died",
            Self::StandsStill(_) => "a process stood still",
            Self::Cut(..) => "two hosts were cut off from each other",
            Self::CutOneWay(..) => "a host was not heard by another",
            Self::Held(..) => "what two hosts sent came late",
            Self::Foul => "the database was unwell",
            Self::NoDatabaseFor(..) => "a host did not reach the database",
            Self::NoEtcd => "nobody reached etcd",
            Self::NoEtcdFor(..) => "a host did not reach etcd",
            Self::EtcdUnwell => "etcd was unwell",
        }
    }
}

fn server(random: &mut fastrand::Rng) -> String {
    let all: Vec<_> = names("owner", OWNERS)
        .chain(names("edge", EDGES))
        .chain(names("control", CONTROLS))
        .collect();
    all[random.usize(..all.len())].clone()
}

/// A host that keeps something in the database and in etcd.
fn keeper(random: &mut fastrand::Rng) -> String {
    let all: Vec<_> = names("owner", OWNERS).chain(names("control", CONTROLS)).collect();
    all[random.usize(..all.len())].clone()
}

fn no_road(random: &mut fastrand::Rng) -> Road {
    if random.bool() { Road::Closed } else { Road::NoWayBack }
}

/// Two hosts that talk to each other.
fn two(random: &mut fastrand::Rng) -> (String, String) {
    let owner = format!("owner-{}", random.usize(..OWNERS));
    let other = match random.u8(0..4) {
        0 => format!("control-{}", random.usize(..CONTROLS)),
        1 => format!("edge-{}", random.usize(..EDGES)),
        2 => return ("people".to_owned(), format!("edge-{}", random.usize(..EDGES))),
        _ => {
            let others: Vec<_> = names("owner", OWNERS).filter(|name| *name != owner).collect();
            others[random.usize(..others.len())].clone()
        }
    };
    if random.bool() { (owner, other) } else { (other, owner) }
}

/// What breaks in a world.
#[derive(Debug)]
pub(crate) struct Plan {
    faults: Vec<(Duration, Fault, Duration)>,
    /// People write for so long.
    pub(crate) over: Duration,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut at, mut faults) = (Duration::from_millis(500), Vec::new());
        while at < OVER {
            let (fault, length) = Fault::draw(&mut random);
            faults.push((at, fault, length));
            let apart = APART_S.start + random.f64() * (APART_S.end - APART_S.start);
            at += Duration::from_secs_f64(apart);
        }
        Self { faults, over: OVER }
    }
}

/// The faults of a world as it goes on.
pub(crate) struct Faults {
    ground: Arc<Ground>,
    /// What is still to come, the next one last.
    coming: Vec<(Duration, Fault, Duration)>,
    /// What has to end, and when.
    present: Vec<(Duration, Fault)>,
    counts: BTreeMap<&'static str, u64>,
}

impl Faults {
    pub(crate) fn new(plan: &Plan, ground: &Arc<Ground>) -> Self {
        let coming = plan.faults.iter().rev().cloned().collect();
        // What never strikes is told, too.
        let kinds = Fault::kinds();
        let names = kinds.iter().map(Fault::name).chain([LONG_STILLNESS]);
        let counts = names.map(|name| (name, 0)).collect();
        Self { ground: Arc::clone(ground), coming, present: Vec::new(), counts }
    }

    /// How often each struck.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Begins and ends what is due.
    pub(crate) fn strike(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        while let Some(at) = self.present.iter().position(|(until, _)| *until <= now) {
            let (_, fault) = self.present.swap_remove(at);
            self.end(sim, &fault);
        }
        let Some(began) = self.ground.began() else { return };
        while let Some((at, ..)) = self.coming.last() {
            if began + *at > now {
                return;
            }
            let Some((_, fault, length)) = self.coming.pop() else { return };
            // One that is there already stays as it is.
            if self.present.iter().all(|(_, present)| !touches(present, &fault)) {
                self.begin(sim, &fault);
                self.count(fault.name());
                if matches!(fault, Fault::StandsStill(_)) && length > LEASE {
                    self.count(LONG_STILLNESS);
                }
                self.present.push((now + length, fault));
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn begin(&self, sim: &mut Sim<'_>, fault: &Fault) {
        match fault {
            Fault::Dies(host) => sim.crash(host.as_str()),
            Fault::StandsStill(host) => {
                let now = machine::now(sim.elapsed(), sim.since_epoch());
                self.ground.machine(host).stillness.stand_still(now);
            }
            Fault::Cut(one, other) => sim.partition(one.as_str(), other.as_str()),
            Fault::CutOneWay(from, to) => sim.partition_oneway(from.as_str(), to.as_str()),
            Fault::Held(one, other) => sim.hold(one.as_str(), other.as_str()),
            Fault::Foul => self.ground.sky.set_foul(true),
            Fault::NoDatabaseFor(host, road) => self.ground.machine(host).set_to_database(*road),
            Fault::NoEtcd => self.ground.etcd.set_down(true),
            Fault::NoEtcdFor(host, road) => self.ground.machine(host).set_to_etcd(*road),
            Fault::EtcdUnwell => self.ground.etcd.set_unwell(true),
        }
    }

    fn end(&self, sim: &mut Sim<'_>, fault: &Fault) {
        match fault {
            Fault::Dies(host) => sim.bounce(host.as_str()),
            Fault::StandsStill(host) => self.ground.machine(host).stillness.go_on(sim.elapsed()),
            Fault::Cut(one, other) => sim.repair(one.as_str(), other.as_str()),
            Fault::CutOneWay(from, to) => sim.repair_oneway(from.as_str(), to.as_str()),
            Fault::Held(one, other) => sim.release(one.as_str(), other.as_str()),
            Fault::Foul => self.ground.sky.set_foul(false),
            Fault::NoDatabaseFor(host, _) => self.ground.machine(host).set_to_database(Road::Open),
            Fault::NoEtcd => self.ground.etcd.set_down(false),
            Fault::NoEtcdFor(host, _) => self.ground.machine(host).set_to_etcd(Road::Open),
            Fault::EtcdUnwell => self.ground.etcd.set_unwell(false),
        }
    }
}

/// Whether the end of one would be that of the other.
fn touches(one: &Fault, other: &Fault) -> bool {
    let hosts = |fault: &Fault| match fault {
        Fault::Dies(host) | Fault::StandsStill(host) => vec![host.clone()],
        Fault::Cut(one, other) | Fault::CutOneWay(one, other) | Fault::Held(one, other) => {
            let mut both = vec![one.clone(), other.clone()];
            both.sort_unstable();
            both
        }
        Fault::NoDatabaseFor(host, _) | Fault::NoEtcdFor(host, _) => {
            vec![fault.name().to_owned(), host.clone()]
        }
        Fault::Foul | Fault::NoEtcd | Fault::EtcdUnwell => vec![fault.name().to_owned()],
    };
    hosts(one) == hosts(other)
}
