//! Places of groups: dense from where the account came until it left, and what excuses a hole.

use bytes::Bytes;
use iris_core::clock::{Hlc, WallMs};
use iris_core::group::Settings;
use iris_core::id::{DeviceId, DeviceNo, MsgId};
use iris_core::seq::InboxSeq;

use super::*;

const OWN: u8 = 1;
const ADA: u8 = 2;

fn account(n: u8) -> AccountId {
    AccountId::from_bytes(&[n; 16]).unwrap()
}

fn group() -> GroupId {
    GroupId::from_bytes(&[9; 16]).unwrap()
}

fn at(place: u64, change: Option<Change>, pulls: bool) -> ToldPlace {
    ToldPlace { group: group(), place: ConvSeq(place), change, pulls }
}

fn place(sender: u8, at: ToldPlace) -> Place {
    let content = Content::Incoming(Incoming {
        sender: DeviceId { account: account(sender), device: DeviceNo(1) },
        msg_id: MsgId([3; 16]),
        body: Bytes::new(),
        expires_at_ms: 0,
        clock: Hlc(1),
        about: None,
        in_group: Some(Box::new(at)),
    });
    Place { seq: InboxSeq(1), clock_ms: 1, content }
}

fn hole() -> Place {
    Place { seq: InboxSeq(1), clock_ms: 1, content: Content::Hole }
}

fn adds(who: u8) -> Option<Change> {
    Some(Change::Add(vec![account(who)]))
}

fn takes_out(who: u8) -> Option<Change> {
    Some(Change::Remove(vec![account(who)]))
}

#[derive(Default)]
struct Rig(Groups);

impl Rig {
    /// The account came at a place.
    fn joined(at_place: u64, pulls: bool) -> Self {
        let mut rig = Self::default();
        rig.gets(ADA, at(at_place, adds(OWN), pulls));
        rig
    }

    fn gets(&mut self, sender: u8, at: ToldPlace) -> Seen {
        self.0.placed(account(OWN), &place(sender, at))
    }

    fn plain(&mut self, place: u64) -> Seen {
        self.gets(ADA, at(place, None, false))
    }

    fn log(&mut self, place: u64) -> Seen {
        self.0.logged(&at(place, None, true))
    }

    fn hole(&mut self) {
        self.0.placed(account(OWN), &hole());
    }

    fn known(&self) -> KnownGroup {
        *self.0.get(group()).unwrap()
    }
}

fn behind(expected: u64, found: u64) -> Seen {
    Seen::Behind(Skipped { group: group(), expected: ConvSeq(expected), found: ConvSeq(found) })
}

#[test]
fn places_are_dense_from_where_the_account_came() {
    let mut rig = Rig::joined(7, false);
    assert_eq!((rig.plain(8), rig.plain(9)), (Seen::Next, Seen::Next));
    assert_eq!(rig.plain(11), behind(10, 11));
    assert_eq!(rig.plain(12), Seen::Next, "it is counted once");
    assert_eq!((rig.known().gaps, rig.known().last), (1, ConvSeq(12)));
    assert_eq!(rig.plain(12), behind(13, 12), "a place that comes again is a defect, too");
}

#[test]
fn a_device_that_is_new_begins_anywhere() {
    let mut rig = Rig::default();
    assert_eq!((rig.plain(40), rig.plain(41)), (Seen::Next, Seen::Next));
    rig.0.unanchor();
    assert_eq!((rig.plain(90), rig.plain(91)), (Seen::Next, Seen::Next));
    assert_eq!(rig.known().gaps, 0);
}

#[test]
fn each_hole_of_the_inbox_excuses_one_place() {
    let mut rig = Rig::joined(7, false);
    rig.hole();
    rig.hole();
    assert_eq!(rig.plain(10), Seen::Next);
    assert_eq!(rig.plain(12), behind(11, 12), "those were before");
    rig.hole();
    assert_eq!(rig.plain(15), behind(13, 15), "one is not enough for two");
}

#[test]
fn between_leaving_and_coming_back_nothing_is_missing() {
    let mut rig = Rig::joined(7, false);
    assert_eq!(rig.gets(ADA, at(8, takes_out(OWN), false)), Seen::Next);
    assert_eq!(rig.known().until, Some(ConvSeq(8)));
    assert_eq!(rig.gets(ADA, at(90, adds(OWN), false)), Seen::Next);
    assert_eq!(rig.plain(91), Seen::Next);
    assert_eq!((rig.known().until, rig.known().gaps), (None, 0));
    assert_eq!(rig.gets(OWN, at(92, Some(Change::Leave), false)), Seen::Next);
    assert_eq!(rig.plain(93), behind(93, 93), "what was said after it left is not for it");
}

#[test]
fn others_come_and_go_in_their_places() {
    let mut rig = Rig::joined(7, false);
    assert_eq!(rig.gets(ADA, at(8, adds(5), false)), Seen::Next);
    assert_eq!(rig.gets(ADA, at(9, takes_out(5), false)), Seen::Next);
    assert_eq!(rig.gets(ADA, at(10, Some(Change::Leave), false)), Seen::Next);
    assert_eq!((rig.known().until, rig.known().gaps), (None, 0));
}

#[test]
fn a_maker_is_in_its_group() {
    let mut rig = Rig::default();
    let create = Some(Change::Create(vec![account(5)], Settings::default()));
    assert_eq!(rig.gets(OWN, at(1, create, false)), Seen::Next);
    assert_eq!(rig.plain(2), Seen::Next);
    assert_eq!(rig.plain(4), behind(3, 4));
}

#[test]
fn a_group_that_becomes_large_goes_on_in_its_log() {
    let mut rig = Rig::joined(7, false);
    assert_eq!(rig.gets(ADA, at(8, adds(5), true)), Seen::Next);
    assert_eq!(rig.known().pulls, Some(ConvSeq(8)));
    assert_eq!((rig.log(9), rig.log(10)), (Seen::Next, Seen::Next));
    // A change of the own membership comes both ways: it counts where it stands in the order.
    let promoted = Some(Change::Promote(account(OWN), iris_core::group::Role::Admin));
    assert_eq!(rig.gets(ADA, at(11, promoted, true)), Seen::ByLog);
    assert_eq!(rig.known().last, ConvSeq(10));
    assert_eq!(rig.log(11), Seen::Next);
    assert_eq!((rig.log(11), rig.log(8)), (Seen::ByLog, Seen::ByLog), "each once");
    assert_eq!(rig.log(13), behind(12, 13));
    assert_eq!(rig.known().gaps, 1);
}

#[test]
fn a_log_is_read_up_to_where_the_account_left() {
    let mut rig = Rig::joined(7, true);
    assert_eq!(rig.0.wanted(group(), ConvSeq(30)), Some(ConvSeq(30)));
    assert_eq!(rig.gets(ADA, at(20, takes_out(OWN), true)), Seen::ByLog);
    assert_eq!(rig.0.wanted(group(), ConvSeq(30)), Some(ConvSeq(20)));
    // And from where it came back.
    assert_eq!(rig.gets(ADA, at(50, adds(OWN), true)), Seen::Next);
    assert_eq!((rig.known().last, rig.known().until), (ConvSeq(50), None));
    assert_eq!(rig.log(51), Seen::Next);
    assert_eq!(rig.known().gaps, 0);
}

fn membership(pulls: u64) -> Vec<(GroupId, Membership)> {
    let pulls = Some(ConvSeq(pulls));
    vec![(group(), Membership { since: ConvSeq(3), until: None, pulls, left_at: WallMs(0) })]
}

#[test]
fn a_new_device_reads_a_large_group_from_where_it_stands() {
    let mut rig = Rig::default();
    assert!(!rig.0.begin_at(group(), ConvSeq(30)), "nobody told of it yet");
    assert_eq!(rig.0.list(&membership(7)), [group()]);
    assert_eq!(rig.0.wanted(group(), ConvSeq(30)), None);
    assert!(rig.0.begin_at(group(), ConvSeq(30)));
    assert!(!rig.0.begin_at(group(), ConvSeq(40)), "once");
    assert_eq!((rig.log(30), rig.log(31)), (Seen::ByLog, Seen::Next));
    assert_eq!(rig.known().gaps, 0);
}

#[test]
fn a_device_that_is_told_how_its_account_came_reads_all_of_it() {
    let mut rig = Rig::default();
    rig.0.list(&membership(7));
    rig.0.begin_at(group(), ConvSeq(30));
    assert_eq!(rig.gets(ADA, at(7, adds(OWN), true)), Seen::Next);
    assert_eq!(rig.log(8), Seen::Next);
    // Once something was read of it, that stays as it is.
    let mut rig = Rig::default();
    rig.0.list(&membership(7));
    rig.0.begin_at(group(), ConvSeq(30));
    rig.log(31);
    assert_eq!(rig.gets(ADA, at(7, adds(OWN), true)), Seen::ByLog);
    assert_eq!(rig.log(32), Seen::Next);
}

#[test]
fn a_group_that_became_large_unseen_is_read_from_there_on() {
    let mut rig = Rig::joined(7, false);
    assert_eq!(rig.0.list(&membership(20)), [], "the inbox will tell");
    rig.0.unanchor();
    assert!(!rig.0.listed);
    assert_eq!(rig.0.list(&membership(20)), [group()]);
    assert_eq!(rig.log(21), Seen::Next);
}

#[test]
fn those_that_were_left_are_forgotten_first() {
    let mut groups = Groups::default();
    let id = |n: usize| {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&(n as u64).to_be_bytes());
        GroupId::from_bytes(&bytes).unwrap()
    };
    let left = KnownGroup { until: Some(ConvSeq(1)), ..KnownGroup::default() };
    groups.set(id(500), left);
    (0..500).for_each(|n| groups.set(id(n), KnownGroup::default()));
    (501..=KNOWN_MAX).for_each(|n| groups.set(id(n), KnownGroup::default()));
    assert_eq!(groups.iter().count(), KNOWN_MAX);
    assert!(groups.get(id(500)).is_none() && groups.get(id(0)).is_some());
}
