//! Receipts: what devices have on their disks and people have read, told to whoever wrote it.
//!
//! They wait a moment for company, are logged, and go out by the outbox, so that none is lost. That
//! something is on a device follows from the device's own acks: receipts are logged before the cursor
//! that they follow from, and one that was lost with an owner is made again from the cursor.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::account::{InboxContent, InboxItem};
use crate::clock::{Hlc, MonoUs, Now};
use crate::entry::{Op, Slot};
use crate::id::{AccountId, DeviceNo};
use crate::limits;
use crate::mark::Receipt;
use crate::message::Address;
use crate::relation::Tells;
use crate::seq::InboxSeq;

use super::Shard;
use super::effect::Effect;
use super::hot::{Conn, Hot};
use super::release::Awaiting;

/// Receipts that wait for company, by who received and who wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Receipts {
    waiting: BTreeMap<(AccountId, AccountId), Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// When it goes out.
    due: MonoUs,
    delivered: Hlc,
    /// Read, and the writer may know.
    read: Hlc,
    /// Read, for the reader's other devices.
    own_read: Hlc,
}

/// What a person read while the shard was to leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct LateRead {
    pub(super) private: Hlc,
    pub(super) open: Hlc,
    pub(super) at: MonoUs,
}

impl Receipts {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn of(
        &mut self,
        (account, with): (AccountId, AccountId),
        now: MonoUs,
        wait_ms: u64,
    ) -> &mut Waiting {
        let due = MonoUs(now.0 + wait_ms * 1000);
        let fresh = Waiting { due, delivered: Hlc(0), read: Hlc(0), own_read: Hlc(0) };
        let waiting = self.waiting.entry((account, with)).or_insert(fresh);
        waiting.due = waiting.due.min(due);
        waiting
    }
}

/// Places that devices have on their disks since before this owner, and of which it is not known that
/// somebody made receipts: behind the first, up to the last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unreceipted {
    places: Option<(InboxSeq, InboxSeq)>,
    /// Those that are being read. More may have come since, before them or behind them.
    asked: Option<(InboxSeq, InboxSeq)>,
}

impl Unreceipted {
    /// The place behind which they are.
    pub(super) fn after(&self) -> Option<InboxSeq> {
        self.places.map(|(after, _)| after)
    }

    pub(super) fn add(&mut self, after: InboxSeq, upto: InboxSeq) {
        if after < upto {
            let known = self.places.unwrap_or((after, upto));
            self.places = Some((known.0.min(after), known.1.max(upto)));
        }
    }

    /// Those behind `after` up to `upto` have their receipts. If earlier ones have come since, all are
    /// read again: a receipt is made once.
    fn done(&mut self, after: InboxSeq, upto: InboxSeq) {
        self.places = self.places.and_then(|(first, last)| {
            let first = if first == after { upto } else { first };
            (first < last).then_some((first, last))
        });
    }
}

/// Asks for the places of which receipts are to be made.
pub(super) fn read_for_receipts(hot: &mut Hot, account: AccountId, out: &mut Vec<Effect>) {
    if let Some((after, upto)) = hot.unreceipted.places
        && hot.unreceipted.asked.is_none()
    {
        hot.unreceipted.asked = Some((after, upto));
        out.push(Effect::ReadForReceipts { account, after, upto });
    }
}

/// The newest clock of each writer among messages to `account`: of those that `device` has, where it is
/// known which one it is.
pub(super) fn newest_of<'a>(
    account: AccountId,
    device: Option<DeviceNo>,
    items: impl Iterator<Item = &'a InboxItem>,
) -> BTreeMap<AccountId, Hlc> {
    let mut newest: BTreeMap<AccountId, Hlc> = BTreeMap::new();
    for item in items {
        let InboxContent::Message(message) = &item.content else { continue };
        let has = |device| message.bodies.of_device(device).is_some();
        if message.to == Address::Account(account)
            && message.sender != account
            && device.is_none_or(has)
        {
            let clock = newest.entry(message.sender).or_default();
            *clock = message.clock.max(*clock);
        }
    }
    newest
}

impl Shard {
    /// A device of `account` has these on its disk.
    pub(super) fn note_delivered(
        &mut self,
        now: MonoUs,
        account: AccountId,
        newest: impl IntoIterator<Item = (AccountId, Hlc)>,
    ) {
        for (with, clock) in newest {
            let Some(hot) = self.hot_mut(account) else { return };
            // The first device that has it makes the receipt.
            let known = hot.receipted.get(&with).copied().unwrap_or_default();
            if clock > known.0 {
                hot.remember_receipt(with, (clock, known.1));
                let after_ms = clock.wall().0.saturating_sub(known.0.wall().0);
                let busy = after_ms < limits::RECEIPTS_WAIT_BUSY_MS;
                let wait_ms =
                    if busy { limits::RECEIPTS_WAIT_BUSY_MS } else { limits::RECEIPTS_WAIT_MS };
                let waiting = self.receipts.of((account, with), now, wait_ms);
                waiting.delivered = waiting.delivered.max(clock);
            }
        }
    }

    /// A device says that it has everything up to `cursor`, where its row had it up to `known`.
    pub(super) fn note_had(
        &mut self,
        now: MonoUs,
        (account, device): (AccountId, DeviceNo),
        (known, cursor): (InboxSeq, InboxSeq),
    ) {
        let Some(hot) = self.hot_mut(account) else { return };
        let first = hot.tail.first().unwrap_or(hot.released_head.next());
        hot.unreceipted.add(known, cursor.min(first.prev()));
        let here = hot.tail.items.iter();
        let here = here.filter(|item| item.seq > known && item.seq <= cursor);
        let newest = newest_of(account, Some(device), here);
        self.note_delivered(now, account, newest);
        self.to_pump.insert(account);
    }

    /// A cursor is not logged before the receipts that follow from it: one that is ahead of them waits
    /// until they are made. Where the shard is to leave, its next owner makes them.
    pub(super) fn hold_back_cursors(&mut self, now: MonoUs) {
        let mut cursors = std::mem::take(&mut self.progress.cursors);
        for ((account, device), cursor) in &mut cursors {
            let after = self.hot(*account).and_then(|hot| hot.unreceipted.after());
            let Some(after) = after.filter(|after| after < cursor) else { continue };
            let held = std::mem::replace(cursor, after);
            if self.admitting {
                self.progress.held_back.insert((*account, *device), held);
            } else {
                self.note_late_ack((*account, *device), held, now);
            }
        }
        cursors.retain(|(account, device), cursor| {
            let state = self.account(*account).and_then(|state| state.devices.get(device));
            state.is_some_and(|device| *cursor > device.cursor)
        });
        self.progress.cursors = cursors;
    }

    /// The store's answer to [`Effect::ReadForReceipts`].
    pub(super) fn receipts_read(
        &mut self,
        now: MonoUs,
        account: AccountId,
        after: InboxSeq,
        items: Option<Vec<InboxItem>>,
    ) {
        let admitting = self.admitting;
        let Some(hot) = self.hot_mut(account) else { return };
        let Some((_, upto)) = hot.unreceipted.asked.take_if(|asked| asked.0 == after) else {
            return;
        };
        if !admitting {
            // The next owner does it, from the cursor, or this one when it stays.
            return;
        }
        let Some(items) = items else {
            self.unread.insert(account);
            return;
        };
        // What is not there is past its retention.
        let last = items.last().map(|item| item.seq).filter(|last| *last < upto && *last > after);
        hot.unreceipted.done(after, last.unwrap_or(upto));
        let newest = newest_of(account, None, items.iter());
        self.note_delivered(now, account, newest);
        self.to_pump.insert(account);
    }

    /// A person read what `with` wrote, up to a clock. Asked again it answers again, until the mark has
    /// come back to the device: that is the device's acknowledgement.
    pub(super) fn read(
        &mut self,
        now: Now,
        conn: Conn,
        (with, upto): (Address, Hlc),
        private: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, _)) = self.attached(conn) else { return };
        let Address::Account(with) = with else { return };
        if with.tenant() != account.tenant() {
            return;
        }
        if self.admitting {
            self.note_read(now.mono, account, (with, upto), private);
        } else if self.late_reads.len() < limits::RECEIPTS_WAITING_MAX {
            // The next owner hears it from the device; this one takes it when the shard stays.
            let fresh = LateRead { private: Hlc(0), open: Hlc(0), at: now.mono };
            let late = self.late_reads.entry((account, with)).or_insert(fresh);
            let late = if private { &mut late.private } else { &mut late.open };
            *late = upto.max(*late);
        }
        if self.admitting && self.receipts.waiting.len() >= limits::RECEIPTS_WAITING_MAX {
            self.tell_receipts(now, true, out);
        }
    }

    pub(super) fn note_read(
        &mut self,
        now: MonoUs,
        account: AccountId,
        (with, upto): (AccountId, Hlc),
        private: bool,
    ) {
        let Some(state) = self.account(account).filter(|_| upto > Hlc(0)) else { return };
        // Nothing was written later than the newest clock that this shard knows.
        let upto = upto.min(self.clock);
        let private = private || state.relations.tells_reads == Tells::No;
        let waiting = self.receipts.of((account, with), now, limits::RECEIPTS_WAIT_MS);
        waiting.own_read = waiting.own_read.max(upto);
        if !private {
            waiting.read = waiting.read.max(upto);
            waiting.delivered = waiting.delivered.max(upto);
        }
    }

    /// Logs the receipts that waited long enough, or all of them.
    pub(super) fn tell_receipts(&mut self, now: Now, all: bool, out: &mut Vec<Effect>) {
        if self.receipts.is_empty() {
            return;
        }
        let due = |waiting: &Waiting| all || waiting.due <= now.mono;
        let ready: Vec<_> = self
            .receipts
            .waiting
            .iter()
            .filter(|(_, waiting)| due(waiting))
            .map(|(pair, waiting)| (*pair, *waiting))
            .collect();
        for ((account, with), waiting) in ready {
            self.receipts.waiting.remove(&(account, with));
            self.tell_receipt(now, (account, with), waiting, out);
        }
    }

    fn tell_receipt(
        &mut self,
        now: Now,
        (account, with): (AccountId, AccountId),
        waiting: Waiting,
        out: &mut Vec<Effect>,
    ) {
        let Some(state) = self.account(account) else { return };
        let own_read = (waiting.own_read > Hlc(0)).then_some((waiting.own_read, state.marks + 1));
        let to = with.shard(self.key.count);
        // Whoever is blocked learns nothing.
        let tells = waiting.delivered > Hlc(0) && !state.relations.blocked.contains(&with);
        if own_read.is_none() && !tells {
            return;
        }
        let receipt = tells.then(|| {
            let (delivered, read) = (waiting.delivered, waiting.read);
            let slot = Slot { to, seq: self.peers.entry(to).or_default().out_next };
            (Receipt { from: account, to: with, delivered, read }, slot)
        });
        let slot = receipt.map(|(_, slot)| slot);
        self.decide(now.wall, Op::Marked { account, with, own_read, receipt }, out);
        if let Some((upto, version)) = own_read {
            let mark = crate::mark::Mark { own_read: upto, version, ..Default::default() };
            self.after_all(Awaiting::Marked { account, with, mark });
        }
        if let Some(Slot { to, seq }) = slot {
            self.after_all(Awaiting::OutboxGrew { to, seq });
        }
    }
}
