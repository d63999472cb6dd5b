use proptest::prelude::*;

use super::*;
use crate::clock::Hlc;
use crate::entry::{Op, Progress};
use crate::seq::Epoch;

fn entry(shard: u16, seq: u64) -> Entry {
    Entry {
        shard: ShardId::new(shard),
        epoch: Epoch(1),
        seq: ShardSeq(seq),
        clock: Hlc(seq),
        op: Op::Progress(Progress::default()),
    }
}

#[test]
fn an_idle_lane_forms_at_once_and_one_block_at_a_time() {
    let mut lane = Lane::new(1);
    assert!(lane.form(MonoUs(0), BlockSeq(0)).is_none(), "nothing to form");
    lane.append(entry(1, 1));
    let first = lane.form(MonoUs(0), BlockSeq(0)).unwrap();
    assert_eq!((first.seq, first.entries.len()), (BlockSeq(0), 1));
    lane.append(entry(1, 2));
    assert!(lane.form(MonoUs(1), BlockSeq(0)).is_none(), "a write is under way");
    lane.written(BlockSeq(0));
    assert_eq!(lane.form(MonoUs(20_000), BlockSeq(0)).unwrap().seq, BlockSeq(1));
}

#[test]
fn a_full_block_does_not_wait_for_the_one_before() {
    let mut lane = Lane::new(1);
    for seq in 1..=(limits::BLOCK_ENTRIES_MAX as u64 * 2 + 1) {
        lane.append(entry(1, seq));
    }
    assert_eq!(lane.form(MonoUs(0), BlockSeq(0)).unwrap().entries.len(), limits::BLOCK_ENTRIES_MAX);
    assert_eq!(lane.form(MonoUs(0), BlockSeq(0)).unwrap().entries.len(), limits::BLOCK_ENTRIES_MAX);
    assert!(lane.form(MonoUs(0), BlockSeq(0)).is_none());
}

#[test]
fn release_needs_durability_and_a_cover() {
    let mut lane = Lane::new(1);
    lane.append(entry(1, 1));
    lane.form(MonoUs(0), BlockSeq(0)).unwrap();
    assert!(!lane.wants_fence_read());
    assert!(lane.release(MonoUs(1), lane.cover()).is_empty());
    lane.written(BlockSeq(0));
    let cover = lane.cover();
    let released = lane.release(MonoUs(2), cover);
    assert_eq!(released, vec![Release { shard: ShardId::new(1), upto: ShardSeq(2) }]);
    assert!(lane.is_settled());
}

/// A lane that formed a block every `every_us` for long, with so many entries in turn, each committed
/// in 2 ms.
fn paced(lanes: u8, entries: &[usize], every_us: u64) -> u64 {
    let mut pacer = Pacer::new(lanes);
    for (n, entries) in (1..=1_000).zip(entries.iter().cycle()) {
        pacer.formed(MonoUs(n * every_us), *entries);
        pacer.committed(2_000);
    }
    pacer.pace_us()
}

#[test]
fn blocks_begin_a_few_commits_apart_under_load_and_at_once_without() {
    assert_eq!(paced(1, &[1], 2_000), 0, "500 entries a second");
    let (some, all) = (paced(1, &[4], 4_000), paced(1, &[20], 2_000));
    assert!((2_500..3_500).contains(&some), "half of the pace at 1,000 entries a second: {some}");
    assert!((5_500..=6_000).contains(&all), "three commits at 10,000 entries a second: {all}");
    assert!(paced(2, &[4], 4_000) > some, "the lanes of a session share its load");
    let bursts = paced(1, &[40, 1, 1, 1], 5_000);
    assert!(bursts > 5_000, "2,150 entries a second, in bursts: {bursts}");
}

#[test]
fn a_store_that_is_short_of_time_gets_fewer_blocks_whatever_the_load() {
    let slow = |commit_us| {
        let mut pacer = Pacer::new(1);
        for n in 1..=1_000 {
            pacer.formed(MonoUs(n * 20_000), 1);
            pacer.committed(commit_us);
        }
        pacer.pace_us()
    };
    assert_eq!(slow(3_000), 0, "50 entries a second, and a store that keeps up");
    let relieved = slow(8_000);
    assert!((9_000..=10_000).contains(&relieved), "twice what is above 3 ms: {relieved}");
    assert_eq!(slow(500_000), 25_000, "a store that hardly answers is not waited for any longer");
}

#[test]
fn a_lane_that_was_idle_follows_a_load_within_a_dozen_blocks() {
    let mut pacer = Pacer::new(1);
    let mut now = 0;
    let mut blocks = |every_us: u64, count: usize, entries: usize| {
        for _ in 0..count {
            now += every_us;
            pacer.formed(MonoUs(now), entries);
            pacer.committed(2_000);
        }
        pacer.pace_us()
    };
    assert!(blocks(4_000, 100, 8) > 5_500, "2,000 entries a second");
    assert!(blocks(30_000_000, 1, 1) < 500, "idle for 30 s");
    let followed = blocks(4_000, 12, 8);
    assert!(followed > 4_500, "2,000 entries a second again: {followed}");
}

proptest! {
    /// Whatever the order in which writes end: the cover is the contiguous durable prefix, releases
    /// come in order, and nothing is released that was not durable when the cover was taken.
    #[test]
    fn the_cover_is_the_contiguous_durable_prefix(order in Just((0..12u64).collect::<Vec<_>>()).prop_shuffle()) {
        let mut lane = Lane::new(1);
        for seq in 0..12 {
            lane.append(entry(1, seq + 1));
            let formed = lane.form_now(MonoUs(seq), BlockSeq(0));
            prop_assert_eq!(formed.seq, BlockSeq(seq));
        }
        let mut durable = std::collections::BTreeSet::new();
        let mut upto = 0;
        for seq in order {
            let cover_before = lane.cover();
            lane.written(BlockSeq(seq));
            durable.insert(seq);
            let expected = (0..12).take_while(|n| durable.contains(n)).count() as u64;
            prop_assert_eq!(lane.cover(), BlockSeq(expected));
            for release in lane.release(MonoUs(50), cover_before) {
                prop_assert!(release.upto.0 > upto);
                upto = release.upto.0;
            }
            prop_assert_eq!(lane.released(), cover_before);
        }
        lane.release(MonoUs(60), lane.cover());
        prop_assert!(lane.is_settled());
        prop_assert!(!lane.is_full());
    }
}
