use std::sync::Arc;

use super::super::rig::{HERE, Rig, THERE, deletes, group, outcomes, remote};
use super::*;
use crate::code::Code;
use crate::group::{Member, Role, Settings};
use crate::message::Parcel;
use crate::seq::HomeGen;
use crate::shard::Input;

fn create(members: Vec<AccountId>) -> Change {
    Change::Create(members, Settings::default())
}

/// Somebody of another shard says something to a group of this one: what became of it.
fn say(rig: &mut Rig, from: AccountId, to: GroupId, change: Option<Change>) -> Received {
    let message = rig.group_message(from, to, change);
    let out = rig.parcel(Parcel::Message(Arc::new(message)));
    outcomes(&out).remove(0)
}

fn place_of(outcome: &Received) -> u64 {
    match outcome {
        Received::Ordered { message, .. } => message.place().unwrap().seq.0,
        other => panic!("{other:?}"),
    }
}

/// What goes out to other shards.
fn pushed(out: &[Effect]) -> Vec<(ShardId, Parcel)> {
    let items = out.iter().filter_map(|effect| match effect {
        Effect::Push { to, items } => Some(items.iter().map(|item| (*to, item.parcel.clone()))),
        _ => None,
    });
    items.flatten().collect()
}

fn signals(out: &[Effect]) -> Vec<(ShardId, Signal)> {
    let signal = |effect: &Effect| match effect {
        Effect::Signal { to, signal } => Some((*to, signal.clone())),
        _ => None,
    };
    out.iter().filter_map(signal).collect()
}

#[test]
fn a_message_goes_out_once_for_each_shard_of_members_when_it_is_released() {
    let mut rig = Rig::new();
    let (ann, team) = (rig.person(1), group(7));
    let others = vec![remote(2), remote(3), ann];
    say(&mut rig, remote(2), team, Some(create(others)));
    rig.release();
    let message = rig.group_message(remote(3), team, None);
    let out = rig.parcel(Parcel::Message(Arc::new(message)));
    assert!(pushed(&out).is_empty(), "nothing that is not released");
    let out = rig.release();
    let away: Vec<_> = pushed(&out).into_iter().filter(|(to, _)| *to == THERE).collect();
    let [(_, Parcel::ForMembers(sent, members))] = away.as_slice() else { panic!("{away:?}") };
    assert_eq!(members, &[remote(2), remote(3)]);
    assert_eq!(sent.place().unwrap().seq, ConvSeq(2));
}

#[test]
fn clocks_of_messages_grow_with_their_places() {
    let mut rig = Rig::new();
    let team = group(7);
    let mut last = crate::clock::Hlc(0);
    for n in 0..5 {
        let change = (n == 0).then(|| create(vec![remote(3)]));
        match say(&mut rig, remote(2), team, change) {
            Received::Ordered { message, .. } => {
                assert!(message.clock > last);
                last = message.clock;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_group_refuses_goes_back_as_a_notice() {
    let mut rig = Rig::new();
    let team = group(7);
    let code = |outcome| match outcome {
        Received::Refused { notice, .. } => notice.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(say(&mut rig, remote(2), team, None)), Code::NoConversation);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3)])));
    assert_eq!(code(say(&mut rig, remote(9), team, None)), Code::NotMember);
    assert_eq!(
        code(say(&mut rig, remote(3), team, Some(Change::Remove(vec![remote(2)])))),
        Code::Forbidden
    );
    assert_eq!(place_of(&say(&mut rig, remote(3), team, None)), 2);
}

#[test]
fn the_next_owner_has_the_group_whether_it_was_written_or_not() {
    for written in [false, true] {
        let mut rig = Rig::new();
        let team = group(7);
        say(&mut rig, remote(2), team, Some(create(vec![remote(3)])));
        rig.release();
        if written {
            rig.flush();
        }
        say(&mut rig, remote(3), team, Some(Change::Add(vec![remote(4)])));
        rig.release();
        rig.crash();
        rig.release();
        assert_eq!(place_of(&say(&mut rig, remote(4), team, None)), 3, "written: {written}");
        assert_eq!(rig.shard.group(team).unwrap().members.len(), 3);
        rig.flush();
        let rows = &rig.rows.groups[&team];
        assert_eq!((rows.members.len(), rows.head), (3, ConvSeq(3)));
    }
}

#[test]
fn a_group_that_the_store_has_is_loaded_before_it_decides_and_one_at_a_time() {
    let mut rig = Rig::new();
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3)])));
    rig.release();
    rig.next_owner();
    rig.loads = false;
    let text = |rig: &mut Rig| {
        let message = rig.group_message(remote(3), team, None);
        rig.parcel(Parcel::Message(Arc::new(message)))
    };
    let first = text(&mut rig);
    assert_eq!(first.iter().filter(|e| matches!(e, Effect::LoadGroup(_))).count(), 1);
    assert!(outcomes(&text(&mut rig)).is_empty());
    let state = rig.rows.groups.get(&team).cloned().map(Box::new);
    let out = rig.step(Input::GroupLoaded { group: team, state });
    let places: Vec<_> = outcomes(&out).iter().map(place_of).collect();
    assert_eq!(places, [2, 3], "in order");
}

#[test]
fn members_who_cannot_be_are_taken_out_again() {
    let mut rig = Rig::new();
    let (team, ghost) = (group(7), remote(8));
    let created = say(&mut rig, remote(2), team, Some(create(vec![remote(3), ghost])));
    let at = ConvSeq(place_of(&created));
    let out = rig.parcel(Parcel::Declined(team, at, vec![ghost]));
    let removed = outcomes(&out).remove(0);
    assert_eq!(place_of(&removed), 2);
    assert!(!rig.shard.group(team).unwrap().members.contains_key(&ghost));
    let again = rig.parcel(Parcel::Declined(team, at, vec![ghost]));
    assert_eq!(outcomes(&again), [Received::Dropped], "who came later is meant by nobody");
}

#[test]
fn of_a_large_group_rows_are_written_and_then_those_who_are_there_are_told() {
    let mut rig = Rig::new();
    rig.set_sizes(1, 2);
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3), remote(4)])));
    rig.release();
    rig.flush();
    assert!(!rig.shard.is_flush_awaited(), "everything is written");
    let out = rig.done(Input::Signal(Signal::WatchGroup { by: THERE, group: team, on: true }));
    let head = |head| {
        let items = OutboxSeq(2);
        (THERE, Signal::Head { group: team, to: THERE, head: ConvSeq(head), items })
    };
    assert_eq!(signals(&out), [head(1)]);
    let text = rig.group_message(remote(3), team, None);
    let out = rig.parcel(Parcel::Message(Arc::new(text)));
    let Received::Ordered { targets, .. } = outcomes(&out).remove(0) else { panic!() };
    assert!(targets.is_empty(), "nothing goes out of it");
    let out = rig.release();
    assert!(signals(&out).is_empty(), "no row has it yet");
    assert!(rig.shard.is_flush_awaited());
    rig.flush();
    let out = rig.pass(100);
    assert_eq!(signals(&out), [head(2)]);
    assert!(rig.rows.logs.contains_key(&(team, ConvSeq(2))));
    rig.pass(limits::WATCH_LEASE_MS + 1);
    say(&mut rig, remote(3), team, None);
    rig.release();
    rig.flush();
    let out = rig.pass(100);
    assert!(signals(&out).is_empty(), "whoever does not renew is told nothing");
}

#[test]
fn a_message_that_is_deleted_leaves_the_log_of_a_large_group() {
    let mut rig = Rig::new();
    rig.set_sizes(1, 2);
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3), remote(4)])));
    let Received::Ordered { message, .. } = say(&mut rig, remote(3), team, None) else { panic!() };
    rig.release();
    rig.flush();
    let about = Some(deletes(&message));
    let deletion = Message { about, ..rig.group_message(remote(3), team, None) };
    rig.parcel(Parcel::Message(Arc::new(deletion)));
    rig.release();
    rig.flush();
    assert!(rig.rows.logs[&(team, ConvSeq(2))].bodies.is_empty());
    assert!(!rig.rows.logs[&(team, ConvSeq(1))].bodies.is_empty());
}

#[test]
fn a_body_that_is_kept_apart_has_a_row_of_its_group_s_own_shard_too() {
    let mut rig = Rig::new();
    rig.set_sizes(1, 8);
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3)])));
    rig.release();
    rig.flush();
    assert!(rig.rows.logs.contains_key(&(team, ConvSeq(1))));
}

#[test]
fn only_members_of_small_groups_hear_of_typing() {
    let mut rig = Rig::new();
    let (ann, team) = (rig.person(1), group(7));
    say(&mut rig, remote(2), team, Some(create(vec![remote(3), ann])));
    rig.release();
    let typing = |from| {
        let typing = Typing { from, device: DeviceNo(1), to: Address::Group(team), kind: 1 };
        Input::Signal(Signal::Typing(typing))
    };
    let out = rig.done(typing(remote(2)));
    let told: Vec<_> = signals(&out).into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, [HERE, THERE]);
    assert!(signals(&rig.done(typing(remote(9)))).is_empty(), "not a member");
}

#[test]
fn an_idle_group_leaves_memory_and_one_that_changed_does_not() {
    let mut rig = Rig::new();
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3)])));
    assert!(rig.shard.is_flush_awaited(), "members read a roster from its rows");
    rig.release();
    rig.pass(limits::ACCOUNT_IDLE_MS + 1);
    rig.shard.evict(rig.now);
    assert!(rig.shard.group(team).is_some(), "no row has it");
    rig.flush();
    rig.pass(limits::ACCOUNT_IDLE_MS + 1);
    rig.shard.evict(rig.now);
    assert!(rig.shard.group(team).is_none());
    assert_eq!(place_of(&say(&mut rig, remote(3), team, None)), 2);
}

#[test]
fn whoever_cannot_be_a_member_goes_though_it_is_the_only_admin() {
    let mut rig = Rig::new();
    let (team, ghost) = (group(7), remote(8));
    let created = say(&mut rig, remote(2), team, Some(create(vec![remote(3), ghost])));
    let at = ConvSeq(place_of(&created));
    say(&mut rig, remote(2), team, Some(Change::Promote(ghost, Role::Admin)));
    say(&mut rig, remote(2), team, Some(Change::Leave));
    rig.parcel(Parcel::Declined(team, at, vec![ghost]));
    let members = &rig.shard.group(team).unwrap().members;
    assert_eq!(members.keys().copied().collect::<Vec<_>>(), [remote(3)]);
    assert_eq!(members[&remote(3)].role, Role::Admin);
}

#[test]
fn a_row_of_a_log_is_the_same_whoever_writes_it() {
    let mut rig = Rig::new();
    rig.next_owner();
    rig.set_sizes(1, 2);
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3), remote(4)])));
    say(&mut rig, remote(3), team, None);
    let Received::Ordered { message, .. } = say(&mut rig, remote(3), team, None) else { panic!() };
    let about = Some(deletes(&message));
    let deletion = Message { about, ..rig.group_message(remote(3), team, None) };
    rig.parcel(Parcel::Message(Arc::new(deletion)));
    let (flush, _) = rig.capture(true);
    let flush = flush.unwrap();
    assert!(flush.logs.iter().all(|row| row.timestamp == stamp::whole(HomeGen(0))));
    assert_eq!(flush.logs.len(), 4);
    assert_eq!(flush.log_erasures[0].timestamp, stamp::erased(HomeGen(0)));
}

/// A flush that breaks off leaves rows of members that are newer than the checkpoint: who is in it longest
/// by those is not who it was.
#[test]
fn a_replay_over_newer_rows_makes_nobody_else_an_admin() {
    let mut rig = Rig::new();
    let team = group(7);
    say(&mut rig, remote(2), team, Some(create(vec![remote(3), remote(4), remote(5)])));
    rig.release();
    rig.flush();
    say(&mut rig, remote(2), team, Some(Change::Leave));
    assert_eq!(rig.shard.group(team).unwrap().members[&remote(3)].role, Role::Admin);
    say(&mut rig, remote(3), team, Some(Change::Promote(remote(5), Role::Admin)));
    say(&mut rig, remote(3), team, Some(Change::Leave));
    say(&mut rig, remote(5), team, Some(Change::Add(vec![remote(3)])));
    rig.release();
    let expected = rig.shard.group(team).unwrap().clone();
    let newer: Member = expected.members[&remote(3)];
    rig.rows.groups.get_mut(&team).unwrap().members.insert(remote(3), newer);
    rig.crash();
    assert_eq!(rig.shard.group(team), Some(&expected));
    assert_eq!(expected.members[&remote(4)].role, Role::Member);
}

/// Its own answer is said once: it is not for a full outbox to lose it.
#[test]
fn whoever_cannot_be_a_member_goes_though_an_outbox_is_full() {
    let mut rig = Rig::new();
    let (team, ghost) = (group(7), remote(8));
    let created = say(&mut rig, remote(2), team, Some(create(vec![remote(3), ghost])));
    let at = ConvSeq(place_of(&created));
    rig.release();
    rig.shard.peers.get_mut(&THERE).unwrap().out_next.0 += 2 * limits::OUTBOX_ITEMS_MAX;
    let full = say(&mut rig, remote(2), team, None);
    assert!(matches!(full, Received::Refused { notice, .. } if notice.code == Code::Quota));
    let out = rig.parcel(Parcel::Declined(team, at, vec![ghost]));
    assert_eq!(place_of(&outcomes(&out)[0]), 2);
    assert!(!rig.shard.group(team).unwrap().members.contains_key(&ghost));
}
