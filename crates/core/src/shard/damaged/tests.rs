use std::sync::Arc;

use super::super::rig::{PHONE, Rig, delivered, group, local, outcomes, remote, told};
use super::*;
use crate::entry::Received;
use crate::group::{Change, Settings};
use crate::message::{Message, Parcel};
use crate::seq::OutboxSeq;
use crate::shard::{Input, LinkNo, ToConn};

/// The item at the head of its source's outbox is pushed, and the rows that it needs are damaged.
fn push_again(rig: &mut Rig, message: &Message, account: AccountId) -> Vec<Effect> {
    let parcel = Parcel::Message(Arc::new(message.clone()));
    let (link, from, seq) = (Some(LinkNo(9)), super::super::rig::THERE, OutboxSeq(1));
    let mut out = rig.step(Input::Parcel { link, from, seq, parcel });
    out.extend(rig.step(Input::AccountDamaged { account }));
    out
}

fn refusal(out: &[Effect]) -> Option<Code> {
    outcomes(out).into_iter().find_map(|outcome| match outcome {
        Received::Refused { notice, .. } => Some(notice.code),
        _ => None,
    })
}

/// What is behind the item of a damaged account, from the same source, arrives.
#[test]
fn an_account_that_cannot_be_read_stops_alone() {
    let mut rig = Rig::new();
    let (ann, ben) = (local(1), rig.person(2));
    let phone = rig.connect(ben, PHONE, 0);
    rig.loads = false;
    let message = rig.message(remote(3), ann);
    for _ in 1..limits::DAMAGED_TRIES {
        assert!(outcomes(&push_again(&mut rig, &message, ann)).is_empty(), "it is tried again");
    }
    assert_eq!(refusal(&push_again(&mut rig, &message, ann)), Some(Code::Damaged));
    let behind = rig.message(remote(3), ben);
    let (link, from, seq) = (Some(LinkNo(9)), super::super::rig::THERE, OutboxSeq(2));
    let parcel = Parcel::Message(Arc::new(behind));
    let mut out = rig.step(Input::Parcel { link, from, seq, parcel });
    out.extend(rig.release());
    assert_eq!(delivered(&out, phone).len(), 1);
}

#[test]
fn a_device_of_such_an_account_is_told_to_come_again() {
    let mut rig = Rig::new();
    rig.loads = false;
    let attach = rig.attach(local(1), PHONE, 0);
    let conn = attach.conn;
    rig.step(Input::Attach(attach));
    let out = rig.step(Input::AccountDamaged { account: local(1) });
    let closed = |what| matches!(what, ToConn::Closed { code: Code::StoreUnavailable, .. });
    assert!(told(&out, conn).into_iter().any(closed), "{out:?}");
}

#[test]
fn an_account_that_was_repaired_is_back() {
    let mut rig = Rig::new();
    let ann = local(1);
    rig.loads = false;
    let message = rig.message(remote(3), ann);
    for _ in 0..limits::DAMAGED_TRIES {
        push_again(&mut rig, &message, ann);
    }
    rig.release();
    let asks = |out: &[Effect]| out.iter().any(|e| matches!(e, Effect::Load(_)));
    let parcel = |rig: &mut Rig, seq| {
        let parcel = Parcel::Message(Arc::new(rig.message(remote(3), ann)));
        let (link, from, seq) = (Some(LinkNo(9)), super::super::rig::THERE, OutboxSeq(seq));
        rig.step(Input::Parcel { link, from, seq, parcel })
    };
    assert_eq!(refusal(&parcel(&mut rig, 2)), Some(Code::Damaged), "at once");
    rig.pass(limits::DAMAGED_RETRY_MS + 1);
    assert!(asks(&parcel(&mut rig, 3)), "after a while it is read again");
    let state = Some(crate::account::Account::new(crate::seq::ShardSeq(0)));
    let out = rig.step(Input::Loaded { account: ann, state });
    assert!(matches!(outcomes(&out)[..], [Received::Delivered { .. }]));
}

/// The last try fails while the shard is on its way to another owner, and then it stays.
#[test]
fn a_move_that_was_called_off_leaves_no_source_stuck() {
    let mut rig = Rig::new();
    let ann = local(1);
    rig.loads = false;
    let message = rig.message(remote(3), ann);
    for _ in 1..limits::DAMAGED_TRIES {
        push_again(&mut rig, &message, ann);
    }
    let parcel = || Parcel::Message(Arc::new(message.clone()));
    let (link, from, seq) = (Some(LinkNo(9)), super::super::rig::THERE, OutboxSeq(1));
    rig.step(Input::Parcel { link, from, seq, parcel: parcel() });
    rig.shard.set_admitting(false);
    assert!(outcomes(&rig.step(Input::AccountDamaged { account: ann })).is_empty());
    rig.shard.set_admitting(true);
    let out = rig.step(Input::Parcel { link, from, seq, parcel: parcel() });
    assert_eq!(refusal(&out), Some(Code::Damaged));
}

#[test]
fn a_group_that_cannot_be_read_refuses_and_others_go_on() {
    let mut rig = Rig::new();
    rig.loads = false;
    let (broken, whole) = (group(7), group(8));
    let say = |rig: &mut Rig, seq, to, change| {
        let parcel = Parcel::Message(Arc::new(rig.group_message(remote(3), to, change)));
        let (link, from, seq) = (Some(LinkNo(9)), super::super::rig::THERE, OutboxSeq(seq));
        rig.step(Input::Parcel { link, from, seq, parcel })
    };
    for _ in 1..limits::DAMAGED_TRIES {
        say(&mut rig, 1, broken, None);
        assert!(outcomes(&rig.step(Input::GroupDamaged { group: broken })).is_empty());
    }
    say(&mut rig, 1, broken, None);
    let out = rig.step(Input::GroupDamaged { group: broken });
    assert_eq!(refusal(&out), Some(Code::Damaged));
    rig.loads = true;
    let out = say(&mut rig, 2, whole, Some(Change::Create(Vec::new(), Settings::default())));
    assert!(matches!(outcomes(&out)[..], [Received::Ordered { .. }]));
}
