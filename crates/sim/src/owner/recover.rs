//! The state of a claimed shard: its checkpoint, and the entries behind it of every ownership since.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iris_core::account::Account;
use iris_core::clock::Hlc;
use iris_core::engine::Drained;
use iris_core::entry::Entry;
use iris_core::group::Group;
use iris_core::id::{AccountId, GroupId, LaneId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, ShardSeq};
use iris_core::shard::{OutboxItem, Peer, PeerRow, Recovered, Shard};
use iris_core::takeover::{EpochRow, LogPart, Reading, log_parts};

use crate::store::{Answer, Key, Query, Value, kept_items};
use crate::world::World;

use super::groups::{account_of, group_of};
use super::takeover::tail_block;
use super::{AcquireStep, Next};

/// What the source of a planned move hands over: the accounts that are as their rows have them, and
/// the entries behind its checkpoint.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hot {
    checkpoint: ShardSeq,
    clock: Hlc,
    accounts: BTreeMap<AccountId, Option<Account>>,
    tail: Vec<Entry>,
}

impl Hot {
    pub(super) fn of(shard: &Shard, drained: &Drained) -> Self {
        let accounts = shard.clean_accounts().map(|(id, account)| (id, Some(account.clone())));
        Self {
            checkpoint: drained.checkpoint,
            clock: shard.clock(),
            accounts: accounts.collect(),
            tail: drained.tail.clone(),
        }
    }
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// The checkpoint that a source handed over, with the tail behind it.
    handed: Option<(ShardSeq, Hlc)>,
    checkpoint: Option<(Epoch, ShardSeq, BlockSeq, Hlc)>,
    peers: Vec<PeerRow>,
    items: BTreeMap<ShardId, Vec<OutboxItem>>,
    /// Ownerships whose ends are not known.
    endless: VecDeque<EpochRow>,
    ended: Vec<(EpochRow, BlockSeq)>,
    parts: VecDeque<LogPart>,
    /// Where the derived rows of the part that is read end.
    materialized: BlockSeq,
    tail: Vec<Entry>,
    accounts: BTreeMap<AccountId, Option<Account>>,
    unread: BTreeSet<AccountId>,
    groups: BTreeMap<GroupId, Option<Group>>,
    unread_groups: BTreeSet<GroupId>,
}

/// What is read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecoverStep {
    Checkpoint,
    Peers,
    Outbox,
    Epochs,
    End,
    Newest,
    Blocks,
    Account(AccountId),
    Group(GroupId),
}

impl World {
    pub(super) fn begin_recovery(&mut self, owner: usize, shard: ShardId, hot: Option<Hot>) {
        let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) else { return };
        acquire.recovery = Recovery::default();
        match hot {
            Some(hot) => {
                acquire.recovery.tail = hot.tail;
                acquire.recovery.accounts = hot.accounts;
                acquire.recovery.handed = Some((hot.checkpoint, hot.clock));
                self.recover_step(owner, shard, RecoverStep::Peers);
            }
            None => self.recover_step(owner, shard, RecoverStep::Checkpoint),
        }
    }

    pub(super) fn recover_step(&mut self, owner: usize, shard: ShardId, step: RecoverStep) {
        let Some(acquire) = self.owners[owner].acquires.get(&shard) else { return };
        let recovery = &acquire.recovery;
        let next = Next::Acquire { shard, step: AcquireStep::Recover(step.clone()) };
        let lane = |part: &LogPart| LaneId { session: part.session, lane: part.lane };
        match step {
            RecoverStep::Checkpoint => self.read(owner, Query::Checkpoint(shard), next),
            RecoverStep::Peers => self.read(owner, Query::Peers(shard), next),
            RecoverStep::Outbox => self.read(owner, Query::Outbox(shard), next),
            RecoverStep::Epochs => self.read_epochs(owner, (shard, Reading::Plain), next),
            RecoverStep::End => {
                let row = recovery.endless.front().expect("an end is wanted");
                let lane = LaneId { session: row.session, lane: row.lane };
                self.read_seal(owner, lane, next);
            }
            RecoverStep::Newest => {
                let part = recovery.parts.front().expect("a part is read");
                let query = Query::Blocks(lane(part), part.end.prev(), part.end);
                self.read(owner, query, next);
            }
            RecoverStep::Blocks => {
                let part = recovery.parts.front().expect("a part is read");
                let query = Query::Blocks(lane(part), recovery.materialized, part.end);
                self.read(owner, query, next);
            }
            RecoverStep::Account(account) => self.read(owner, Query::Account(account), next),
            RecoverStep::Group(group) => self.read(owner, Query::Group(group), next),
        }
    }

    pub(super) fn recovered(
        &mut self,
        owner: usize,
        shard: ShardId,
        step: RecoverStep,
        answer: Answer,
    ) {
        let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) else { return };
        let (claimed, recovery) = (acquire.epoch, &mut acquire.recovery);
        let next = match step {
            RecoverStep::Checkpoint => {
                recovery.take_checkpoint(answer);
                Some(RecoverStep::Peers)
            }
            RecoverStep::Peers => {
                recovery.take_peers(answer);
                Some(RecoverStep::Outbox)
            }
            RecoverStep::Outbox => {
                recovery.take_items(answer);
                if recovery.handed.is_some() {
                    recovery.next_read(claimed)
                } else {
                    Some(RecoverStep::Epochs)
                }
            }
            RecoverStep::Epochs => {
                recovery.take_epochs(answer, claimed);
                recovery.next_read(claimed)
            }
            RecoverStep::End => {
                let row = recovery.endless.pop_front().expect("an end was asked for");
                match answer {
                    Answer::Sealed(Some(end)) => recovery.ended.push((row, end)),
                    _ => return self.contradiction(owner, shard, "an ownership has no end"),
                }
                recovery.next_read(claimed)
            }
            RecoverStep::Newest => {
                let rows = Self::rows_of(answer);
                let newest = rows.iter().find_map(tail_block);
                recovery.materialized =
                    newest.map_or(BlockSeq(0), |block| block.header.materialized);
                Some(RecoverStep::Blocks)
            }
            RecoverStep::Blocks => match recovery.take_blocks(shard, answer) {
                Ok(()) => recovery.next_read(claimed),
                Err(why) => return self.contradiction(owner, shard, &why),
            },
            RecoverStep::Account(account) => {
                recovery.accounts.insert(account, account_of(Self::rows_of(answer)));
                recovery.next_account()
            }
            RecoverStep::Group(group) => {
                recovery.groups.insert(group, group_of(Self::rows_of(answer)));
                recovery.next_account()
            }
        };
        match next {
            Some(step) => self.recover_step(owner, shard, step),
            None => self.finish_recovery(owner, shard),
        }
    }

    pub(super) fn finish_recovery(&mut self, owner: usize, shard: ShardId) {
        let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) else { return };
        if acquire.is_to_be_claimed() {
            return self.acquire_step(owner, shard, AcquireStep::Claim);
        }
        let recovered = std::mem::take(&mut acquire.recovery).into_recovered();
        self.serve(owner, shard, recovered);
    }

    /// What was read contradicts itself: the shard is not served, and the run has failed.
    fn contradiction(&mut self, owner: usize, shard: ShardId, why: &str) {
        self.owners[owner].acquires.remove(&shard);
        let now = self.now();
        self.book.unreadable.push((now, format!("shard {shard}: {why}")));
    }
}

impl Recovery {
    /// Whether it is of what a source handed over.
    pub(super) fn was_handed(&self) -> bool {
        self.handed.is_some()
    }

    fn take_checkpoint(&mut self, answer: Answer) {
        for row in World::rows_of(answer) {
            if let Value::Checkpoint { epoch, pos, block, clock } = row.cell.value {
                self.checkpoint = Some((epoch, pos, block, clock));
            }
        }
    }

    fn take_peers(&mut self, answer: Answer) {
        let peers = World::rows_of(answer).into_iter().filter_map(|row| match row.cell.value {
            Value::Peer(peer) => Some(peer),
            _ => None,
        });
        self.peers = peers.collect();
    }

    fn take_items(&mut self, answer: Answer) {
        for (to, row) in kept_items(World::rows_of(answer)) {
            if let Value::Item(item) = row.cell.value {
                self.items.entry(to).or_default().push(item.as_ref().clone());
            }
        }
    }

    fn take_epochs(&mut self, answer: Answer, claimed: Epoch) {
        let Answer::Epochs(rows) = answer else { unreachable!("epochs were read") };
        let from = self.checkpoint.map(|(epoch, ..)| epoch).unwrap_or_default();
        for row in rows.into_iter().filter(|row| row.epoch >= from && row.epoch < claimed) {
            match row.released_block {
                Some(end) => self.ended.push((row, end)),
                None => self.endless.push_back(row),
            }
        }
    }

    /// What is to be read once an ownership's end, or a part of the log, is known.
    fn next_read(&mut self, claimed: Epoch) -> Option<RecoverStep> {
        if !self.endless.is_empty() {
            return Some(RecoverStep::End);
        }
        if !self.ended.is_empty() {
            let mut ended = std::mem::take(&mut self.ended);
            ended.sort_by_key(|(row, _)| row.epoch);
            let checkpoint = self.checkpoint.map(|(epoch, _, block, _)| (epoch, block));
            self.parts = log_parts(checkpoint, &ended, claimed).into();
        }
        if !self.parts.is_empty() {
            return Some(RecoverStep::Newest);
        }
        self.unread = Recovered::accounts_of_tail(&self.tail);
        self.unread.retain(|account| !self.accounts.contains_key(account));
        self.unread_groups = Recovered::groups_of_tail(&self.tail);
        self.next_account()
    }

    fn next_account(&mut self) -> Option<RecoverStep> {
        let account = self.unread.pop_first().map(RecoverStep::Account);
        account.or_else(|| self.unread_groups.pop_first().map(RecoverStep::Group))
    }

    /// The blocks of a part: every one is there, and they chain.
    fn take_blocks(&mut self, shard: ShardId, answer: Answer) -> Result<(), String> {
        let part = self.parts.pop_front().expect("a part was read");
        let mut next = self.materialized;
        let mut hash = None;
        let pos = self.checkpoint.map(|(_, pos, ..)| pos);
        for row in World::rows_of(answer) {
            let (Key::Block(_, seq), Value::Block(block)) = (row.key, row.cell.value) else {
                continue;
            };
            if seq != next || hash.is_some_and(|hash| hash != block.prev) {
                return Err(format!("block {next} is missing below the end {}", part.end));
            }
            hash = Some(block.hash);
            next = next.next();
            let wanted = |entry: &Entry| {
                entry.shard == shard
                    && entry.epoch == part.epoch
                    && seq >= part.from
                    && pos.is_none_or(|pos| entry.seq > pos)
            };
            self.tail.extend(block.entries.iter().filter(|e| wanted(e)).cloned());
        }
        if next < part.end {
            return Err(format!("block {next} is missing below the end {}", part.end));
        }
        Ok(())
    }

    fn into_recovered(mut self) -> Recovered {
        let mut peers = BTreeMap::new();
        for row in std::mem::take(&mut self.peers) {
            let items = self.items.remove(&row.peer).unwrap_or_default();
            let numbers = (row.out_next, row.out_confirmed, row.in_next);
            peers.insert(row.peer, Peer::recovered(numbers, row.pos, items));
        }
        let stored = self.checkpoint.map(|(_, pos, _, clock)| (pos, clock));
        let (checkpoint, clock) = self.handed.or(stored).unwrap_or_default();
        let (accounts, groups) = (self.accounts, self.groups);
        Recovered { checkpoint, clock, peers, tail: self.tail, accounts, groups }
    }
}
