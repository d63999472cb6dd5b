//! What becomes visible when a position is released.

use crate::clock::MonoUs;
use crate::code::Code;
use crate::id::{AccountId, DeviceNo, ShardId};
use crate::seq::{ClientSeq, InboxSeq, OutboxSeq, ShardSeq};

use super::Shard;
use super::effect::{DirectoryAnswer, Effect, ToConn};
use super::hot::Conn;
use super::input::{LinkNo, Token};
use crate::mark::Mark;
use crate::signal::Signal;

/// What waits for a position.
#[derive(Debug, Clone)]
pub(super) enum Awaiting {
    /// A send was decided: its device is told.
    Decided { account: AccountId, device: DeviceNo, client_seq: ClientSeq },
    /// A device asked again for what was decided.
    AckAgain { account: AccountId, device: DeviceNo },
    /// An inbox has a new place.
    InboxGrew { account: AccountId, upto: InboxSeq },
    /// An outbox has a new item.
    OutboxGrew { to: ShardId, seq: OutboxSeq },
    /// An item of another shard is committed.
    Confirm { link: Option<LinkNo>, from: ShardId, upto: OutboxSeq },
    /// A mark changed.
    Marked { account: AccountId, with: AccountId, mark: Mark },
    /// A signal that was computed from the state.
    Signal { to: ShardId, signal: Signal },
    /// An answer that was computed from the state.
    ToConn { conn: Conn, what: ToConn },
    /// The same, of the directory.
    Answer { token: Token, answer: DirectoryAnswer },
}

impl Shard {
    pub(super) fn on_released(&mut self, now: MonoUs, upto: ShardSeq, out: &mut Vec<Effect>) {
        assert!(upto >= self.released, "releases come in order");
        assert!(upto <= self.next_seq, "only what was decided is released");
        self.released = upto;
        self.let_go(now, out);
    }

    /// Performs what waits for released positions. Acks and confirmations are cumulative: one for each
    /// device and source, however many sends and items the release covers.
    pub(super) fn let_go(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        let mut acks: Vec<(AccountId, DeviceNo)> = Vec::new();
        let mut confirms: Vec<(Option<LinkNo>, ShardId, OutboxSeq)> = Vec::new();
        while self.awaiting.front().is_some_and(|(at, _)| *at < self.released) {
            let Some((_, what)) = self.awaiting.pop_front() else { break };
            match what {
                Awaiting::Decided { account, device, client_seq } => {
                    self.note_decided(account, device, client_seq);
                    acks.push((account, device));
                }
                Awaiting::AckAgain { account, device } => acks.push((account, device)),
                Awaiting::InboxGrew { account, upto } => self.inbox_released(account, upto),
                Awaiting::OutboxGrew { to, seq } => self.outbox_released(now, to, seq, out),
                Awaiting::Confirm { link, from, upto } => {
                    confirms.retain(|(l, f, _)| (*l, *f) != (link, from));
                    confirms.push((link, from, upto));
                }
                Awaiting::Marked { account, with, mark } => self.mark_released(account, with, mark),
                Awaiting::Signal { to, signal } => out.push(Effect::Signal { to, signal }),
                Awaiting::ToConn { conn, what } => {
                    if let ToConn::Attached(_) = what {
                        self.greeted(conn);
                    }
                    out.push(Effect::ToConn { conn, what });
                }
                Awaiting::Answer { token, answer } => out.push(Effect::Answer { token, answer }),
            }
        }
        acks.sort_unstable();
        acks.dedup();
        for (account, device) in acks {
            self.send_ack(account, device, out);
        }
        for (link, from, upto) in confirms {
            out.push(Effect::Confirm { link, from, upto });
        }
    }

    fn greeted(&mut self, conn: Conn) {
        let Some((account, device)) = self.attached(conn) else { return };
        let attachment = self.hot_mut(account).and_then(|hot| hot.attachments.get_mut(&device));
        if let Some(attachment) = attachment {
            attachment.greeted = true;
            self.to_pump.insert(account);
        }
    }

    fn note_decided(&mut self, account: AccountId, device: DeviceNo, client_seq: ClientSeq) {
        let attachment = self.hot_mut(account).and_then(|hot| hot.attachments.get_mut(&device));
        if let Some(attachment) = attachment {
            attachment.acked = attachment.acked.max(client_seq);
            attachment.nacked = None;
        }
    }

    fn send_ack(&mut self, account: AccountId, device: DeviceNo, out: &mut Vec<Effect>) {
        let Some(hot) = self.hot_mut(account) else { return };
        // What was decided before a greeting is told behind it: every attach waits for it.
        let attachment = hot.attachments.get_mut(&device).filter(|attachment| attachment.greeted);
        let Some(attachment) = attachment else { return };
        let Some(state) = hot.state.as_ref().and_then(|s| s.devices.get(&device)) else { return };
        let (told, upto) = (attachment.told, attachment.acked);
        attachment.told = upto;
        let news = |(seq, _): &&(ClientSeq, Code)| *seq > told && *seq <= upto;
        let refusals = state.refusals.iter().filter(news).copied().collect();
        let what = ToConn::SendAck { client_seq: upto, refusals };
        out.push(Effect::ToConn { conn: attachment.conn, what });
    }

    fn inbox_released(&mut self, account: AccountId, upto: InboxSeq) {
        if let Some(hot) = self.hot_mut(account) {
            hot.released_head = hot.released_head.max(upto);
            hot.erased.released(upto);
            if !hot.attachments.is_empty() {
                self.to_pump.insert(account);
            } else {
                hot.trim_tail();
            }
        }
    }
}
