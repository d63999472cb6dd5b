//! What was written of the shard under test: its rows, as the store would have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::{Account, InboxContent, InboxItem};
use crate::clock::Hlc;
use crate::group::{Group, Membership};
use crate::id::{AccountId, GroupId, ShardId};
use crate::mark::Mark;
use crate::message::Message;
use crate::relation::Relations;
use crate::seq::{ConvSeq, InboxSeq, ShardSeq};

use super::super::{Flush, PeerRow};

/// What was written of the shard.
#[derive(Default)]
pub(in crate::shard) struct Rows {
    pub(in crate::shard) accounts: BTreeMap<AccountId, Account>,
    pub(super) relations: BTreeMap<AccountId, Relations>,
    pub(super) memberships: BTreeMap<AccountId, BTreeMap<GroupId, Membership>>,
    pub(in crate::shard) groups: BTreeMap<GroupId, Group>,
    /// The messages of groups' logs, by their places.
    pub(in crate::shard) logs: BTreeMap<(GroupId, ConvSeq), Arc<Message>>,
    pub(super) places: BTreeMap<(AccountId, InboxSeq), InboxItem>,
    pub(super) marks: BTreeMap<(AccountId, AccountId), Mark>,
    pub(super) peers: BTreeMap<ShardId, PeerRow>,
    pub(super) checkpoint: ShardSeq,
    pub(super) clock: Hlc,
}

impl Rows {
    pub(super) fn account(&self, account: AccountId) -> Option<Account> {
        let relations = self.relations.get(&account).cloned().unwrap_or_default();
        let groups = self.memberships.get(&account).cloned().unwrap_or_default();
        self.accounts.get(&account).map(|state| Account { relations, groups, ..state.clone() })
    }

    pub(super) fn write(&mut self, flush: Flush) {
        for run in flush.inbox {
            for item in run.items {
                self.places.insert((run.account, item.seq), item);
            }
        }
        for erasure in flush.erasures {
            let is_it = |item: &InboxItem| match &item.content {
                InboxContent::Message(message) => {
                    (message.sender, message.msg_id, message.clock)
                        == (erasure.author, erasure.msg_id, erasure.clock)
                }
                InboxContent::Notice(_) | InboxContent::Hole => false,
            };
            let of = self.places.iter_mut().filter(|((who, _), _)| *who == erasure.account);
            of.filter(|(_, item)| is_it(item))
                .for_each(|(_, item)| item.content = InboxContent::Hole);
        }
        for row in flush.logs {
            let place = row.message.place().unwrap().seq;
            self.logs.insert((row.group, place), row.message);
        }
        for erasure in flush.log_erasures {
            if let Some(message) = self.logs.get_mut(&(erasure.group, erasure.place))
                && (message.sender, message.msg_id) == (erasure.author, erasure.msg_id)
            {
                *message = Arc::new(message.without_body());
            }
        }
        for row in flush.groups {
            let mut members = self.groups.remove(&row.group).map(|g| g.members).unwrap_or_default();
            for (who, member) in row.members {
                match member {
                    Some(member) => members.insert(who, member),
                    None => members.remove(&who),
                };
            }
            self.groups.insert(row.group, Group { members, ..row.state });
        }
        for row in flush.marks {
            let known = self.marks.entry((row.account, row.with)).or_default();
            *known = known.merge(row.mark);
        }
        for row in flush.accounts {
            if row.relations {
                self.relations.insert(row.account, row.state.relations.clone());
            }
            if row.memberships {
                self.memberships.insert(row.account, row.state.groups.clone());
            }
            self.accounts.insert(row.account, row.state);
        }
        self.peers.extend(flush.peers.into_iter().map(|row| (row.peer, row)));
        (self.checkpoint, self.clock) = (flush.checkpoint, flush.clock);
    }
}
