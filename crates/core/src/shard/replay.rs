//! A claimed shard: recovered from its checkpoint and the entries behind it, then serving.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::account::Account;
use crate::clock::{Hlc, MonoUs};
use crate::entry::Entry;
use crate::group::Group;
use crate::id::{AccountId, GroupId, ShardId};
use crate::seq::ShardSeq;

use super::damaged::Damaged;
use super::flush::FlushState;
use super::groups::{GroupSlot, HotGroup};
use super::hot::{Hot, Slot};
use super::outbox::Peer;
use super::presence::Watches;
use super::pulls::Pulls;
use super::receipts::Receipts;
use super::{PendingProgress, Policy, Shard, ShardKey};

/// What a claimer read of a shard.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Everything up to here is in derived rows.
    pub checkpoint: ShardSeq,
    /// The clock of the checkpoint.
    pub clock: Hlc,
    /// What is known of other shards, with their unconfirmed items that have rows.
    pub peers: BTreeMap<ShardId, Peer>,
    /// The entries behind the checkpoint, in order of positions, of every epoch up to its end.
    pub tail: Vec<Entry>,
    /// Every account that the tail changes, as its row has it.
    pub accounts: BTreeMap<AccountId, Option<Account>>,
    /// Every group that the tail changes, as its rows have it.
    pub groups: BTreeMap<GroupId, Option<Group>>,
}

impl Recovered {
    /// The accounts whose rows must be read before the replay.
    pub fn accounts_of_tail(tail: &[Entry]) -> BTreeSet<AccountId> {
        tail.iter().flat_map(Entry::accounts).collect()
    }

    /// The groups whose rows must be read before the replay.
    pub fn groups_of_tail(tail: &[Entry]) -> BTreeSet<GroupId> {
        tail.iter().filter_map(Entry::group).collect()
    }
}

/// The log has a hole: the shard must not serve, someone must look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard}: expected position {expected}, found {found}")]
pub struct ReplayError {
    /// Which shard.
    pub shard: ShardId,
    /// The position that should be next.
    pub expected: ShardSeq,
    /// The position that is.
    pub found: ShardSeq,
}

impl Shard {
    /// A shard that serves under `key`, from what was recovered.
    pub fn recover(
        key: ShardKey,
        policy: Policy,
        now: MonoUs,
        recovered: Recovered,
    ) -> Result<Self, ReplayError> {
        Self::recover_noting(key, policy, now, recovered, |_| ())
    }

    /// As [`Shard::recover`], and tells of each entry before it is replayed: who asks knows at which one
    /// a replay ended, however it did.
    pub fn recover_noting(
        key: ShardKey,
        policy: Policy,
        now: MonoUs,
        recovered: Recovered,
        mut note: impl FnMut(&Entry),
    ) -> Result<Self, ReplayError> {
        let hot = |state| Slot::Hot(Box::new(Hot::new(state, now)));
        let accounts = recovered.accounts.into_iter().map(|(id, state)| (id, hot(state)));
        let hot_group = |state| GroupSlot::Hot(Box::new(HotGroup::new(state, now)));
        let groups = recovered.groups.into_iter().map(|(id, state)| (id, hot_group(state)));
        let mut shard = Self {
            key,
            policy,
            next_seq: recovered.checkpoint.next(),
            released: recovered.checkpoint.next(),
            clock: recovered.clock,
            accounts: accounts.collect(),
            groups: groups.collect(),
            peers: recovered.peers,
            conns: BTreeMap::new(),
            awaiting: VecDeque::new(),
            to_pump: BTreeSet::new(),
            unread: BTreeSet::new(),
            progress: PendingProgress::default(),
            receipts: Receipts::default(),
            watches: Watches::new(now),
            pulls: Pulls::default(),
            regroup: BTreeSet::new(),
            flushing: FlushState::default(),
            damaged: Damaged::default(),
            admitting: true,
            late_acks: BTreeMap::new(),
            late_reads: BTreeMap::new(),
            gone: BTreeSet::new(),
            refused_while_moving: 0,
            deciding: None,
            suspects: BTreeSet::new(),
        };
        for entry in &recovered.tail {
            note(entry);
            shard.replay(entry)?;
        }
        shard.open();
        Ok(shard)
    }

    /// How many rows whoever replays `tail` reads first: of accounts, and of groups with their members.
    pub fn reads_to_replay(&self, tail: &[Entry]) -> usize {
        let groups = Recovered::groups_of_tail(tail);
        let members = |group: &GroupId| self.group(*group).map_or(0, |group| group.members.len());
        let of_groups: usize = groups.iter().map(|group| 1 + members(group)).sum();
        Recovered::accounts_of_tail(tail).len() + of_groups
    }

    fn replay(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        if entry.seq < self.next_seq {
            return Ok(());
        }
        if entry.seq != self.next_seq {
            let (shard, expected) = (self.key.id, self.next_seq);
            return Err(ReplayError { shard, expected, found: entry.seq });
        }
        self.apply(entry);
        Ok(())
    }

    /// What was recovered is released: it is in a sealed or released part of the log.
    fn open(&mut self) {
        self.released = self.next_seq;
        self.flushing.begin(self.next_seq.prev());
        for slot in self.accounts.values_mut() {
            if let Slot::Hot(hot) = slot {
                hot.released_head = hot.state.as_ref().map_or(hot.released_head, |s| s.head);
                hot.erased.released(hot.released_head);
            }
        }
        for peer in self.peers.values_mut() {
            peer.released_below = peer.out_next;
        }
    }
}
