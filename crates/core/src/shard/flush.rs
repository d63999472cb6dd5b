//! Flushes: what changed since the last one, as derived rows, and the checkpoint behind them.
//!
//! A flush is captured at a position, written when that position is released, and only then counted:
//! no unreleased state ever reaches a derived row.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::account::{Account, InboxContent, InboxItem};
use crate::clock::{LogicalTimestamp, Now, WallMs};
use crate::entry::Op;
use crate::group::Group;
use crate::id::{AccountId, GroupId, ShardId};
use crate::limits;
use crate::mark::Mark;
use crate::message::Message;
use crate::mutation::{self, Mutation};
use crate::seq::{ConvSeq, InboxSeq, OutboxSeq, ShardSeq};

use super::effect::Effect;
use super::erase::Erasure;
use super::outbox::{OutboxItem, Peer};
use super::{Deciding, Policy, Shard};

pub use rows::{
    AccountRow, Flush, GroupRow, InboxRun, IndexRow, LogErasure, LogRow, MarkRow, OutboxRow,
    PeerRow,
};

/// Bytes of items in one inbox row: below Cassandra's warning for a batch.
const RUN_BYTES: usize = 16 * 1024;

/// What was changed and is in no derived row.
#[derive(Debug, Clone, Default)]
pub(super) struct FlushState {
    accounts: BTreeSet<AccountId>,
    /// Accounts whose wishes changed, too.
    relations: BTreeSet<AccountId>,
    peers: BTreeSet<ShardId>,
    marks: BTreeMap<(AccountId, AccountId), Mark>,
    /// Those of them that are released: what devices may be told.
    released_marks: BTreeMap<(AccountId, AccountId), Mark>,
    erasures: Vec<Erasure>,
    /// Accounts whose memberships changed.
    memberships: BTreeSet<AccountId>,
    groups: BTreeSet<GroupId>,
    /// Messages that groups' logs hold, and those that they do not hold any more.
    logs: Vec<LogRow>,
    log_erasures: Vec<LogErasure>,
    /// Somebody waits for those messages.
    awaited: bool,
    /// The earliest position that only the log has.
    dirty_from: Option<ShardSeq>,
    /// The flush that is on its way.
    under_way: Option<UnderWay>,
    /// The last position of earlier ownerships. No checkpoint of this one is below: it names this
    /// ownership, so whoever recovers from it never reads what the earlier ones wrote.
    inherited: ShardSeq,
}

#[derive(Debug, Clone)]
struct UnderWay {
    dirty_from: Option<ShardSeq>,
    accounts: BTreeMap<AccountId, InboxSeq>,
    relations: BTreeSet<AccountId>,
    peers: BTreeMap<ShardId, OutboxSeq>,
    marks: BTreeMap<(AccountId, AccountId), Mark>,
    released_marks: BTreeMap<(AccountId, AccountId), Mark>,
    erasures: Vec<Erasure>,
    memberships: BTreeSet<AccountId>,
    groups: BTreeMap<GroupId, GroupUnderWay>,
    logs: Vec<LogRow>,
    log_erasures: Vec<LogErasure>,
}

/// Of a group, what a flush holds.
#[derive(Debug, Clone)]
struct GroupUnderWay {
    head: ConvSeq,
    members: BTreeSet<AccountId>,
}

impl FlushState {
    /// Of a shard whose ownership begins after `inherited`.
    pub(super) fn begin(&mut self, inherited: ShardSeq) {
        self.inherited = inherited;
        self.released_marks = self.marks.clone();
    }

    pub(super) fn dirty_account(&mut self, account: AccountId, at: ShardSeq) {
        self.accounts.insert(account);
        self.note(at);
    }

    /// Together with [`FlushState::dirty_account`]: the account's wishes changed.
    pub(super) fn dirty_relations(&mut self, account: AccountId) {
        self.relations.insert(account);
    }

    /// Together with [`FlushState::dirty_account`]: the account came to a group, or left one.
    pub(super) fn dirty_memberships(&mut self, account: AccountId) {
        self.memberships.insert(account);
    }

    pub(super) fn dirty_group(&mut self, group: GroupId, at: ShardSeq) {
        self.groups.insert(group);
        self.note(at);
    }

    /// Somebody waits for what was logged last.
    pub(super) fn hurry(&mut self) {
        self.awaited = true;
    }

    pub(super) fn log(&mut self, row: LogRow) {
        self.logs.push(row);
    }

    pub(super) fn unlog(&mut self, erasure: LogErasure) {
        self.log_erasures.push(erasure);
    }

    pub(super) fn mark(&mut self, account: AccountId, with: AccountId, mark: Mark, at: ShardSeq) {
        let known = self.marks.entry((account, with)).or_default();
        *known = known.merge(mark);
        self.note(at);
    }

    pub(super) fn erase(&mut self, erasure: Erasure) {
        self.erasures.push(erasure);
    }

    pub(super) fn mark_released(&mut self, account: AccountId, with: AccountId, mark: Mark) {
        let known = self.released_marks.entry((account, with)).or_default();
        *known = known.merge(mark);
    }

    /// The released marks of an account that no row is known to have.
    pub(super) fn unwritten_marks(&self, account: AccountId) -> Vec<(AccountId, Mark)> {
        let under_way = self.under_way.iter().flat_map(|flush| &flush.released_marks);
        let all = under_way.chain(&self.released_marks);
        let of_account = all.filter(|((who, _), _)| *who == account);
        of_account.map(|((_, with), mark)| (*with, *mark)).collect()
    }

    pub(super) fn dirty_peer(&mut self, peer: ShardId, at: ShardSeq) {
        self.peers.insert(peer);
        self.note(at);
    }

    fn note(&mut self, at: ShardSeq) {
        self.dirty_from.get_or_insert(at);
    }
}

impl Shard {
    /// Captures what changed, if anything did and no other flush is under way.
    ///
    /// With `everything`, young outbox items become rows too: the flush before a release, after which
    /// nothing is left to replay.
    pub fn capture(&mut self, now: Now, everything: bool, out: &mut Vec<Effect>) -> Option<Flush> {
        self.noting(Deciding::Own("a flush"), |shard| shard.capture_now(now, everything, out))
    }

    fn capture_now(&mut self, now: Now, everything: bool, out: &mut Vec<Effect>) -> Option<Flush> {
        if self.flushing.under_way.is_some() {
            return None;
        }
        self.log_progress(now, out);
        self.flushing.dirty_from?;
        let checkpoint = self.checkpoint_position(now.wall, everything);
        let accounts = std::mem::take(&mut self.flushing.accounts);
        let peers = std::mem::take(&mut self.flushing.peers);
        let mut flush =
            Flush::empty(self.next_seq, checkpoint, self.clock, self.timestamp(checkpoint));
        let relations = std::mem::take(&mut self.flushing.relations);
        let memberships = std::mem::take(&mut self.flushing.memberships);
        let accounts = self.capture_accounts(accounts, (&relations, &memberships), &mut flush);
        let groups = std::mem::take(&mut self.flushing.groups);
        let groups = self.capture_groups(groups, &mut flush);
        self.flushing.awaited = false;
        let logs = std::mem::take(&mut self.flushing.logs);
        flush.logs.clone_from(&logs);
        let log_erasures = std::mem::take(&mut self.flushing.log_erasures);
        flush.log_erasures.clone_from(&log_erasures);
        let marks = std::mem::take(&mut self.flushing.marks);
        let row = |((account, with), mark): (&(AccountId, AccountId), &Mark)| MarkRow {
            account: *account,
            with: *with,
            mark: *mark,
        };
        flush.marks = marks.iter().map(row).collect();
        let erasures = std::mem::take(&mut self.flushing.erasures);
        flush.erasures.clone_from(&erasures);
        let peers = self.capture_peers(peers, checkpoint, &mut flush);
        let held_back = (checkpoint.next() < self.next_seq).then(|| checkpoint.next());
        self.flushing.under_way = Some(UnderWay {
            dirty_from: self.flushing.dirty_from.take(),
            accounts,
            relations,
            peers,
            marks,
            released_marks: std::mem::take(&mut self.flushing.released_marks),
            erasures,
            memberships,
            groups,
            logs,
            log_erasures,
        });
        self.flushing.dirty_from = held_back;
        Some(flush)
    }

    /// Logs what only memory has: cursors, confirmations, receipts that wait.
    pub fn log_progress(&mut self, now: Now, out: &mut Vec<Effect>) {
        // A cursor that is logged has its receipts logged before.
        self.tell_receipts(now, true, out);
        self.hold_back_cursors(now.mono);
        if !self.progress.is_empty() {
            let progress = self.progress.take();
            self.decide(now.wall, Op::Progress(progress), out);
        }
        self.progress.cursors.extend(std::mem::take(&mut self.progress.held_back));
    }

    /// The rows of a flush are written, its checkpoint too.
    pub fn flushed(&mut self) {
        let Some(done) = self.flushing.under_way.take() else { return };
        for (account, materialized) in done.accounts {
            if let Some(hot) = self.hot_mut(account) {
                hot.materialized = hot.materialized.max(materialized);
                hot.flushing = false;
                hot.trim_tail();
            }
        }
        for (peer, stored) in done.peers {
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.stored_upto = peer.stored_upto.max(stored);
            }
        }
        for (group, GroupUnderWay { head, .. }) in done.groups {
            if let Some(hot) = self.hot_group_mut(group) {
                hot.flushing = false;
            }
            self.logged(group, head);
        }
    }

    /// A flush could not be written: everything in it counts as changed again.
    pub fn flush_failed(&mut self) {
        let Some(failed) = self.flushing.under_way.take() else { return };
        for account in failed.accounts.into_keys() {
            if let Some(hot) = self.hot_mut(account) {
                hot.flushing = false;
                hot.dirty = true;
                self.flushing.accounts.insert(account);
            }
        }
        self.flushing.relations.extend(failed.relations);
        for (pair, mark) in failed.marks {
            let known = self.flushing.marks.entry(pair).or_default();
            *known = known.merge(mark);
        }
        for ((account, with), mark) in failed.released_marks {
            self.flushing.mark_released(account, with, mark);
        }
        self.flushing.erasures.extend(failed.erasures);
        self.flushing.memberships.extend(failed.memberships);
        self.flushing.logs.extend(failed.logs);
        self.flushing.log_erasures.extend(failed.log_erasures);
        for (group, GroupUnderWay { members, .. }) in failed.groups {
            self.flushing.groups.insert(group);
            if let Some(hot) = self.hot_group_mut(group) {
                hot.flushing = false;
                hot.dirty = true;
                hot.changed.extend(members);
            }
        }
        self.flushing.peers.extend(failed.peers.into_keys());
        let earlier = failed.dirty_from.into_iter().chain(self.flushing.dirty_from).min();
        self.flushing.dirty_from = earlier;
    }

    /// The earliest position that only the log has.
    pub fn dirty_from(&self) -> Option<ShardSeq> {
        let under_way = self.flushing.under_way.as_ref().and_then(|flush| flush.dirty_from);
        under_way.into_iter().chain(self.flushing.dirty_from).min()
    }

    /// Whether somebody waits for the rows of what changed.
    pub fn is_flush_awaited(&self) -> bool {
        self.flushing.awaited
    }

    /// Whether a captured flush was neither written nor given up.
    pub fn is_flushing(&self) -> bool {
        self.flushing.under_way.is_some()
    }

    /// Whether derived rows and the checkpoint reflect every position.
    pub fn is_clean(&self) -> bool {
        self.dirty_from().is_none() && self.progress.is_empty() && self.receipts.is_empty()
    }

    /// Up to which position everything will be in derived rows: below the oldest young outbox item that
    /// this ownership decided. Those that it inherited get rows whatever their age.
    fn checkpoint_position(&self, now: WallMs, everything: bool) -> ShardSeq {
        let last = self.next_seq.prev();
        if everything {
            return last;
        }
        let inherited = self.flushing.inherited;
        let own = |item: &OutboxItem| item.pos > inherited || mutation::is_on(Mutation::C1);
        let young = |item: &&OutboxItem| own(item) && is_young(item, now);
        let oldest = self.peers.values().filter_map(|p| p.queue.iter().find(young)).map(|i| i.pos);
        oldest.min().map_or(last, ShardSeq::prev).min(last)
    }

    fn capture_accounts(
        &mut self,
        accounts: BTreeSet<AccountId>,
        (relations, memberships): (&BTreeSet<AccountId>, &BTreeSet<AccountId>),
        flush: &mut Flush,
    ) -> BTreeMap<AccountId, InboxSeq> {
        let (key, policy) = (self.key, self.policy);
        let stamp = |pos| LogicalTimestamp::new(key.home_gen, key.epoch, pos);
        let mut captured = BTreeMap::new();
        for account in accounts {
            let Some(hot) = self.hot_mut(account) else { continue };
            let Some(state) = &hot.state else { continue };
            let timestamp = stamp(state.pos);
            let from = first_to_store(state, hot.materialized, policy);
            let items = hot.tail.items.iter().filter(|item| item.seq >= from);
            flush.index.extend(index_of(account, items.clone(), timestamp));
            for items in runs(items) {
                flush.inbox.push(InboxRun { account, items, timestamp });
            }
            captured.insert(account, state.head);
            let state = state.clone();
            let relations = relations.contains(&account);
            let memberships = memberships.contains(&account);
            flush.accounts.push(AccountRow { account, state, relations, memberships, timestamp });
            hot.dirty = false;
            hot.flushing = true;
        }
        captured
    }

    fn capture_groups(
        &mut self,
        groups: BTreeSet<GroupId>,
        flush: &mut Flush,
    ) -> BTreeMap<GroupId, GroupUnderWay> {
        let mut captured = BTreeMap::new();
        for group in groups {
            let key = self.key;
            let Some(hot) = self.hot_group_mut(group) else { continue };
            let Some(state) = &hot.state else { continue };
            let timestamp = LogicalTimestamp::new(key.home_gen, key.epoch, state.pos);
            let changed = std::mem::take(&mut hot.changed);
            let member = |who: &AccountId| (*who, state.members.get(who).copied());
            let members = changed.iter().map(member).collect();
            let head = state.head;
            let state =
                Group { members: BTreeMap::new(), settings: state.settings.clone(), ..*state };
            flush.groups.push(GroupRow { group, state, members, timestamp });
            captured.insert(group, GroupUnderWay { head, members: changed });
            hot.dirty = false;
            hot.flushing = true;
        }
        captured
    }

    fn capture_peers(
        &self,
        peers: BTreeSet<ShardId>,
        checkpoint: ShardSeq,
        flush: &mut Flush,
    ) -> BTreeMap<ShardId, OutboxSeq> {
        let mut captured = BTreeMap::new();
        // Items that the checkpoint passes must have rows, whether or not their peer changed.
        for (id, peer) in &self.peers {
            let stored = self.store_items(*id, peer, checkpoint, flush);
            if let Some(stored) = stored {
                captured.insert(*id, stored);
            }
        }
        for id in peers {
            let Some(peer) = self.peers.get(&id) else { continue };
            captured.entry(id).or_insert(peer.stored_upto);
            flush.peers.push(PeerRow {
                peer: id,
                out_next: peer.out_next,
                out_confirmed: peer.out_confirmed,
                in_next: peer.in_next,
                pos: peer.pos,
                forget_items: peer.stored_upto > OutboxSeq(0),
                timestamp: self.timestamp(peer.pos),
            });
        }
        captured
    }

    fn store_items(
        &self,
        to: ShardId,
        peer: &Peer,
        checkpoint: ShardSeq,
        flush: &mut Flush,
    ) -> Option<OutboxSeq> {
        let due = |item: &&OutboxItem| item.seq > peer.stored_upto && item.pos <= checkpoint;
        let mut last = None;
        for item in peer.queue.iter().filter(due) {
            let timestamp = self.timestamp(item.pos);
            flush.outbox.push(OutboxRow { to, item: item.clone(), timestamp });
            last = Some(item.seq);
        }
        last
    }

    pub(super) fn timestamp(&self, pos: ShardSeq) -> LogicalTimestamp {
        LogicalTimestamp::new(self.key.home_gen, self.key.epoch, pos)
    }
}

/// Whether an item may still be confirmed before it is worth a row.
fn is_young(item: &OutboxItem, now: WallMs) -> bool {
    now.0.saturating_sub(item.queued_at.0) < limits::OUTBOX_YOUNG_MS
}

/// The first place that needs a row: none does that every device has, where no history is kept.
fn first_to_store(state: &Account, materialized: InboxSeq, policy: Policy) -> InboxSeq {
    let fresh = materialized.next();
    if policy.history { fresh } else { fresh.max(state.acknowledged().next()) }
}

/// Where the messages of each conversation lie among these places.
fn index_of<'a>(
    account: AccountId,
    items: impl Iterator<Item = &'a InboxItem>,
    timestamp: LogicalTimestamp,
) -> impl Iterator<Item = IndexRow> {
    // What an account wrote to a group is in its history at the place that the group gave it.
    let told = |message: &Message| message.group.is_none() || message.place().is_some();
    items.filter_map(move |item| match &item.content {
        InboxContent::Message(message) if told(message) => Some(IndexRow {
            account,
            conversation: message.conversation(account),
            clock: message.clock,
            place: item.seq,
            timestamp,
        }),
        InboxContent::Message(_) | InboxContent::Notice(_) | InboxContent::Hole => None,
    })
}

fn runs<'a>(items: impl Iterator<Item = &'a InboxItem>) -> Vec<Vec<InboxItem>> {
    let mut runs: Vec<Vec<InboxItem>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        if runs.is_empty() || bytes + item.weight() > RUN_BYTES {
            runs.push(Vec::new());
            bytes = 0;
        }
        bytes += item.weight();
        if let Some(run) = runs.last_mut() {
            run.push(item.clone());
        }
    }
    runs
}
