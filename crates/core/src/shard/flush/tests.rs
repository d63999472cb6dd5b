use crate::clock::MonoUs;
use crate::code::Code;
use crate::entry::{Entry, Received, Slot};
use crate::id::{DeviceNo, MsgId, ShardCount};
use crate::message::Notice;
use crate::seq::{ClientSeq, Epoch, HomeGen};
use crate::shard::{Recovered, ShardKey};

use super::*;
use crate::clock::Hlc;

const NOW: WallMs = WallMs(1_000_000);

/// An entry of the first ownership.
fn entry(seq: u64, outcome: Received) -> Entry {
    let op = Op::Received { from: ShardId::new(1), outbox_seq: OutboxSeq(seq), outcome };
    let (shard, seq) = (ShardId::new(0), ShardSeq(seq));
    Entry { shard, epoch: Epoch(1), seq, clock: Hlc::default().tick(NOW), op }
}

/// Puts an item into the outbox to shard 2.
fn refused() -> Received {
    let notice = Notice {
        account: AccountId::from_bytes(&[1; 16]).expect("an id"),
        device: DeviceNo(1),
        client_seq: ClientSeq(1),
        msg_id: MsgId([0; 16]),
        code: Code::TooLarge,
    };
    Received::Refused { notice, slot: Slot { to: ShardId::new(2), seq: OutboxSeq(1) } }
}

/// A checkpoint names the ownership that wrote it, and its successor reads the log from there on: a
/// young item that an earlier ownership decided must not pull it back before its own beginning.
#[test]
fn an_inherited_item_gets_a_row_and_holds_no_checkpoint_back() {
    let tail = vec![entry(25, refused()), entry(26, Received::Dropped)];
    let recovered = Recovered { checkpoint: ShardSeq(24), tail, ..Recovered::default() };
    let count = ShardCount::new(4).expect("a power of two");
    let key = ShardKey { id: ShardId::new(0), count, home_gen: HomeGen(0), epoch: Epoch(2) };
    let policy = Policy {
        history: true,
        rates: crate::rate::Rates::default(),
        groups: crate::group::Sizes::default(),
    };
    let mut shard = Shard::recover(key, policy, MonoUs(0), recovered).expect("no hole");
    let mut effects = Vec::new();
    let from = ShardId::new(3);
    let op = Op::Received { from, outbox_seq: OutboxSeq(1), outcome: Received::Dropped };
    assert_eq!(shard.decide(NOW, op, &mut effects), ShardSeq(27));
    let now = Now { wall: NOW, mono: MonoUs(0) };
    let flush = shard.capture(now, false, &mut effects).expect("something changed");
    assert_eq!(flush.checkpoint, ShardSeq(27));
    let rows: Vec<_> = flush.outbox.iter().map(|row| (row.to, row.item.pos)).collect();
    assert_eq!(rows, [(ShardId::new(2), ShardSeq(25))]);
}
