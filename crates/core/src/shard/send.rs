//! A client's message: accepted, refused for good, or put off.

use std::sync::Arc;

use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::entry::{Op, Slot};
use crate::group::{Change, InGroup};
use crate::id::{AccountId, DeviceNo};
use crate::limits;
use crate::message::{Address, Bodies, Message};
use crate::mutation::{self, Mutation};
use crate::seq::ClientSeq;

use super::Shard;
use super::apply::next_place;
use super::attach::close;
use super::effect::{Effect, ToConn};
use super::erase;
use super::hot::Conn;
use super::input::Send;
use super::release::Awaiting;

/// A number compared with the one that the device should send next.
pub(super) enum Turn {
    Now,
    /// Decided before: its outcome is told again.
    Before,
    /// Something below it is missing.
    TooEarly {
        expected: ClientSeq,
    },
}

impl Shard {
    pub(super) fn send(&mut self, now: Now, conn: Conn, send: Send, out: &mut Vec<Effect>) {
        let Some((account, device)) = self.attached(conn) else { return };
        self.touch(account, now.mono);
        if self.exceeds_credit(account, device) {
            self.unlink(account, device);
            return close(conn, Code::Protocol, "more sends without answer than credit", out);
        }
        if !self.admitting {
            self.refused_while_moving += 1;
            return nack(conn, send.client_seq, Code::OwnerMoving, 50, out);
        }
        match self.turn(account, device, send.client_seq) {
            None => {}
            Some(Turn::Before) if mutation::is_on(Mutation::N5) => {
                let (client_seq, refusals) = (send.client_seq, Vec::new());
                out.push(Effect::ToConn { conn, what: ToConn::SendAck { client_seq, refusals } });
            }
            Some(Turn::Before) => self.after_all(Awaiting::AckAgain { account, device }),
            Some(Turn::TooEarly { expected }) => {
                self.complain_of_gap((account, device), conn, expected, out);
            }
            Some(Turn::Now) => self.decide_send(now, (account, device), send, out),
        }
    }

    fn decide_send(
        &mut self,
        now: Now,
        (account, device): (AccountId, DeviceNo),
        send: Send,
        out: &mut Vec<Effect>,
    ) {
        if self.is_too_fast(now.mono, (account, device), &send, out) {
            return;
        }
        let Some(code) = self.refusal(account, &send) else {
            return self.accept(now, (account, device), send, out);
        };
        let client_seq = send.client_seq;
        self.decide(now.wall, Op::SendRefused { account, device, client_seq, code }, out);
        self.after_all(Awaiting::Decided { account, device, client_seq });
    }

    /// Puts off a send because the lane is full or the store does not answer.
    pub fn put_off(
        &mut self,
        conn: Conn,
        client_seq: ClientSeq,
        code: Code,
        out: &mut Vec<Effect>,
    ) {
        nack(conn, client_seq, code, 250, out);
    }

    /// Every attached device with sends whose commit takes too long is told to send them again.
    pub fn put_off_pending(&mut self, code: Code, retry_after_ms: u32, out: &mut Vec<Effect>) {
        for slot in self.accounts.values() {
            let super::Slot::Hot(hot) = slot else { continue };
            for (device, attachment) in &hot.attachments {
                let next = hot.state.as_ref().and_then(|s| s.devices.get(device));
                let pending = next.is_some_and(|d| d.next_client_seq > attachment.acked.next());
                if pending {
                    nack(attachment.conn, attachment.acked.next(), code, retry_after_ms, out);
                }
            }
        }
    }

    /// Whether a device has far more sends without answer than it was allowed.
    fn exceeds_credit(&self, account: AccountId, device: DeviceNo) -> bool {
        let Some(hot) = self.hot(account) else { return false };
        let acked = hot.attachments.get(&device).map(|attachment| attachment.acked);
        let next = hot.state.as_ref().and_then(|state| state.devices.get(&device));
        let pending = acked.zip(next).map(|(acked, next)| acked.next().until(next.next_client_seq));
        pending.is_some_and(|pending| pending > 2 * u64::from(limits::SENDS_IN_FLIGHT_MAX))
    }

    pub(super) fn turn(
        &self,
        account: AccountId,
        device: DeviceNo,
        client_seq: ClientSeq,
    ) -> Option<Turn> {
        let state = self.account(account)?;
        let next = state.devices.get(&device)?.next_client_seq;
        Some(match client_seq.cmp(&next) {
            std::cmp::Ordering::Less => Turn::Before,
            std::cmp::Ordering::Equal => Turn::Now,
            std::cmp::Ordering::Greater => Turn::TooEarly { expected: next },
        })
    }

    /// Whether a send comes before its time: its device is told when that is, and nothing is consumed.
    fn is_too_fast(
        &mut self,
        now: MonoUs,
        (account, device): (AccountId, DeviceNo),
        send: &Send,
        out: &mut Vec<Effect>,
    ) -> bool {
        let rates = self.policy.rates;
        let Some(hot) = self.hot_mut(account) else { return false };
        let Err(wait_ms) = hot.pace.take(now, rates, (device, send.to)) else { return false };
        if let Some(attachment) = hot.attachments.get_mut(&device) {
            // Those behind it are already on their way, and are told no more.
            attachment.nacked = Some(send.client_seq);
            nack(attachment.conn, send.client_seq, Code::RateLimited, wait_ms, out);
        }
        true
    }

    /// Whether the sender's shard refuses a message for good.
    fn refusal(&self, sender: AccountId, send: &Send) -> Option<Code> {
        if !send.bodies.within_limits() {
            return Some(Code::TooLarge);
        }
        if send.about.is_some_and(|about| !erase::may(sender, &about)) {
            return Some(Code::Forbidden);
        }
        let tenant = match send.to {
            Address::Account(to) => to.tenant(),
            Address::Group(group) => {
                // Numbers of devices are those of one account.
                if let Bodies::PerDevice(_) = send.bodies {
                    return Some(Code::Forbidden);
                }
                let full = self.account(sender).is_some_and(|state| !state.takes_memberships());
                if full && matches!(send.change, Some(Change::Create(..))) {
                    return Some(Code::Quota);
                }
                if let Some(Err(code)) = send.change.as_ref().map(|change| change.check(group)) {
                    return Some(code);
                }
                group.tenant()
            }
        };
        if tenant != sender.tenant() {
            return Some(Code::NoConversation);
        }
        let peer = self.peers.get(&send.to.shard(self.key.count));
        let full = peer.is_some_and(|peer| peer.backlog() >= limits::OUTBOX_ITEMS_MAX);
        full.then_some(Code::Quota)
    }

    fn accept(
        &mut self,
        now: Now,
        (account, device): (AccountId, DeviceNo),
        send: Send,
        out: &mut Vec<Effect>,
    ) {
        let Some(inbox_seq) = self.hot(account).and_then(next_place) else { return };
        let to = send.to.shard(self.key.count);
        let seq = self.peers.entry(to).or_default().out_next;
        let client_seq = send.client_seq;
        self.clock = self.clock.tick(now.wall);
        // What a change says is not known any other way: it does not expire.
        let expires_at_ms = if send.change.is_some() { 0 } else { send.expires_at_ms };
        let carried = InGroup { change: send.change, roster: send.roster, place: None };
        let group = match send.to {
            Address::Account(_) => None,
            Address::Group(_) => Some(Box::new(carried)),
        };
        let message = Arc::new(Message {
            sender: account,
            sender_device: device,
            client_seq,
            msg_id: send.msg_id,
            to: send.to,
            bodies: send.bodies,
            expires_at_ms,
            clock: self.clock,
            about: send.about,
            group,
        });
        let slot = Slot { to, seq };
        self.record(Op::Sent { message, inbox_seq, slot }, out);
        self.after_all(Awaiting::Decided { account, device, client_seq });
        self.after_all(Awaiting::InboxGrew { account, upto: inbox_seq });
        self.after_all(Awaiting::OutboxGrew { to, seq });
    }

    pub(super) fn complain_of_gap(
        &mut self,
        (account, device): (AccountId, DeviceNo),
        conn: Conn,
        expected: ClientSeq,
        out: &mut Vec<Effect>,
    ) {
        let Some(hot) = self.hot_mut(account) else { return };
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        // One complaint for one gap: the sends behind it are already on their way.
        if attachment.nacked != Some(expected) {
            attachment.nacked = Some(expected);
            nack(conn, expected, Code::OwnerMoving, 0, out);
        }
    }
}

pub(super) fn nack(
    conn: Conn,
    client_seq: ClientSeq,
    code: Code,
    retry_after_ms: u32,
    out: &mut Vec<Effect>,
) {
    let what = ToConn::SendNack { client_seq, code, retry_after_ms };
    out.push(Effect::ToConn { conn, what });
}
