use super::*;
use crate::account::Account;
use crate::clock::{MonoUs, WallMs};
use crate::id::{DeviceNo, MsgId, ShardCount, TenantNo};
use crate::message::Notice;
use crate::seq::{ClientSeq, Epoch, HomeGen, ShardSeq};
use crate::shard::{Input, Policy, Recovered, ShardKey};

const LINK: Option<LinkNo> = Some(LinkNo(1));
const SOURCE: ShardId = ShardId::new(1);

fn now() -> Now {
    Now { wall: WallMs(1_000), mono: MonoUs(1_000) }
}

/// A shard without accounts in memory, and an account of it.
fn shard() -> (Shard, AccountId) {
    let count = ShardCount::new(2).unwrap();
    let key = ShardKey { id: ShardId::new(0), count, home_gen: HomeGen(0), epoch: Epoch(1) };
    let policy = Policy {
        history: true,
        rates: crate::rate::Rates::default(),
        groups: crate::group::Sizes::default(),
    };
    let shard = Shard::recover(key, policy, MonoUs(0), Recovered::default()).unwrap();
    (shard, AccountId::in_shard(key.id, count, TenantNo(0), 7))
}

fn parcel(account: AccountId, seq: u64) -> Input {
    let notice = Notice {
        account,
        device: DeviceNo(1),
        client_seq: ClientSeq(seq),
        msg_id: MsgId([0; 16]),
        code: Code::NoConversation,
    };
    let parcel = Parcel::Notice(notice);
    Input::Parcel { link: LINK, from: SOURCE, seq: OutboxSeq(seq), parcel }
}

/// The numbers that the source is told to go back to.
fn expected(effects: &[Effect]) -> Vec<u64> {
    let next = effects.iter().filter_map(|effect| match effect {
        Effect::Expect { next, .. } => Some(next.0),
        _ => None,
    });
    next.collect()
}

#[test]
fn a_source_is_told_of_a_gap_once_however_much_comes_behind_it() {
    let (mut shard, account) = shard();
    let mut out = Vec::new();
    for seq in 5..300 {
        shard.step(now(), parcel(account, seq), &mut out);
    }
    assert_eq!(expected(&out), [1]);
    out.clear();
    shard.step(now(), parcel(account, 1), &mut out);
    shard.step(now(), parcel(account, 9), &mut out);
    shard.step(now(), parcel(account, 10), &mut out);
    assert_eq!(expected(&out), [2], "of another gap once, too");
    out.clear();
    let other = Input::Parcel {
        link: Some(LinkNo(2)),
        from: SOURCE,
        seq: OutboxSeq(9),
        parcel: Parcel::Notice(Notice {
            account,
            device: DeviceNo(1),
            client_seq: ClientSeq(9),
            msg_id: MsgId([0; 16]),
            code: Code::NoConversation,
        }),
    };
    shard.step(now(), other, &mut out);
    assert_eq!(expected(&out), [2], "and on a new link again");
}

#[test]
fn a_source_of_more_than_may_wait_is_told_when_there_is_room() {
    let (mut shard, account) = shard();
    let mut out = Vec::new();
    let most = u64::try_from(limits::INBOUND_WAITING_MAX).unwrap();
    for seq in 1..=most + 40 {
        shard.step(now(), parcel(account, seq), &mut out);
    }
    // Told now it would push the same again, and again, before the account can be here.
    assert_eq!(expected(&out), [0; 0]);
    out.clear();
    let state = Some(Account::new(ShardSeq(0)));
    shard.step(now(), Input::Loaded { account, state }, &mut out);
    assert_eq!(expected(&out), [most + 1]);
    let places = shard.account(account).map(|account| account.head.0);
    assert_eq!(places, Some(most), "those that waited have places");
}
