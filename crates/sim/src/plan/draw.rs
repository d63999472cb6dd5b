//! Plans from seeds.

mod groups;

pub(crate) use groups::NOBODIES;

use super::{Act, Deed, Fault, Kind, Plan};
use crate::random::Random;

const SECOND: u64 = 1_000_000;
/// Everybody is registered and every shard served by then, unless something is wrong.
const BEGIN: u64 = 3 * SECOND;
/// The longest that something stays broken.
const FAULT_US_MAX: u64 = 12 * SECOND;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = *random.pick(&[2, 4, 8]);
        let pods: Vec<u8> = (0..random.between(2, 4)).map(|_| lanes(&mut random)).collect();
        let people: Vec<u8> = (0..random.between(3, 8)).map(|_| devices(&mut random)).collect();
        let busy_us = random.between(8, 30) * SECOND;
        let region = (pods.len(), shards);
        let mut faults = faults(&mut random, busy_us, region);
        if random.chance(600) {
            combine(&mut random, busy_us, region, &mut faults);
        }
        faults.sort_by_key(|fault| fault.at);
        let mut deeds = deeds(&mut random, busy_us, &people);
        bursts(&mut random, &people, &faults, &mut deeds);
        // From chance of their own: what else happens in a seed's world does not depend on groups.
        let mut of_groups = Random::new(seed ^ 0x6709);
        let mut of_moves = Random::new(seed ^ 0x4a9d);
        let (handed_max, hands_over) = (*of_moves.pick(&[0, 3, 512, 512]), of_moves.chance(800));
        if of_moves.chance(150) {
            let unlucky = unlucky_moves(&mut of_moves, busy_us, (pods.len(), shards));
            bursts(&mut of_moves, &people, &unlucky, &mut deeds);
            faults.extend(unlucky);
        }
        let groups = groups::draw(&mut of_groups, busy_us, (&people, pods.len()), &faults);
        faults.extend(groups.faults);
        deeds.extend(groups.deeds);
        deeds.sort_by_key(|deed| deed.at);
        let mended = faults.iter().map(|fault| fault.at + fault.us).max().unwrap_or_default();
        let healed_at = mended.max(BEGIN + busy_us);
        let history = random.chance(500);
        let sends_per_second = *random.pick(&[60, 120, 500, 500]);
        let block_entries = *random.pick(&[1, 2, 5, 20, 256]);
        let slow_per_mille = *random.pick(&[1, 10, 50, 150, 300]);
        Self {
            seed,
            shards,
            pods,
            people,
            history,
            sends_per_second,
            block_entries,
            handed_max,
            hands_over,
            groups: groups.count,
            inline_members: groups.inline_members,
            pushed_members: groups.pushed_members,
            slow_per_mille,
            healed_at,
            deeds,
            faults,
        }
    }
}

fn lanes(random: &mut Random) -> u8 {
    if random.chance(600) { 1 } else { 2 }
}

fn devices(random: &mut Random) -> u8 {
    *random.pick(&[1, 1, 1, 2, 3])
}

fn deeds(random: &mut Random, busy_us: u64, people: &[u8]) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let pause = *random.pick(&[30_000, 80_000, 200_000]);
    let mut at = BEGIN;
    while at < BEGIN + busy_us && deeds.len() < 600 {
        at += random.around(pause);
        let person = random.index(people.len());
        let device = random.index(usize::from(people[person]));
        let act = match random.between(0, 99) {
            // Nobody has this number.
            0 => Act::Send { to: people.len() },
            1..=3 => Act::Reconnect,
            4 => Act::StopReading { us: random.between(SECOND, 10 * SECOND) },
            5 => Act::GoAway { us: random.between(SECOND, 10 * SECOND) },
            6..=8 => Act::Erase,
            9..=20 => Act::Read { of: random.index(people.len()), private: random.chance(300) },
            21..=25 => Act::Watch { of: random.index(people.len()), on: random.chance(800) },
            26 => Act::Block { whom: random.index(people.len()), on: random.chance(500) },
            27..=31 => Act::Fetch { with: random.index(people.len()) },
            32..=34 => Act::Edit,
            35..=38 => Act::React { of: random.index(people.len()) },
            39 => Act::Forge { of: random.index(people.len()) },
            _ => Act::Send { to: random.index(people.len()) },
        };
        deeds.push(Deed { at, person, device, act });
        // People write in bursts, too.
        if random.chance(60) {
            let to = random.index(people.len());
            for _ in 0..random.between(5, 40) {
                at += random.between(100, 3_000);
                deeds.push(Deed { at, person, device, act: Act::Send { to } });
            }
        }
    }
    deeds
}

fn faults(random: &mut Random, busy_us: u64, (pods, shards): (usize, u32)) -> Vec<Fault> {
    let count = random.between(0, 14);
    // Each run likes some kinds: what rarely meets would meet in no run otherwise.
    let liked = [random.between(0, 17), random.between(0, 17), random.between(0, 17)];
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let kind =
                if random.chance(600) { *random.pick(&liked) } else { random.between(0, 17) };
            let at = BEGIN + random.between(0, busy_us);
            let us = if random.chance(500) {
                random.between(1_000, 500_000)
            } else {
                random.between(500_000, FAULT_US_MAX)
            };
            Fault { at, us, kind: kind_of(random, kind, (pods, shards)) }
        })
        .collect();
    // Owners die near moves: there it matters most.
    if random.chance(400) && !faults.is_empty() {
        let at = random.pick(&faults).at;
        let shard = u32::try_from(random.between(0, u64::from(shards) - 1)).unwrap_or_default();
        let kind = Kind::Move { shard, pod: random.index(pods) };
        faults.push(Fault { at: at + random.between(0, 40_000), us: 0, kind });
    }
    faults
}

/// Things that are harmless alone and bad together.
fn combine(
    random: &mut Random,
    busy_us: u64,
    (pods, shards): (usize, u32),
    faults: &mut Vec<Fault>,
) {
    let at = BEGIN + random.between(0, busy_us);
    let (pod, other, replica) = (random.index(pods), random.index(pods), random.index(3));
    let shard = u32::try_from(random.between(0, u64::from(shards) - 1)).unwrap_or_default();
    let soon = random.between(0, 60_000);
    let later = random.between(300_000, 4_000_000);
    let long = random.between(2_000_000, 8_000_000);
    let mut add = |after: u64, us: u64, kind: Kind| faults.push(Fault { at: at + after, us, kind });
    match random.between(0, 8) {
        0 => {
            // What nobody could write is lost with whoever has it in memory.
            add(0, long, Kind::StopStore);
            add(later.min(long), 500_000, Kind::KillOwner { pod });
        }
        1 => {
            add(0, long, Kind::LoseWrites { replica });
            add(0, long, Kind::SlowReplica { replica: (replica + 1) % 3 });
            add(later, 500_000, Kind::KillOwner { pod });
        }
        2 => {
            add(0, 0, Kind::Move { shard, pod });
            add(soon, 500_000, Kind::KillOwner { pod: other });
        }
        3 => {
            add(0, long, Kind::BlurSwaps);
            add(later.min(long), 0, Kind::Move { shard, pod });
            add(later.min(long) + soon, 500_000, Kind::KillOwner { pod: other });
        }
        4 => {
            // A zombie: it wakes up after others took its shards.
            add(0, random.between(1_700_000, 6_000_000), Kind::FreezeOwner { pod });
        }
        5 => {
            // Its successor is slow, and it goes on meanwhile.
            add(0, long, Kind::SlowReplica { replica });
            if later.is_multiple_of(2) {
                add(0, long, Kind::SlowWriter { pod: other });
            }
            add(soon, 0, Kind::Misjudge { pod });
        }
        6 => {
            add(0, long, Kind::TwoLeaders);
            add(soon, 500_000, Kind::KillOwner { pod });
            add(2 * soon, 0, Kind::Misjudge { pod: other });
        }
        7 => {
            add(0, long, Kind::CutReplica { pod, replica });
            add(0, long, Kind::LoseWrites { replica: (replica + 1) % 3 });
            add(later, 500_000, Kind::KillOwner { pod });
        }
        _ => {
            add(0, 0, Kind::Misjudge { pod });
            add(soon, 0, Kind::Move { shard, pod: other });
        }
    }
}

/// Owners die while they release shards, and nobody knows whether the releases were applied.
fn unlucky_moves(random: &mut Random, busy_us: u64, (pods, shards): (usize, u32)) -> Vec<Fault> {
    let at = BEGIN + random.between(0, busy_us);
    let us = random.between(2_000_000, 5_000_000);
    let mut faults = vec![Fault { at, us, kind: Kind::BlurSwaps }];
    let target = random.index(pods);
    let moves = at + random.between(0, 200_000);
    for shard in 0..shards.min(4) {
        let at = moves + random.between(0, 100_000);
        faults.push(Fault { at, us: 0, kind: Kind::Move { shard, pod: target } });
    }
    for pod in (0..pods).filter(|pod| *pod != target) {
        let at = moves + random.between(150_000, 900_000);
        faults.push(Fault { at, us: 500_000, kind: Kind::KillOwner { pod } });
    }
    faults
}

/// People write most while something breaks: there it matters.
fn bursts(random: &mut Random, people: &[u8], faults: &[Fault], deeds: &mut Vec<Deed>) {
    for fault in faults {
        let wrong = matches!(fault.kind, Kind::Misjudge { .. });
        if !random.chance(if wrong { 800 } else { 350 }) {
            continue;
        }
        let person = random.index(people.len());
        let device = random.index(usize::from(people[person]));
        let mut at = fault.at.saturating_sub(random.between(0, 300_000)).max(BEGIN);
        let pause = random.between(100, 8_000);
        for _ in 0..random.between(20, if wrong { 300 } else { 120 }) {
            at += random.around(pause);
            let act = Act::Send { to: random.index(people.len()) };
            deeds.push(Deed { at, person, device, act });
        }
    }
    deeds.sort_by_key(|deed| deed.at);
}

fn kind_of(random: &mut Random, number: u64, (pods, shards): (usize, u32)) -> Kind {
    let (pod, replica, edge) = (random.index(pods), random.index(3), random.index(2));
    match number {
        0 => Kind::KillOwner { pod },
        1 => Kind::FreezeOwner { pod },
        2 => Kind::CutReplica { pod, replica },
        3 => Kind::CutStore { pod },
        4 => Kind::CutOwners { pod, other: random.index(pods) },
        5 => Kind::CutControl { pod },
        6 => Kind::CutEdge { edge, pod },
        7 => Kind::KillEdge { edge },
        8 => Kind::StopReplica { replica },
        9 => Kind::StopStore,
        10 => Kind::SlowReplica { replica },
        11 => Kind::LoseWrites { replica },
        12 => Kind::BlurSwaps,
        13 => {
            let ms = i64::try_from(random.between(0, 600_000)).unwrap_or_default() - 300_000;
            Kind::JumpClock { pod, ms }
        }
        14 => Kind::Misjudge { pod },
        15 => Kind::TwoLeaders,
        16 => Kind::SlowWriter { pod },
        _ => {
            let shard = u32::try_from(random.between(0, u64::from(shards) - 1)).unwrap_or_default();
            Kind::Move { shard, pod }
        }
    }
}
