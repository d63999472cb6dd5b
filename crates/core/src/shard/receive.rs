//! Items of other shards' outboxes: taken once, in order, after their account is in memory.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::entry::{Op, Received, Slot};
use crate::id::{AccountId, GroupId, ShardId};
use crate::limits;
use crate::mark::Mark;
use crate::message::{Address, Message, Notice, Parcel};
use crate::mutation::{self, Mutation};
use crate::seq::OutboxSeq;

use super::Shard;
use super::apply::next_place;
use super::damaged::Rows;
use super::effect::Effect;
use super::hot::{Slot as AccountSlot, Waiting};
use super::input::LinkNo;
use super::release::Awaiting;
use super::suspect::Deciding;

/// Items of one source that wait here, and what it was told of those that cannot.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbound {
    /// In order, from the next number on, each with the link that it came by.
    waiting: VecDeque<(Option<LinkNo>, OutboxSeq, Parcel)>,
    /// The number that the source was last told to go back to, on which link. It is told once: a batch
    /// behind a gap would have it push that batch again for each of its items.
    told: Option<(Option<LinkNo>, OutboxSeq)>,
    /// More came, on this link, than may wait: the source is told when there is room.
    turned_away: Option<Option<LinkNo>>,
}

impl Inbound {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what waits; the source pushes it again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Shard {
    pub(super) fn receive(
        &mut self,
        now: Now,
        (link, from): (Option<LinkNo>, ShardId),
        seq: OutboxSeq,
        parcel: Parcel,
        out: &mut Vec<Effect>,
    ) {
        // A shard that is leaving takes nothing more: its next owner is pushed to.
        if !self.admitting {
            return;
        }
        let peer = self.peers.entry(from).or_default();
        let inbound = &mut peer.inbound;
        let waiting = u64::try_from(inbound.waiting.len()).expect("bounded");
        let next = OutboxSeq(peer.in_next.0 + waiting);
        if seq < peer.in_next {
            let upto = peer.in_next.prev();
            self.after_all(Awaiting::Confirm { link, from, upto });
        } else if seq < next {
            // It waits here already; the source pushes again because it lost its link.
            if let Some(first) = inbound.waiting.iter_mut().find(|(_, s, _)| *s == seq) {
                first.0 = link;
            }
        } else if inbound.waiting.len() >= limits::INBOUND_WAITING_MAX {
            inbound.turned_away = Some(link);
        } else if seq > next {
            if inbound.told != Some((link, next)) {
                inbound.told = Some((link, next));
                out.push(Effect::Expect { link, from, next });
            }
        } else {
            inbound.waiting.push_back((link, seq, parcel));
            self.drain_inbound(now, from, out);
        }
    }

    /// Takes what waits from one source, until an account has to be loaded first.
    pub(super) fn drain_inbound(&mut self, now: Now, from: ShardId, out: &mut Vec<Effect>) {
        while self.admitting {
            let Some(peer) = self.peers.get_mut(&from) else { return };
            let Some((_, _, parcel)) = peer.inbound.waiting.front() else {
                let next = peer.in_next;
                if let Some(link) = peer.inbound.turned_away.take() {
                    peer.inbound.told = Some((link, next));
                    out.push(Effect::Expect { link, from, next });
                }
                return;
            };
            let (accounts, group) = (parcel.accounts(), parcel.group());
            if !self.are_loaded(now.mono, &accounts, from, out)
                || group.is_some_and(|group| !self.is_group_here(now.mono, group, from, out))
            {
                return;
            }
            let peer = self.peers.get_mut(&from).expect("was here");
            let Some((link, seq, parcel)) = peer.inbound.waiting.pop_front() else { return };
            let deciding = Deciding::of_parcel(from, &parcel);
            self.noting(deciding, |shard| shard.take(now, from, seq, parcel, out));
            self.read_on_from(from);
            self.after_all(Awaiting::Confirm { link, from, upto: seq });
        }
    }

    fn take(
        &mut self,
        now: Now,
        from: ShardId,
        outbox_seq: OutboxSeq,
        parcel: Parcel,
        out: &mut Vec<Effect>,
    ) {
        let account = match &parcel {
            Parcel::ForMembers(..) => None,
            parcel => parcel.accounts().first().copied(),
        };
        let place = account.and_then(|account| self.hot(account)).and_then(next_place);
        let grown = account.zip(place);
        let outcome = match (parcel, grown) {
            (Parcel::Message(message), _) if matches!(message.to, Address::Group(_)) => {
                let Address::Group(group) = message.to else { return };
                self.take_for_group(now.mono, group, message)
            }
            (Parcel::Declined(group, place, who), _) => {
                self.take_declined(now.mono, (group, place), &who, (from, outbox_seq))
            }
            (Parcel::ForMembers(message, members), _) => self.share(message, members),
            // Whoever is blocked is told nothing of it.
            (Parcel::Message(message), Some((account, _)))
                if self.blocks(account, message.sender) =>
            {
                Received::Dropped
            }
            (Parcel::Receipt(receipt), Some((account, _))) => {
                let marks = self.account(account).map_or(0, |state| state.marks);
                if self.blocks(account, receipt.from) {
                    Received::Dropped
                } else {
                    Received::Marked { receipt, version: marks + 1 }
                }
            }
            (Parcel::Receipt(_), None) => Received::Dropped,
            (Parcel::Message(message), Some((account, inbox_seq))) => {
                self.clock = self.clock.merge(message.clock);
                Received::Delivered { account, inbox_seq, message }
            }
            (Parcel::Message(message), None) => {
                let why = account.map_or(Code::NoConversation, |account| {
                    self.damaged.why(Rows::Account(account))
                });
                self.refuse(&message, why)
            }
            (Parcel::Notice(notice), Some((_, inbox_seq))) => {
                Received::Noticed { inbox_seq, notice }
            }
            (Parcel::Notice(_), None) => Received::Dropped,
        };
        let effect = match &outcome {
            Received::Refused { slot: Slot { to, seq }, .. } => {
                Some(Awaiting::OutboxGrew { to: *to, seq: *seq })
            }
            Received::Delivered { account, inbox_seq, .. } => {
                Some(Awaiting::InboxGrew { account: *account, upto: *inbox_seq })
            }
            Received::Noticed { inbox_seq, notice } => {
                Some(Awaiting::InboxGrew { account: notice.account, upto: *inbox_seq })
            }
            Received::Marked { receipt, version } => {
                let (delivered, read) = (receipt.delivered, receipt.read);
                let mark = Mark { delivered, read, version: *version, ..Mark::default() };
                Some(Awaiting::Marked { account: receipt.to, with: receipt.from, mark })
            }
            Received::Dropped | Received::Ordered { .. } | Received::Shared { .. } => None,
        };
        let effects = effect.into_iter().chain(group_effects(&outcome)).collect::<Vec<_>>();
        if let Received::Ordered { message, .. } = &outcome {
            let early = match message.to {
                Address::Group(group) => message.place().map(|place| (group, place.seq)),
                Address::Account(_) => None,
            };
            // At the clock that the message has.
            self.record(Op::Received { from, outbox_seq, outcome }, out);
            if let Some((group, place)) = early.filter(|_| mutation::is_on(Mutation::G3)) {
                self.logged(group, place);
            }
        } else {
            self.decide(now.wall, Op::Received { from, outbox_seq, outcome }, out);
        }
        if let Some((account, _)) = grown {
            self.touch(account, now.mono);
        }
        for effect in effects {
            self.after_all(effect);
        }
    }

    fn blocks(&self, account: AccountId, other: AccountId) -> bool {
        self.account(account).is_some_and(|state| state.relations.blocked.contains(&other))
    }

    /// A message that is not taken here goes back as a notice.
    pub(super) fn refuse(&mut self, message: &Message, code: Code) -> Received {
        let notice = Notice {
            account: message.sender,
            device: message.sender_device,
            client_seq: message.client_seq,
            msg_id: message.msg_id,
            code,
        };
        let to = message.sender.shard(self.key.count);
        let seq = self.peers.entry(to).or_default().out_next;
        Received::Refused { notice, slot: Slot { to, seq } }
    }

    /// Whether all of these accounts are in memory, or given up; otherwise the others are asked for, and
    /// the items of `from` wait for them.
    fn are_loaded(
        &mut self,
        now: MonoUs,
        accounts: &[AccountId],
        from: ShardId,
        out: &mut Vec<Effect>,
    ) -> bool {
        let mut all = true;
        for account in accounts {
            all &= self.damaged.are_given_up(Rows::Account(*account), now)
                || self.is_loaded(*account, Waiting::Inbound(from), out);
        }
        all
    }

    /// As [`Shard::are_loaded`], of a group.
    fn is_group_here(
        &mut self,
        now: MonoUs,
        group: GroupId,
        from: ShardId,
        out: &mut Vec<Effect>,
    ) -> bool {
        self.damaged.are_given_up(Rows::Group(group), now) || self.is_group_loaded(group, from, out)
    }

    /// Whether an account is in memory; otherwise it is asked for, and `waiting` waits for it.
    pub(super) fn is_loaded(
        &mut self,
        account: AccountId,
        waiting: Waiting,
        out: &mut Vec<Effect>,
    ) -> bool {
        match self.accounts.get_mut(&account) {
            Some(AccountSlot::Hot(_)) => true,
            Some(AccountSlot::Loading(queue)) => {
                queue.push(waiting);
                false
            }
            None => {
                self.accounts.insert(account, AccountSlot::Loading(vec![waiting]));
                out.push(Effect::Load(account));
                false
            }
        }
    }
}

/// What becomes visible of a group's message when its entry is released.
fn group_effects(outcome: &Received) -> Vec<Awaiting> {
    let grew = |slot: &Slot| Awaiting::OutboxGrew { to: slot.to, seq: slot.seq };
    match outcome {
        Received::Ordered { targets, .. } => targets.iter().map(|t| grew(&t.slot)).collect(),
        Received::Shared { places, declined, .. } => {
            let inboxes = places.iter();
            let inboxes = inboxes
                .map(|(account, place)| Awaiting::InboxGrew { account: *account, upto: *place });
            inboxes.chain(declined.iter().map(|(_, slot)| grew(slot))).collect()
        }
        _ => Vec::new(),
    }
}
