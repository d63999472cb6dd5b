use proptest::prelude::*;

use super::*;
use crate::block::{BlockHeader, ChainHash};

/// A true lane of `count` blocks in which block n says that everything below n - lag was released.
fn lane(count: u64, lag: u64) -> Vec<TailBlock> {
    let mut hash = ChainHash::START;
    (0..count)
        .map(|seq| {
            let prev = hash;
            hash = hash.after(&seq.to_be_bytes());
            TailBlock {
                seq: BlockSeq(seq),
                prev,
                hash,
                header: BlockHeader {
                    released: BlockSeq(seq.saturating_sub(lag)),
                    materialized: BlockSeq(0),
                },
            }
        })
        .collect()
}

#[test]
fn an_empty_lane_ends_at_its_start() {
    let prefix = sealed_prefix(&[], BlockSeq(0)).unwrap();
    assert_eq!(prefix, Prefix { end: BlockSeq(0), write_back_from: BlockSeq(0) });
}

#[test]
fn the_tail_stops_at_a_gap_above_the_anchor() {
    let mut tail = lane(10, 4);
    tail.remove(8);
    assert_eq!(sealed_prefix(&tail, BlockSeq(0)).unwrap().end, BlockSeq(8));
}

#[test]
fn what_a_header_says_was_released_is_never_cut_off() {
    let mut tail = lane(10, 2);
    tail.retain(|block| block.seq.0 != 6 && block.seq.0 != 7);
    // The last block says that everything below 7 was released: 7 is missing, so the lane ends there.
    assert_eq!(sealed_prefix(&tail, BlockSeq(0)).unwrap().end, BlockSeq(7));
    let error = sealed_prefix(&tail, BlockSeq(8)).unwrap_err();
    assert!(matches!(error, TailError::EndsBelowPromise { .. }), "{error}");
}

#[test]
fn a_block_that_does_not_chain_ends_the_tail() {
    let mut tail = lane(6, 3);
    tail[4].prev = ChainHash([7; 32]);
    assert_eq!(sealed_prefix(&tail, BlockSeq(0)).unwrap().end, BlockSeq(4));
    let mut released = lane(9, 1);
    released[4].prev = ChainHash([7; 32]);
    let error = sealed_prefix(&released, BlockSeq(0)).unwrap_err();
    assert_eq!(error, TailError::Broken { seq: BlockSeq(4) });
}

#[test]
fn a_shard_is_claimed_after_a_release_or_a_seal_and_never_else() {
    let (me, other) = (SessionId::from_random([1; 16]), SessionId::from_random([2; 16]));
    let row = |session, released_block| EpochRow {
        epoch: Epoch(4),
        session,
        lane: LaneNo(0),
        first_block: BlockSeq(3),
        released_block,
    };
    let fresh = claimable(me, (None, Reading::Plain), None);
    assert_eq!(fresh, Claimable::Yes { epoch: Epoch(1), ends_at: None });
    let held = row(other, None);
    assert_eq!(claimable(me, (Some(&held), Reading::Serial), None), Claimable::Held(held));
    let sealed = claimable(me, (Some(&held), Reading::Plain), Some(BlockSeq(9)));
    assert_eq!(sealed, Claimable::Yes { epoch: Epoch(5), ends_at: Some(BlockSeq(9)) });
    assert_eq!(
        claimable(me, (Some(&row(me, None)), Reading::Serial), None),
        Claimable::Mine(Epoch(4))
    );
    let both =
        claimable(me, (Some(&row(other, Some(BlockSeq(7)))), Reading::Serial), Some(BlockSeq(9)));
    assert_eq!(both, Claimable::Yes { epoch: Epoch(5), ends_at: Some(BlockSeq(7)) });
    for unclear in [held, row(me, None)] {
        assert_eq!(claimable(me, (Some(&unclear), Reading::Plain), None), Claimable::Unclear);
    }
}

#[test]
fn ownerships_are_all_there_or_one_is_missed() {
    let rows = |epochs: &[u32]| -> Vec<EpochRow> {
        let row = |epoch: &u32| EpochRow {
            epoch: Epoch(*epoch),
            session: SessionId::from_random([1; 16]),
            lane: LaneNo(0),
            first_block: BlockSeq(3),
            released_block: None,
        };
        epochs.iter().map(row).collect()
    };
    assert!(are_all(&[], Epoch(0), Epoch(1)));
    assert!(are_all(&[], Epoch(4), Epoch(4)));
    assert!(are_all(&rows(&[1, 2]), Epoch(0), Epoch(3)));
    assert!(are_all(&rows(&[4]), Epoch(4), Epoch(5)));
    for missed in [&[][..], &[1], &[2], &[1, 2, 3]] {
        assert!(!are_all(&rows(missed), Epoch(0), Epoch(3)), "{missed:?}");
    }
    assert!(!are_all(&rows(&[5]), Epoch(4), Epoch(6)));
}

proptest! {
    /// Whatever subset of the unreleased blocks is found, the prefix holds every released block, is
    /// contiguous, and two recoverers that read different subsets agree on everything below both ends.
    #[test]
    fn a_prefix_holds_every_released_block(
        count in 1u64..40,
        lag in 0u64..6,
        lost in proptest::collection::btree_set(0u64..40, 0..6),
    ) {
        let all = lane(count, lag);
        let released = count.saturating_sub(1).saturating_sub(lag);
        let found: Vec<_> = all
            .iter()
            .filter(|block| block.seq.0 < released || !lost.contains(&block.seq.0) || block.seq.0 + 1 == count)
            .cloned()
            .collect();
        let prefix = sealed_prefix(&found, BlockSeq(released)).unwrap();
        prop_assert!(prefix.end.0 >= released);
        prop_assert!(prefix.write_back_from <= prefix.end);
        for seq in prefix.write_back_from.0..prefix.end.0 {
            prop_assert!(found.iter().any(|block| block.seq.0 == seq));
        }
    }
}
