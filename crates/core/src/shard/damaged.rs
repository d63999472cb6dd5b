//! Accounts and groups whose rows cannot be understood: each stops alone, and the shard goes on.
//!
//! A read that does not answer is tried again for ever, and what other shards sent waits for it. Rows
//! that nobody can decode would hold up everything behind that for ever. So after a few tries what comes
//! for such an account is decided without it, as for one that is not here, and its sender is told. Its
//! rows are not touched, and it is asked for again after a while: somebody may have repaired them.
//!
//! Nothing of this is logged but the outcomes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::id::{AccountId, GroupId, ShardId};
use crate::limits;

use super::Shard;
use super::effect::Effect;
use super::groups::GroupSlot;
use super::hot::{Slot, Waiting};

/// What cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rows {
    Account(AccountId),
    Group(GroupId),
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Damaged {
    known: BTreeMap<Rows, Tries>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    count: u32,
    last: MonoUs,
}

impl Damaged {
    /// They were read, and could not be understood. Answers whether they are given up.
    fn failed(&mut self, rows: Rows, now: MonoUs) -> bool {
        let tries = self.known.entry(rows).or_default();
        *tries = Tries { count: tries.count.saturating_add(1), last: now };
        tries.count >= limits::DAMAGED_TRIES
    }

    /// Whether they are given up: not before they are due to be read again.
    pub(super) fn are_given_up(&self, rows: Rows, now: MonoUs) -> bool {
        self.known.get(&rows).is_some_and(|tries| {
            let again = now.ms_since(tries.last) >= limits::DAMAGED_RETRY_MS;
            tries.count >= limits::DAMAGED_TRIES && !again
        })
    }

    /// Somebody repaired them.
    pub(super) fn forget(&mut self, rows: Rows) {
        self.known.remove(&rows);
    }

    /// Why something for an account or a group that is not here is refused.
    pub(super) fn why(&self, rows: Rows) -> Code {
        if self.known.contains_key(&rows) { Code::Damaged } else { Code::NoConversation }
    }
}

impl Shard {
    /// The rows of an account cannot be understood.
    pub(super) fn account_damaged(&mut self, now: Now, account: AccountId, out: &mut Vec<Effect>) {
        let given_up = self.damaged.failed(Rows::Account(account), now.mono);
        let sources = match self.accounts.get_mut(&account) {
            Some(Slot::Loading(waiting)) if given_up => take_sources(waiting),
            _ => Vec::new(),
        };
        // Whoever else waits is told to come again.
        self.load_failed(account, out);
        for from in sources {
            self.drain_inbound(now, from, out);
        }
    }

    /// The rows of a group cannot be understood.
    pub(super) fn group_damaged(&mut self, now: Now, group: GroupId, out: &mut Vec<Effect>) {
        if !self.damaged.failed(Rows::Group(group), now.mono) {
            return self.group_load_failed(group);
        }
        let slot = self.groups.remove(&group);
        let Some(GroupSlot::Loading(waiting)) = slot else {
            self.groups.extend(slot.map(|slot| (group, slot)));
            return;
        };
        for from in waiting.into_sources() {
            self.drain_inbound(now, from, out);
        }
    }
}

/// The sources among those who wait.
fn take_sources(waiting: &mut Vec<Waiting>) -> Vec<ShardId> {
    let mut sources = Vec::new();
    waiting.retain(|waiting| match waiting {
        Waiting::Inbound(from) => {
            sources.push(*from);
            false
        }
        Waiting::Input(_) => true,
    });
    sources
}
