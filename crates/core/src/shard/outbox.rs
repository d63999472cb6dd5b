//! The durable outbox: dense numbers for each pair of shards, exactly once at the destination.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use crate::clock::{MonoUs, WallMs};
use crate::id::{GroupId, ShardId};
use crate::limits;
use crate::message::{Address, Parcel};
use crate::mutation::{self, Mutation};
use crate::seq::{OutboxSeq, ShardSeq};

use super::Shard;
use super::effect::Effect;
use super::receive::Inbound;

/// What a shard knows of another one.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The last position that changed this.
    pub pos: ShardSeq,
    /// The number of the next item to it.
    pub out_next: OutboxSeq,
    /// Items up to here are committed there.
    pub out_confirmed: OutboxSeq,
    /// The number of the next item from it.
    pub in_next: OutboxSeq,
    /// Items that it has not confirmed, in order.
    pub(super) queue: VecDeque<OutboxItem>,
    /// Items below this number are released.
    pub(super) released_below: OutboxSeq,
    /// Items below this number were pushed since the peer was last ready.
    pub(super) pushed_below: OutboxSeq,
    /// When the destination last took something, or was last tried while nothing was under way.
    pub(super) heard_at: MonoUs,
    /// Items up to here have a derived row, which goes when they are confirmed.
    pub(super) stored_upto: OutboxSeq,
    /// Items from it that wait for their account.
    pub(super) inbound: Inbound,
}

/// An item that its destination has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Its number in the pair.
    pub seq: OutboxSeq,
    /// The position that put it here.
    pub pos: ShardSeq,
    /// When, by the shard's clock.
    pub queued_at: WallMs,
    /// What it carries.
    pub parcel: Parcel,
}

impl Default for Peer {
    /// A peer to and from which nothing went: the numbers start at 1.
    fn default() -> Self {
        Self {
            pos: ShardSeq(0),
            out_next: OutboxSeq(1),
            out_confirmed: OutboxSeq(0),
            in_next: OutboxSeq(1),
            queue: VecDeque::new(),
            released_below: OutboxSeq(1),
            pushed_below: OutboxSeq(1),
            heard_at: MonoUs(0),
            stored_upto: OutboxSeq(0),
            inbound: Inbound::default(),
        }
    }
}

impl Peer {
    /// A peer as its derived row and the derived rows of its unconfirmed items have it.
    pub fn recovered(
        (out_next, out_confirmed, in_next): (OutboxSeq, OutboxSeq, OutboxSeq),
        pos: ShardSeq,
        items: Vec<OutboxItem>,
    ) -> Self {
        let loaded = |i: &OutboxItem| i.seq > out_confirmed && !mutation::is_on(Mutation::N6);
        let queue: VecDeque<_> = items.into_iter().filter(loaded).collect();
        Self {
            pos,
            out_next,
            out_confirmed,
            in_next,
            released_below: out_next,
            pushed_below: out_confirmed.next(),
            heard_at: MonoUs(0),
            stored_upto: queue.back().map_or(out_confirmed, |item| item.seq),
            queue,
            inbound: Inbound::default(),
        }
    }

    /// How many items are without confirmation.
    pub(super) fn backlog(&self) -> u64 {
        self.out_confirmed.next().until(self.out_next)
    }

    /// The first number behind every item to it that changes who is in a group. One that is not here any
    /// more was confirmed there, so nothing else is waited for.
    pub(super) fn behind_changes_of(&self, group: GroupId) -> OutboxSeq {
        let changes = |item: &&OutboxItem| match &item.parcel {
            Parcel::ForMembers(message, _) => {
                message.to == Address::Group(group) && message.change().is_some()
            }
            _ => false,
        };
        let last = self.queue.iter().rev().find(changes).map(|item| item.seq.next());
        last.unwrap_or_default().max(self.out_confirmed.next())
    }

    /// Adds an item. A replay may bring one that the peer's row counts already: the row of a young
    /// item is not written, so the item itself comes from the log.
    pub(super) fn put(&mut self, item: OutboxItem) {
        self.out_next = self.out_next.max(item.seq.next());
        if item.seq <= self.out_confirmed {
            return;
        }
        let place = self.queue.partition_point(|queued| queued.seq < item.seq);
        if self.queue.get(place).is_none_or(|queued| queued.seq != item.seq) {
            self.queue.insert(place, item);
        }
    }

    /// The destination has everything up to `upto`.
    pub(super) fn confirm(&mut self, upto: OutboxSeq) {
        if upto <= self.out_confirmed {
            return;
        }
        self.out_confirmed = upto;
        while self.queue.front().is_some_and(|item| item.seq <= upto) {
            self.queue.pop_front();
        }
        self.pushed_below = self.pushed_below.max(upto.next());
        self.released_below = self.released_below.max(upto.next());
    }

    /// Items are to be pushed again from `next` on; false when that very item is not here, for then a
    /// push would be answered with the same wish, for ever.
    fn go_back_to(&mut self, next: OutboxSeq) -> bool {
        let is_here = self.queue.iter().any(|item| item.seq == next);
        let goes_back = is_here && next < self.pushed_below;
        if goes_back {
            self.pushed_below = next;
        }
        goes_back
    }

    /// Released items that were not pushed, as far as the window goes.
    fn take_pushable(&mut self, now: MonoUs) -> Vec<OutboxItem> {
        let window_end = OutboxSeq(self.out_confirmed.0 + limits::OUTBOX_WINDOW + 1);
        let end = self.released_below.min(window_end);
        let from = self.pushed_below;
        if from >= end {
            return Vec::new();
        }
        if from == self.out_confirmed.next() {
            self.heard_at = now;
        }
        self.pushed_below = end;
        let wanted = |item: &&OutboxItem| item.seq >= from && item.seq < end;
        self.queue.iter().filter(wanted).cloned().collect()
    }
}

impl Shard {
    /// A destination can be reached again: everything unconfirmed goes out from the first on.
    pub(super) fn peer_ready(&mut self, now: MonoUs, to: ShardId, out: &mut Vec<Effect>) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.pushed_below = peer.out_confirmed.next();
        }
        self.push_to(now, to, out);
    }

    /// Tries again each destination that took nothing for a while: with the first item alone, as it
    /// may be slow rather than deaf. Its confirmation lets the rest go.
    pub(super) fn retry_peers(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        for (to, peer) in &mut self.peers {
            let silent = now.ms_since(peer.heard_at) >= limits::OUTBOX_RETRY_MS;
            let Some(first) = peer.queue.front().filter(|i| i.seq < peer.released_below) else {
                continue;
            };
            if silent {
                peer.heard_at = now;
                peer.pushed_below = first.seq.next();
                out.push(Effect::Push { to: *to, items: vec![first.clone()] });
            }
        }
    }

    /// An item reached a released position.
    pub(super) fn outbox_released(
        &mut self,
        now: MonoUs,
        to: ShardId,
        seq: OutboxSeq,
        out: &mut Vec<Effect>,
    ) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.released_below = peer.released_below.max(seq.next());
        }
        self.push_to(now, to, out);
    }

    pub(super) fn confirmed(
        &mut self,
        now: MonoUs,
        to: ShardId,
        upto: OutboxSeq,
        out: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        // Nobody confirms what was not released: such a message is another cluster's or broken.
        if upto <= peer.out_confirmed || upto >= peer.released_below {
            return;
        }
        peer.confirm(upto);
        peer.heard_at = now;
        if self.admitting {
            self.progress.confirmations.insert(to, upto);
        }
        self.push_to(now, to, out);
    }

    pub(super) fn peer_expects(
        &mut self,
        now: MonoUs,
        to: ShardId,
        next: OutboxSeq,
        out: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if peer.go_back_to(next) {
            self.push_to(now, to, out);
        }
    }

    /// The only item on its way to `to`, if there is exactly one: what the destination, in the same
    /// lane, may take in the same commit. It counts as pushed.
    pub fn take_only_item(&mut self, to: ShardId) -> Option<OutboxItem> {
        let peer = self.peers.get_mut(&to)?;
        let [item] = peer.queue.make_contiguous() else { return None };
        let item = item.clone();
        peer.pushed_below = item.seq.next();
        Some(item)
    }

    /// The item was not taken after all: it goes out with its release.
    pub fn untake(&mut self, to: ShardId, seq: OutboxSeq) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.pushed_below = peer.pushed_below.min(seq);
        }
    }

    /// Whether a parcel from `from` with this number would be decided at once: it is the next one and
    /// its account is in memory.
    pub fn would_take(&self, from: ShardId, seq: OutboxSeq, parcel: &Parcel) -> bool {
        let next = self.peers.get(&from).map_or(OutboxSeq(1), |peer| peer.in_next);
        let idle = self.peers.get(&from).is_none_or(|peer| peer.inbound.is_empty());
        let known = parcel.accounts().iter().all(|account| self.hot(*account).is_some())
            && parcel.group().is_none_or(|group| self.hot_group(group).is_some());
        self.admitting && idle && seq == next && known
    }

    /// Destinations with items that they have not confirmed.
    pub fn waiting_peers(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.peers.iter().filter(|(_, peer)| !peer.queue.is_empty()).map(|(id, _)| *id)
    }

    /// Shards that this one wants to know of when they can be reached: those, and the watched.
    pub fn wanted_peers(&self) -> BTreeSet<ShardId> {
        self.waiting_peers().chain(self.watched_shards()).chain(self.group_shards()).collect()
    }

    fn push_to(&mut self, now: MonoUs, to: ShardId, out: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let items = peer.take_pushable(now);
        if !items.is_empty() {
            out.push(Effect::Push { to, items });
        }
    }
}
