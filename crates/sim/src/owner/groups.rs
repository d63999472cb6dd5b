//! What owners ask the store of groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_core::account::Account;
use iris_core::group::{Group, Member, RosterPage};
use iris_core::id::{AccountId, GroupId, ShardId};
use iris_core::message::Message;
use iris_core::shard::{Conn, Input, LogFetch};

use crate::store::{Answer, Failed, Key, Stored, Value};
use crate::world::World;

/// Members on one page of a roster: few, so that there are several pages.
const ROSTER_PAGE: usize = 3;

/// Who asked, and for which answer it waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) account: AccountId,
    pub(crate) conn: Conn,
    pub(crate) corr: u32,
}

impl World {
    pub(super) fn group_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        group: GroupId,
        answer: Result<Answer, Failed>,
    ) {
        let input = match answer {
            Ok(answer) => {
                let state = group_of(Self::rows_of(answer)).map(Box::new);
                Input::GroupLoaded { group, state }
            }
            Err(Failed) => Input::GroupLoadFailed { group },
        };
        self.feed(owner, shard, input);
    }

    pub(super) fn roster_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        (asked, group, after): (Asked, GroupId, Option<AccountId>),
        answer: Result<Answer, Failed>,
    ) {
        let page = answer.ok().map(|answer| {
            let state = group_of(Self::rows_of(answer))?;
            let behind = |who: &AccountId| after.is_none_or(|after| *who > after);
            let members = state.members.into_iter().filter(|(who, _)| behind(who));
            let mut members: Vec<(AccountId, Member)> = members.collect();
            let more = members.len() > ROSTER_PAGE;
            members.truncate(ROSTER_PAGE);
            let next = members.last().map(|(who, _)| *who).filter(|_| more);
            let Group { head, version, reach, settings, .. } = state;
            Some(RosterPage { head, version, reach, settings, members, next })
        });
        let Asked { account, conn, corr, .. } = asked;
        self.feed(owner, shard, Input::RosterRead { account, conn, corr, group, page });
    }

    /// Places of a log as far as none is missing: one that is not there yet is not passed over.
    pub(super) fn log_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        (asked, fetch): (Asked, LogFetch),
        answer: Result<Answer, Failed>,
    ) {
        let messages = answer.ok().map(|answer| {
            let mut next = fetch.after.next();
            let mut messages: Vec<Arc<Message>> = Vec::new();
            for row in Self::rows_of(answer) {
                let (Key::Log(_, place), Value::Log(message)) = (row.key, row.cell.value) else {
                    continue;
                };
                let full = messages.len() >= usize::try_from(fetch.limit).expect("bounded");
                if full || place != next || fetch.upto.is_some_and(|upto| place > upto) {
                    break;
                }
                next = place.next();
                messages.push(message);
            }
            messages
        });
        let Asked { account, conn, corr, .. } = asked;
        self.feed(owner, shard, Input::LogRead { account, conn, corr, fetch, messages });
    }

    /// The newest place of a group that its shard knows, and who is in it, where it is in memory.
    pub(crate) fn group_now(&self, group: GroupId) -> Option<&Group> {
        let shard = group.shard(self.count);
        let serving = self.owners.iter().filter(|owner| owner.alive);
        let engines = serving.flat_map(|owner| &owner.lanes).map(|lane| &lane.engine);
        let shards = engines.filter_map(|engine| engine.shard(shard));
        shards.max_by_key(|shard| shard.key().epoch)?.group(group)
    }
}

/// A group from its rows.
pub(super) fn group_of(rows: Vec<Stored>) -> Option<Group> {
    let mut state = None;
    let mut members = BTreeMap::new();
    for row in rows {
        match (row.key, row.cell.value) {
            (Key::Group(_), Value::Group(group)) => state = Some(group.as_ref().clone()),
            (Key::Member(_, account), Value::Member(Some(member))) => {
                members.insert(account, member);
            }
            _ => {}
        }
    }
    state.map(|state| Group { members, ..state })
}

/// An account from its row.
pub(super) fn account_of(rows: Vec<Stored>) -> Option<Account> {
    let mut state = None;
    let mut groups = BTreeMap::new();
    for row in rows {
        match row.cell.value {
            Value::Account(account) => state = Some(account.as_ref().clone()),
            Value::Memberships(known) => groups.clone_from(&known),
            _ => {}
        }
    }
    state.map(|state| Account { groups, ..state })
}
