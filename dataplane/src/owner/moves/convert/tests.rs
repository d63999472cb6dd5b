#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use std::collections::BTreeMap;

use iris_core::clock::{MonoUs, WallMs};
use iris_core::group::{Membership, Sizes};
use iris_core::id::{GroupId, TenantNo};
use iris_core::rate::Rates;
use iris_core::relation::Wish;
use iris_core::seq::{ConvSeq, Epoch, HomeGen};
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
    let hot = hot_from_wire(count(), hot_to_wire(&shard(accounts.clone()))).unwrap();
    assert_eq!((hot.accounts, hot.last_seq), (accounts, ShardSeq(41)));
}

/// A source that knows of no groups would have the target forget them: it reads their rows instead.
#[test]
fn an_account_that_travels_without_its_groups_is_read_anew() {
    let accounts = BTreeMap::from([
        (account_of(1), Some(member())),
        (account_of(2), Some(Account::new(ShardSeq(4)))),
    ]);
    let mut wire = hot_to_wire(&shard(accounts));
    wire.accounts[0].memberships = None;
    let hot = hot_from_wire(count(), wire).unwrap();
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
    let wire = hot_to_wire(&shard(accounts.collect()));
    assert!(wire.encoded_len() < ACCOUNTS_BYTES_MAX + 64 * 1024, "{}", wire.encoded_len());
    assert!(wire.accounts.len() > 50 && wire.accounts.len() < 400, "{}", wire.accounts.len());
}
