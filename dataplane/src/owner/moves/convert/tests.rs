#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use std::collections::BTreeMap;

use iris_core::clock::{MonoUs, WallMs};
use iris_core::entry::{Entry, Op};
use iris_core::group::{Membership, Sizes};
use iris_core::id::{DeviceNo, GroupId, PublicKey, ShardCount, TenantNo};
use iris_core::rate::Rates;
use iris_core::relation::Wish;
use iris_core::seq::{BlockSeq, ConvSeq, Epoch, HomeGen};
use iris_core::shard::{Policy, Recovered, ShardKey};

use super::*;

fn count() -> ShardCount {
    ShardCount::new(16).unwrap()
}

fn account_of(number: u128) -> AccountId {
    AccountId::in_shard(count().shard(3).unwrap(), count(), TenantNo(0), number)
}

fn group_of(byte: u8) -> GroupId {
    GroupId::from_bytes(&[byte; 16]).unwrap()
}

fn shard(accounts: BTreeMap<AccountId, Option<Account>>) -> Shard {
    let id = count().shard(3).unwrap();
    let key = ShardKey { id, count: count(), home_gen: HomeGen(0), epoch: Epoch(2) };
    let (rates, groups) = (Rates::default(), Sizes::default());
    let policy = Policy { history: true, rates, groups };
    let recovered = Recovered { checkpoint: ShardSeq(41), accounts, ..Recovered::default() };
    Shard::recover(key, policy, MonoUs(0), recovered).unwrap()
}

fn drained(tail: Vec<Entry>) -> Drained {
    Drained {
        shard: count().shard(3).unwrap(),
        end_block: BlockSeq(9),
        last_seq: ShardSeq(41 + tail.len() as u64),
        checkpoint: ShardSeq(41),
        tail,
        refused: 0,
        stopped_us: 0,
    }
}

/// An account that is in a group, left another one, and reads the log of a third.
fn member() -> Account {
    let is_in = Membership { since: ConvSeq(3), until: None, pulls: None, left_at: WallMs(0) };
    let mut account = Account::new(ShardSeq(40));
    account.relations.fulfil(Wish::Block(account_of(9), true));
    account.groups.insert(group_of(1), is_in);
    account.groups.insert(group_of(2), Membership { until: Some(ConvSeq(8)), ..is_in });
    account.groups.insert(group_of(3), Membership { pulls: Some(ConvSeq(7)), ..is_in });
    account
}

#[test]
fn an_account_travels_with_its_wishes_and_groups() {
    let accounts = BTreeMap::from([(account_of(1), Some(member()))]);
    let hot = from_wire(to_wire(&shard(accounts.clone()), &drained(Vec::new())).unwrap()).unwrap();
    assert_eq!((hot.accounts, hot.checkpoint), (accounts, ShardSeq(41)));
}

#[test]
fn entries_travel_as_the_log_has_them() {
    let op = |device| Op::DeviceRevoked { account: account_of(1), device: DeviceNo(device) };
    let entry = |(seq, op)| Entry {
        shard: count().shard(3).unwrap(),
        epoch: Epoch(2),
        seq: ShardSeq(seq),
        clock: Hlc(seq),
        op,
    };
    let tail: Vec<_> = [(42, op(1)), (43, op(2))].into_iter().map(entry).collect();
    let wire = to_wire(&shard(BTreeMap::new()), &drained(tail.clone())).unwrap();
    assert_eq!(from_wire(wire).unwrap().tail, tail);
}

#[test]
fn more_entries_than_a_message_takes_are_read_by_the_target() {
    let name = "n".repeat(64 * 1024);
    let op = Op::DeviceAdded {
        account: account_of(1),
        device: DeviceNo(1),
        key: PublicKey([7; 32]),
        name,
        start: None,
    };
    let shard_id = count().shard(3).unwrap();
    let entry = |seq| {
        let (op, clock) = (op.clone(), Hlc(seq));
        Entry { shard: shard_id, epoch: Epoch(2), seq: ShardSeq(seq), clock, op }
    };
    let tail: Vec<_> = (42..42 + 256).map(entry).collect();
    assert!(to_wire(&shard(BTreeMap::new()), &drained(tail[..255].to_vec())).is_some());
    assert_eq!(to_wire(&shard(BTreeMap::new()), &drained(tail)), None);
}

/// A source that knows of no groups would have the target forget them: it reads their rows instead.
#[test]
fn an_account_that_travels_without_its_groups_is_read_anew() {
    let accounts = BTreeMap::from([
        (account_of(1), Some(member())),
        (account_of(2), Some(Account::new(ShardSeq(4)))),
    ]);
    let mut wire = to_wire(&shard(accounts), &drained(Vec::new())).unwrap();
    wire.accounts[0].memberships = None;
    let hot = from_wire(wire).unwrap();
    assert_eq!(hot.accounts.into_keys().collect::<Vec<_>>(), [account_of(2)]);
}

#[test]
fn what_travels_fits_into_a_message() {
    let mut account = member();
    for number in 0..2048_u128 {
        let group = GroupId::from_bytes(&number.to_be_bytes()).unwrap();
        let far = ConvSeq(u64::MAX >> 1);
        let membership =
            Membership { since: far, until: Some(far), pulls: Some(far), left_at: WallMs(0) };
        account.groups.insert(group, membership);
    }
    let accounts = (0..400).map(|number| (account_of(number), Some(account.clone())));
    let wire = to_wire(&shard(accounts.collect()), &drained(Vec::new())).unwrap();
    assert!(wire.encoded_len() < ACCOUNTS_BYTES_MAX + 64 * 1024, "{}", wire.encoded_len());
    assert!(wire.accounts.len() > 50 && wire.accounts.len() < 400, "{}", wire.accounts.len());
}
