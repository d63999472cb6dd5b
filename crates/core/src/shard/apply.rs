//! What an entry changes: the only code that changes durable state, for decisions and for replays.
//!
//! Each part of the state (an account, what is known of a peer) carries the last position that changed
//! it and ignores entries at or before it: a part that was loaded from a derived row and the replay of
//! the tail commute.

use std::sync::Arc;

use crate::account::{Account, Device, InboxContent, InboxItem};
use crate::clock::WallMs;
use crate::code::Code;
use crate::entry::{Entry, Op, Progress, Received, Slot, Target};
use crate::id::{AccountId, DeviceNo};
use crate::mark::Mark;
use crate::message::{Address, Message, Parcel};
use crate::seq::{ClientSeq, InboxSeq, ShardSeq};

use super::outbox::OutboxItem;
use super::{Hot, Shard};

impl Shard {
    /// Applies an entry at its position.
    pub(super) fn apply(&mut self, entry: &Entry) {
        assert!(entry.seq >= self.next_seq, "positions are applied in order");
        self.next_seq = entry.seq.next();
        self.clock = self.clock.merge(entry.clock);
        let (at, now) = (entry.seq, entry.clock.wall());
        match &entry.op {
            Op::AccountCreated { account } => {
                self.change(*account, at, |hot| hot.state = Some(Account::new(at)));
            }
            Op::DeviceAdded { account, device, key, name, start } => {
                self.change_account(*account, at, |state| {
                    let start = start.unwrap_or(state.head);
                    let device_state = Device::new(*key, name.clone(), now, start);
                    state.devices.insert(*device, device_state);
                    state.forget_revoked_devices();
                });
            }
            Op::DeviceRevoked { account, device } => {
                self.change_device(*account, *device, at, |device| device.revoked = true);
            }
            Op::RefreshRotated { account, device, current, previous } => {
                self.change_device(*account, *device, at, |device| {
                    device.refresh_current = *current;
                    device.refresh_previous = *previous;
                });
            }
            Op::Sent { message, inbox_seq, slot } => {
                // What goes to a group comes back with its place, and then with its body.
                let own = match message.to {
                    Address::Account(_) => Arc::clone(message),
                    Address::Group(_) => Arc::new(message.without_body()),
                };
                let item = InboxItem {
                    seq: *inbox_seq,
                    clock: entry.clock,
                    content: InboxContent::Message(own),
                };
                self.change(message.sender, at, |hot| {
                    decided(hot, message.sender_device, message.client_seq, None);
                    push_item(hot, item);
                });
                self.put_out(*slot, Parcel::Message(Arc::clone(message)), at, now);
                if message.group.is_none() {
                    self.apply_erasure((message.sender, *inbox_seq), message, at);
                }
            }
            Op::SendRefused { account, device, client_seq, code } => {
                self.change(*account, at, |hot| decided(hot, *device, *client_seq, Some(*code)));
            }
            Op::Wished { account, wish } => {
                self.change_account(*account, at, |state| state.relations.fulfil(*wish));
                self.flushing.dirty_relations(*account);
            }
            Op::Marked { account, with, own_read, receipt } => {
                if let Some((upto, version)) = own_read {
                    let mark = Mark { own_read: *upto, version: *version, ..Mark::default() };
                    self.apply_mark(*account, *with, mark, at);
                }
                if let Some((receipt, slot)) = receipt {
                    self.put_out(*slot, Parcel::Receipt(*receipt), at, now);
                }
            }
            Op::Received { from, outbox_seq, outcome } => {
                let peer = self.peers.entry(*from).or_default();
                if peer.pos < at {
                    peer.in_next = outbox_seq.next();
                    peer.pos = at;
                    self.flushing.dirty_peer(*from, at);
                }
                self.apply_received(outcome, entry, at, now);
            }
            Op::Progress(progress) => self.apply_progress(progress, at),
        }
    }

    fn apply_received(&mut self, outcome: &Received, entry: &Entry, at: ShardSeq, now: WallMs) {
        match outcome {
            Received::Delivered { account, inbox_seq, message } => {
                let content = InboxContent::Message(Arc::clone(message));
                let item = InboxItem { seq: *inbox_seq, clock: entry.clock, content };
                self.change(*account, at, |hot| push_item(hot, item));
                self.apply_erasure((*account, *inbox_seq), message, at);
            }
            Received::Marked { receipt, version } => {
                let (delivered, read) = (receipt.delivered, receipt.read);
                let mark = Mark { delivered, read, version: *version, ..Mark::default() };
                self.apply_mark(receipt.to, receipt.from, mark, at);
            }
            Received::Noticed { inbox_seq, notice } => {
                let content = InboxContent::Notice(*notice);
                let item = InboxItem { seq: *inbox_seq, clock: entry.clock, content };
                self.change(notice.account, at, |hot| push_item(hot, item));
            }
            Received::Refused { notice, slot } => {
                self.put_out(*slot, Parcel::Notice(*notice), at, now);
            }
            Received::Dropped => {}
            Received::Ordered { message, targets, heir } => {
                self.apply_ordered(message, *heir, at);
                for Target { slot, members } in targets {
                    let parcel = Parcel::ForMembers(Arc::clone(message), members.clone());
                    self.put_out(*slot, parcel, at, now);
                }
            }
            Received::Shared { message, places, declined } => {
                self.apply_shared((message, places), entry);
                if let (Some((who, slot)), Address::Group(group), Some(place)) =
                    (declined, message.to, message.place())
                {
                    let parcel = Parcel::Declined(group, place.seq, who.clone());
                    self.put_out(*slot, parcel, at, now);
                }
            }
        }
    }

    fn apply_mark(&mut self, account: AccountId, with: AccountId, mark: Mark, at: ShardSeq) {
        self.change_account(account, at, |state| state.marks = state.marks.max(mark.version));
        // A mark that is written twice is written once.
        self.flushing.mark(account, with, mark, at);
    }

    fn apply_erasure(
        &mut self,
        (account, place): (AccountId, InboxSeq),
        message: &Message,
        at: ShardSeq,
    ) {
        if let Some(about) = message.erases() {
            let conversation = message.conversation(account);
            self.erase((account, place), conversation, about, at);
        }
    }

    fn apply_progress(&mut self, progress: &Progress, at: ShardSeq) {
        for (account, device, cursor) in &progress.cursors {
            // Several cursors of one account are one change at one position.
            self.change_at_or_before(*account, at, |state| {
                if let Some(device) = state.devices.get_mut(device) {
                    device.cursor = device.cursor.max(*cursor);
                }
            });
        }
        for (account, floor) in &progress.floors {
            self.change_at_or_before(*account, at, |state| {
                state.floor = state.floor.max(*floor);
            });
        }
        for (account, at_ms) in &progress.seen {
            self.change_at_or_before(*account, at, |state| {
                state.last_seen = state.last_seen.max(*at_ms);
            });
        }
        for (to, upto) in &progress.confirmations {
            let peer = self.peers.entry(*to).or_default();
            peer.confirm(*upto);
            peer.pos = peer.pos.max(at);
            self.flushing.dirty_peer(*to, at);
        }
    }

    /// Gives an item its place in an outbox.
    fn put_out(&mut self, slot: Slot, parcel: Parcel, at: ShardSeq, now: WallMs) {
        let peer = self.peers.entry(slot.to).or_default();
        assert!(slot.seq <= peer.out_next, "an outbox is dense");
        peer.put(OutboxItem { seq: slot.seq, pos: at, queued_at: now, parcel });
        peer.pos = peer.pos.max(at);
        self.flushing.dirty_peer(slot.to, at);
    }

    /// Changes an account unless its state reflects this position already.
    pub(super) fn change(
        &mut self,
        account: AccountId,
        at: ShardSeq,
        change: impl FnOnce(&mut Hot),
    ) {
        let Some(hot) = self.hot_mut(account) else {
            unreachable!("a decision or a replay about an account that is not in memory");
        };
        if hot.state.as_ref().is_some_and(|state| state.pos >= at) {
            return;
        }
        change(hot);
        if let Some(state) = &mut hot.state {
            state.pos = at;
        }
        hot.dirty = true;
        self.flushing.dirty_account(account, at);
    }

    fn change_account(
        &mut self,
        account: AccountId,
        at: ShardSeq,
        change: impl FnOnce(&mut Account),
    ) {
        self.change(account, at, |hot| {
            if let Some(state) = &mut hot.state {
                change(state);
            }
        });
    }

    fn change_device(
        &mut self,
        account: AccountId,
        device: DeviceNo,
        at: ShardSeq,
        change: impl FnOnce(&mut Device),
    ) {
        self.change_account(account, at, |state| {
            if let Some(device) = state.devices.get_mut(&device) {
                change(device);
            }
        });
    }

    /// As [`Shard::change_account`], for changes that commute with themselves.
    fn change_at_or_before(
        &mut self,
        account: AccountId,
        at: ShardSeq,
        change: impl FnOnce(&mut Account),
    ) {
        let Some(hot) = self.hot_mut(account) else {
            unreachable!("progress of an account that is not in memory");
        };
        let Some(state) = &mut hot.state else { return };
        if state.pos > at {
            return;
        }
        change(state);
        state.pos = at;
        hot.dirty = true;
        self.flushing.dirty_account(account, at);
    }
}

fn decided(hot: &mut Hot, device: DeviceNo, client_seq: ClientSeq, refusal: Option<Code>) {
    let device = hot.state.as_mut().and_then(|state| state.devices.get_mut(&device));
    if let Some(device) = device {
        assert_eq!(client_seq, device.next_client_seq, "sends of a device are decided in order");
        device.decided(client_seq, refusal);
    }
}

pub(super) fn push_item(hot: &mut Hot, item: InboxItem) {
    let Some(state) = &mut hot.state else { return };
    assert_eq!(item.seq, state.head.next(), "an inbox is dense");
    state.head = item.seq;
    hot.tail.push(item);
}

/// The inbox's next place.
pub(super) fn next_place(hot: &Hot) -> Option<InboxSeq> {
    hot.state.as_ref().map(|state| state.head.next())
}
