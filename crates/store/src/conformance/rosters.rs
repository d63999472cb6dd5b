//! Groups and who is in them, and the groups that accounts are in.

use std::collections::BTreeMap;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::group::{Group, Member, Membership, Reach, Role, RosterPage, Settings, Who};
use iris_core::id::{AccountId, GroupId};
use iris_core::relation::{Relations, Wish};
use iris_core::seq::{ConvSeq, ShardSeq};
use iris_core::shard::{AccountRow, Flush, GroupRow};

use super::fixture::{World, account_row, at, empty_flush, failed};
use super::{Verdict, check, none, same, suite};

suite! {
    a_group_is_read_as_it_was_written,
    members_come_change_and_go,
    a_late_roster_loses,
    a_large_roster_is_read_whole_and_in_parts,
    groups_do_not_mix,
    memberships_are_read_as_they_were_written,
    memberships_stay_when_only_the_account_changes,
    late_memberships_lose,
}

type Members = Vec<(AccountId, Option<Member>)>;

fn member(role: Role, since: u64) -> Option<Member> {
    Some(Member { role, since: ConvSeq(since) })
}

/// A group that is what its position says, with these of its members in rows of this flush.
fn flush_of(group: GroupId, members: Members, (epoch, pos): (u32, u64)) -> Flush {
    let info = Bytes::from(pos.to_be_bytes().to_vec());
    let state = Group {
        pos: ShardSeq(pos),
        head: ConvSeq(pos * 2),
        version: ConvSeq(pos),
        reach: if pos.is_multiple_of(2) { Reach::Apart } else { Reach::Pull },
        settings: Settings { writers: Who::Admins, adders: Who::Members, info },
        members: BTreeMap::new(),
    };
    let row = GroupRow { group, state, members, timestamp: at(epoch, pos) };
    Flush { groups: vec![row], ..empty_flush(epoch, pos) }
}

/// What is to be read once all of it is written.
fn group_of(flush: &Flush, members: &[(AccountId, Option<Member>)]) -> Option<Group> {
    let members = members.iter().filter_map(|(who, member)| Some((*who, (*member)?))).collect();
    flush.groups.first().map(|row| Group { members, ..row.state.clone() })
}

async fn read(world: &World<'_>, group: GroupId) -> Result<Option<Group>, String> {
    world.store.group(group).await.map_err(failed)
}

async fn a_group_is_read_as_it_was_written(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    let empty = (read(world, group).await?, world.store.roster(group, None).await.map_err(failed)?);
    same!(empty, (None, None), "a group that nobody made");
    let members = vec![
        (world.account(), member(Role::Admin, 1)),
        (world.account(), member(Role::Member, 1)),
        (world.account(), member(Role::Member, 1 << 40)),
    ];
    let flush = flush_of(group, members.clone(), (1, 9));
    world.flush(shard, &flush).await?;
    let expected = group_of(&flush, &members);
    same!(read(world, group).await?, expected, "the group");
    let page = world.store.roster(group, None).await.map_err(failed)?;
    let page_of = |group: Group| RosterPage {
        head: group.head,
        version: group.version,
        reach: group.reach,
        settings: group.settings,
        members: group.members.into_iter().collect(),
        next: None,
    };
    same!(page, expected.clone().map(page_of), "the roster");
    world.flush(shard, &flush).await?;
    same!(read(world, group).await?, expected, "the group, written again");
    Ok(())
}

async fn members_come_change_and_go(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    let (ann, ben, cleo) = (world.account(), world.account(), world.account());
    let steps = [
        vec![(ann, member(Role::Admin, 1)), (ben, member(Role::Member, 1))],
        vec![(cleo, member(Role::Member, 2))],
        vec![(ben, member(Role::Admin, 1)), (ann, None)],
        Vec::new(),
        vec![(ann, member(Role::Member, 9)), (cleo, None)],
    ];
    let mut known = BTreeMap::new();
    for (members, pos) in steps.into_iter().zip(10..) {
        known.extend(members.iter().copied());
        let flush = flush_of(group, members, (1, pos));
        world.flush(shard, &flush).await?;
        let all: Members = known.iter().map(|(who, member)| (*who, *member)).collect();
        same!(read(world, group).await?, group_of(&flush, &all), "the group at {pos}");
    }
    Ok(())
}

async fn a_late_roster_loses(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    let (ann, ben, gone) = (world.account(), world.account(), world.account());
    let newest: Members =
        vec![(ann, member(Role::Admin, 3)), (ben, member(Role::Member, 4)), (gone, None)];
    let flush = flush_of(group, newest.clone(), (3, 40));
    world.flush(shard, &flush).await?;
    let expected = group_of(&flush, &newest);
    for (epoch, pos) in [(2, 900), (3, 39), (1, 40)] {
        let late: Members =
            vec![(ann, None), (ben, member(Role::Admin, 2)), (gone, member(Role::Admin, 1))];
        world.flush(shard, &flush_of(group, late, (epoch, pos))).await?;
        same!(read(world, group).await?, expected, "after epoch {epoch}, {pos}");
    }
    Ok(())
}

async fn a_large_roster_is_read_whole_and_in_parts(world: &World<'_>) -> Verdict {
    const MEMBERS: u64 = 2_500;
    let (group, shard) = (world.group(), world.shard());
    let mut members: Members =
        (1..=MEMBERS).map(|since| (world.account(), member(Role::Member, since))).collect();
    let flush = flush_of(group, members.clone(), (1, 9));
    world.flush(shard, &flush).await?;
    same!(read(world, group).await?, group_of(&flush, &members), "the group");
    // Who left is in no part, and makes none shorter.
    members.sort_unstable_by_key(|(who, _)| *who);
    let (left, stayed): (Vec<_>, Vec<_>) =
        members.iter().enumerate().partition(|(index, _)| index % 5 == 2);
    let left: Members = left.into_iter().map(|(_, (who, _))| (*who, None)).collect();
    let stayed: Members = stayed.into_iter().map(|(_, member)| *member).collect();
    let flush = flush_of(group, left, (1, 10));
    world.flush(shard, &flush).await?;
    same!(read(world, group).await?, group_of(&flush, &stayed), "the group without 500");
    let (mut found, mut after, mut parts) = (Vec::new(), None, Vec::new());
    for _ in 0..10 {
        let page = world.store.roster(group, after).await.map_err(failed)?;
        let page = page.ok_or("the group is gone")?;
        same!(page.version, ConvSeq(10), "the roster's version");
        parts.push(page.members.len());
        found.extend(page.members.into_iter().map(|(who, member)| (who, Some(member))));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    check!(found == stayed, "the parts together are not the roster: {parts:?}");
    check!(parts.starts_with(&[1000, 1000]), "parts of {parts:?}");
    let last = stayed.last().map(|(who, _)| *who);
    let page = world.store.roster(group, last).await.map_err(failed)?;
    none!(page.ok_or("the group is gone")?.members, "behind the last");
    Ok(())
}

async fn groups_do_not_mix(world: &World<'_>) -> Verdict {
    let (one, other, shard) = (world.group(), world.group(), world.shard());
    let (ann, ben) = (world.account(), world.account());
    let of_one = flush_of(one, vec![(ann, member(Role::Admin, 1))], (1, 9));
    let of_other = flush_of(other, vec![(ben, member(Role::Admin, 7))], (1, 12));
    let groups = [of_one.groups.clone(), of_other.groups.clone()].concat();
    world.flush(shard, &Flush { groups, ..empty_flush(1, 12) }).await?;
    let expected = group_of(&of_one, &[(ann, member(Role::Admin, 1))]);
    same!(read(world, one).await?, expected, "the one");
    let expected = group_of(&of_other, &[(ben, member(Role::Admin, 7))]);
    same!(read(world, other).await?, expected, "the other");
    Ok(())
}

type Memberships = BTreeMap<GroupId, Membership>;

fn some_memberships(world: &World<'_>) -> Memberships {
    let place = |number: u64| Some(ConvSeq(number));
    let known = [
        Membership { since: ConvSeq(1), until: None, pulls: None, left_at: WallMs(0) },
        Membership {
            since: ConvSeq(1 << 40),
            until: place(1 << 41),
            pulls: None,
            left_at: WallMs(9),
        },
        Membership { since: ConvSeq(7), until: None, pulls: place(9), left_at: WallMs(0) },
    ];
    known.into_iter().map(|membership| (world.group(), membership)).collect()
}

fn joining(account: AccountId, groups: &Memberships, (epoch, pos): (u32, u64)) -> Flush {
    let mut row = account_row(account, pos, at(epoch, pos));
    row.state.groups.clone_from(groups);
    let accounts = vec![AccountRow { memberships: true, ..row }];
    Flush { accounts, ..empty_flush(epoch, pos) }
}

async fn groups_of(world: &World<'_>, account: AccountId) -> Result<Option<Memberships>, String> {
    let state = world.store.account(account).await.map_err(failed)?;
    Ok(state.map(|state| state.groups))
}

async fn memberships_are_read_as_they_were_written(world: &World<'_>) -> Verdict {
    let (account, shard, groups) = (world.account(), world.shard(), some_memberships(world));
    world.flush(shard, &joining(account, &groups, (1, 5))).await?;
    same!(groups_of(world, account).await?, Some(groups.clone()), "the memberships");
    // Beside wishes, which change on their own.
    let mut relations = Relations::default();
    relations.fulfil(Wish::Block(world.account(), true));
    let mut row = account_row(account, 6, at(1, 6));
    row.state.relations = relations.clone();
    let accounts = vec![AccountRow { relations: true, ..row }];
    world.flush(shard, &Flush { accounts, ..empty_flush(1, 6) }).await?;
    let state = world.store.account(account).await.map_err(failed)?;
    let found = state.map(|state| (state.groups, state.relations));
    same!(found, Some((groups, relations)), "memberships and wishes");
    let none = Memberships::new();
    world.flush(shard, &joining(account, &none, (1, 7))).await?;
    same!(groups_of(world, account).await?, Some(none), "no memberships");
    Ok(())
}

async fn memberships_stay_when_only_the_account_changes(world: &World<'_>) -> Verdict {
    let (account, shard, groups) = (world.account(), world.shard(), some_memberships(world));
    world.flush(shard, &joining(account, &groups, (1, 5))).await?;
    let accounts = vec![account_row(account, 9, at(1, 9))];
    world.flush(shard, &Flush { accounts, ..empty_flush(1, 9) }).await?;
    same!(groups_of(world, account).await?, Some(groups), "the memberships");
    Ok(())
}

async fn late_memberships_lose(world: &World<'_>) -> Verdict {
    let (account, shard, groups) = (world.account(), world.shard(), some_memberships(world));
    world.flush(shard, &joining(account, &groups, (2, 5))).await?;
    world.flush(shard, &joining(account, &some_memberships(world), (1, 900))).await?;
    same!(groups_of(world, account).await?, Some(groups), "the memberships");
    Ok(())
}
