use proptest::prelude::*;

use super::*;
use crate::clock::WallMs;
use crate::id::TenantNo;

fn count() -> ShardCount {
    ShardCount::new(4).unwrap()
}

fn who(n: u128) -> AccountId {
    AccountId::in_shard(ShardId::new(u16::try_from(n % 4).unwrap()), count(), TenantNo(0), n)
}

fn all(range: std::ops::Range<u128>) -> Vec<AccountId> {
    range.map(who).collect()
}

fn change(change: Change) -> InGroup {
    InGroup { change: Some(change), ..InGroup::default() }
}

/// A group as its messages make it, and whether each was taken.
struct Life {
    group: Option<Group>,
}

impl Life {
    fn new(members: Vec<AccountId>, settings: Settings) -> Self {
        let mut life = Self { group: None };
        life.say(who(0), change(Change::Create(members, settings))).unwrap();
        life
    }

    fn say(&mut self, sender: AccountId, carried: InGroup) -> Result<Ruling, Code> {
        let ruling = Group::judge(self.group.as_ref(), sender, &carried, Sizes::default())?;
        let group = self.group.get_or_insert_with(Group::empty);
        group.take(sender, carried.change.as_ref(), ruling.place, ruling.heir);
        Ok(ruling)
    }

    fn text(&mut self, sender: AccountId) -> Result<Ruling, Code> {
        self.say(sender, InGroup::default())
    }

    fn group(&self) -> &Group {
        self.group.as_ref().unwrap()
    }
}

#[test]
fn places_are_dense_and_everybody_who_is_in_it_gets_a_message() {
    let mut life = Life::new(all(1..3), Settings::default());
    let ruling = life.text(who(1)).unwrap();
    assert_eq!(ruling.place, Place { seq: ConvSeq(2), reach: Reach::Inline });
    let mut to = all(0..3);
    to.sort_unstable();
    assert_eq!(ruling.to, to);
    assert_eq!(life.text(who(9)), Err(Code::NotMember));
    assert_eq!(life.group().head, ConvSeq(2), "what is refused takes no place");
    assert_eq!(life.group().version, ConvSeq(1));
}

#[test]
fn who_comes_and_who_goes_gets_the_message_that_says_so_and_none_outside_of_it() {
    let mut life = Life::new(all(1..2), Settings::default());
    let added = life.say(who(1), change(Change::Add(all(2..3)))).unwrap();
    assert!(added.to.contains(&who(2)));
    let removed = life.say(who(0), change(Change::Remove(all(2..3)))).unwrap();
    assert!(removed.to.contains(&who(2)));
    assert!(!life.text(who(0)).unwrap().to.contains(&who(2)));
    let left = life.say(who(1), change(Change::Leave)).unwrap();
    assert!(left.to.contains(&who(1)));
    assert_eq!(life.text(who(1)), Err(Code::NotMember));
    assert_eq!(life.group().version, left.place.seq);
}

#[test]
fn admins_alone_do_what_is_for_admins() {
    let settings = Settings { writers: Who::Admins, adders: Who::Admins, ..Settings::default() };
    let mut life = Life::new(all(1..3), settings);
    let forbidden = Err(Code::Forbidden);
    assert_eq!(life.text(who(1)), forbidden);
    assert_eq!(life.say(who(1), change(Change::Add(all(5..6)))), forbidden);
    assert_eq!(life.say(who(1), change(Change::Remove(all(2..3)))), forbidden);
    assert_eq!(life.say(who(1), change(Change::Set(Settings::default()))), forbidden);
    assert_eq!(life.say(who(1), change(Change::Promote(who(1), Role::Admin))), forbidden);
    life.say(who(0), change(Change::Promote(who(1), Role::Admin))).unwrap();
    assert!(life.text(who(1)).is_ok());
    life.say(who(1), change(Change::Set(Settings::default()))).unwrap();
    assert!(life.text(who(2)).is_ok(), "now everybody writes");
    assert_eq!(
        life.say(who(2), change(Change::Create(Vec::new(), Settings::default()))),
        forbidden
    );
}

#[test]
fn a_group_whose_last_admin_left_is_that_of_whoever_is_in_it_longest() {
    let mut life = Life::new(Vec::new(), Settings::default());
    life.say(who(0), change(Change::Add(all(1..2)))).unwrap();
    life.say(who(0), change(Change::Add(all(2..3)))).unwrap();
    life.say(who(0), change(Change::Leave)).unwrap();
    assert_eq!(life.group().members[&who(1)].role, Role::Admin);
    assert_eq!(life.group().members[&who(2)].role, Role::Member);
}

#[test]
fn bodies_for_another_roster_are_refused() {
    let mut life = Life::new(all(1..2), Settings::default());
    let knows = |roster| InGroup { roster: ConvSeq(roster), ..InGroup::default() };
    assert!(life.say(who(1), knows(1)).is_ok());
    assert!(life.say(who(1), knows(1)).is_ok(), "messages change no roster");
    life.say(who(0), change(Change::Add(all(2..3)))).unwrap();
    assert_eq!(life.say(who(1), knows(1)), Err(Code::StaleRoster));
    assert!(life.say(who(1), knows(4)).is_ok());
    assert!(life.say(who(1), knows(0)).is_ok(), "for any");
}

#[test]
fn nobody_makes_or_finds_a_group_that_is_not_there() {
    let text = InGroup::default();
    let judge = |carried: &InGroup| Group::judge(None, who(0), carried, Sizes::default());
    assert_eq!(judge(&text), Err(Code::NoConversation));
    assert_eq!(judge(&change(Change::Add(all(1..2)))), Err(Code::NoConversation));
    assert!(judge(&change(Change::Create(Vec::new(), Settings::default()))).is_ok());
}

#[test]
fn a_growing_group_reaches_its_members_in_other_ways_and_never_goes_back() {
    let mut life = Life::new(all(1..64), Settings::default());
    assert_eq!(life.text(who(0)).unwrap().place.reach, Reach::Inline);
    let apart = life.say(who(0), change(Change::Add(all(64..65)))).unwrap();
    assert_eq!((apart.place.reach, apart.to.len()), (Reach::Apart, 65));
    let mut n = 65;
    while n < 5_000 {
        let next = (n + 256).min(5_000);
        life.say(who(0), change(Change::Add(all(n..next)))).unwrap();
        n = next;
    }
    assert_eq!(life.text(who(0)).unwrap().to.len(), 5_000);
    let pull = life.say(who(0), change(Change::Add(all(5_000..5_001)))).unwrap();
    assert_eq!((pull.place.reach, pull.to.len()), (Reach::Pull, 5_001), "all are told of it");
    let text = life.text(who(0)).unwrap();
    assert_eq!((text.place.reach, text.to.len()), (Reach::Pull, 0));
    let gone = life.say(who(0), change(Change::Remove(all(5..8)))).unwrap();
    assert_eq!((gone.place.reach, gone.to.len()), (Reach::Pull, 3), "who goes is told");
    assert_eq!(life.text(who(0)).unwrap().place.reach, Reach::Pull);
}

#[test]
fn changes_and_groups_are_bounded() {
    let group = GroupId::in_shard(ShardId::new(1), count(), TenantNo(0), 7);
    let info = |bytes| Settings { info: vec![0; bytes].into(), ..Settings::default() };
    assert_eq!(Change::Add(all(0..256)).check(group), Ok(()));
    assert_eq!(Change::Add(all(0..257)).check(group), Err(Code::TooLarge));
    assert_eq!(Change::Set(info(4_096)).check(group), Ok(()));
    assert_eq!(Change::Create(Vec::new(), info(4_097)).check(group), Err(Code::TooLarge));
    let foreign = AccountId::in_shard(ShardId::new(1), count(), TenantNo(3), 7);
    assert_eq!(Change::Add(vec![foreign]).check(group), Err(Code::NoConversation));
    let mut full = Group::empty();
    let member = Member { role: Role::Member, since: ConvSeq(1) };
    let most = u128::try_from(limits::GROUP_MEMBERS_MAX).unwrap();
    full.members = all(0..most).into_iter().map(|who| (who, member)).collect();
    let adds = |n| Group::judge(Some(&full), who(0), &change(Change::Add(n)), Sizes::default());
    assert_eq!(adds(vec![who(most)]), Err(Code::Quota));
    assert!(adds(vec![who(3)]).is_ok(), "is in it already");
}

#[test]
fn a_membership_says_from_where_to_where() {
    let at = |seq, reach| Place { seq: ConvSeq(seq), reach };
    let (ann, ben) = (who(1), who(2));
    let after = |known, sender, change: &Change, place| {
        Membership::after(known, ann, sender, Some(change), (place, WallMs(70)))
    };
    let came = after(None, ben, &Change::Add(vec![ann]), at(7, Reach::Inline)).unwrap();
    assert_eq!(
        came,
        Membership { since: ConvSeq(7), until: None, pulls: None, left_at: WallMs(0) }
    );
    assert_eq!(after(Some(came), ben, &Change::Add(vec![who(3)]), at(8, Reach::Apart)), None);
    let pulls = after(Some(came), ben, &Change::Add(vec![who(4)]), at(9, Reach::Pull)).unwrap();
    assert_eq!(pulls.readable(ConvSeq(0)), Some((ConvSeq(9), None)));
    assert_eq!(pulls.readable(ConvSeq(12)), Some((ConvSeq(12), None)));
    let left = after(Some(pulls), ann, &Change::Leave, at(20, Reach::Pull)).unwrap();
    assert_eq!(left.readable(ConvSeq(12)), Some((ConvSeq(12), Some(ConvSeq(20)))));
    assert_eq!(left.readable(ConvSeq(20)), None);
    let back = after(Some(left), ben, &Change::Add(vec![ann]), at(30, Reach::Pull)).unwrap();
    assert_eq!(back.readable(ConvSeq(0)), Some((ConvSeq(30), None)), "not what was said between");
    assert_eq!(came.readable(ConvSeq(0)), None, "the inbox holds everything");
}

proptest! {
    /// Whatever happens in a group: it always has an admin, and whoever is told of a message was in
    /// the group before it or is behind it.
    #[test]
    fn somebody_looks_after_a_group_as_long_as_somebody_is_in_it(
        steps in proptest::collection::vec((0..6u8, 0..8u128, 0..8u128), 0..60),
    ) {
        let mut life = Life::new(all(1..4), Settings::default());
        for (kind, by, of) in steps {
            let carried = match kind {
                0 => InGroup::default(),
                1 => change(Change::Add(all(of..of + 2))),
                2 => change(Change::Remove(all(of..of + 1))),
                3 => change(Change::Leave),
                4 => change(Change::Promote(who(of), Role::Admin)),
                _ => change(Change::Promote(who(of), Role::Member)),
            };
            let before = life.group().clone();
            if let Ok(ruling) = life.say(who(by), carried) {
                let after = life.group();
                prop_assert_eq!(ruling.place.seq, before.head.next());
                let is_in = |id: &AccountId| {
                    before.members.contains_key(id) || after.members.contains_key(id)
                };
                prop_assert!(ruling.to.iter().all(is_in));
                prop_assert!(before.members.keys().all(|id| ruling.to.contains(id)));
                prop_assert!(after.members.keys().all(|id| ruling.to.contains(id)));
            } else {
                prop_assert_eq!(&before, life.group());
            }
            let group = life.group();
            let admins = group.members.values().filter(|m| m.role == Role::Admin).count();
            prop_assert!(admins > 0 || group.members.is_empty());
        }
    }
}

#[test]
fn an_entry_of_a_version_before_leaves_no_group_without_an_admin() {
    let mut life = Life::new(all(1..3), Settings::default());
    let ruling = life.group().rule(who(0), Some(&Change::Leave), Sizes::default()).unwrap();
    assert_eq!(ruling.heir, Heir::Named(all(1..3).into_iter().min().unwrap()));
    let mut said = life.group().clone();
    said.take(who(0), Some(&Change::Leave), ruling.place, ruling.heir);
    let group = life.group.as_mut().unwrap();
    group.take(who(0), Some(&Change::Leave), ruling.place, Heir::Unsaid);
    assert_eq!(*group, said);
}
