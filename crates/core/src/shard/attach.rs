//! Connections of devices: attached with a cursor, detached, replaced, granted credit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::account::Account;
use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::id::{AccountId, DeviceNo};
use crate::limits;
use crate::seq::{ClientSeq, InboxSeq};

use super::Shard;
use super::damaged::Rows;
use super::effect::{Attached, CallAnswer, DirectoryAnswer, Effect, ToConn};
use super::hot::{Attachment, Conn, Hot, Slot, Waiting};
use super::input::{Attach, Input};
use super::marks::MarkFeed;
use super::release::Awaiting;

impl Shard {
    pub(super) fn attach(&mut self, now: Now, attach: Attach, out: &mut Vec<Effect>) {
        let account = attach.account;
        let waiting = Waiting::Input(Box::new(Input::Attach(attach.clone())));
        if !self.is_loaded(account, waiting, out) {
            return;
        }
        self.touch(account, now.mono);
        if self.is_outlived(&attach) {
            let text = "a newer connection serves this device";
            return close(attach.conn, Code::ReplacedByNewerConnection, text, out);
        }
        match self.check_attach(&attach) {
            Err((code, text)) => close(attach.conn, code, text, out),
            Ok(attached) => self.admit(now, attach, attached, out),
        }
    }

    /// Whether the device has a connection that began later: this one is a remnant, whose client went
    /// without its edge having noticed.
    fn is_outlived(&self, attach: &Attach) -> bool {
        let hot = self.hot(attach.account);
        let current = hot.and_then(|hot| hot.attachments.get(&attach.device));
        current.is_some_and(|known| known.conn != attach.conn && known.begun > attach.begun)
    }

    /// What the device is told, or why it is turned away.
    fn check_attach(&self, attach: &Attach) -> Result<Attached, (Code, &'static str)> {
        let state = self.account(attach.account);
        let state = state.ok_or((Code::AuthInvalid, "no such account"))?;
        let device = state.devices.get(&attach.device);
        let device = device.ok_or((Code::AuthInvalid, "no such device"))?;
        if device.revoked {
            return Err((Code::DeviceRevoked, "this device was revoked"));
        }
        let same_stream = attach.stream_gen == state.stream_gen;
        if same_stream && attach.delivered.max(attach.cursor) > state.head {
            return Err((Code::Protocol, "the cursor is ahead of the inbox"));
        }
        // A fresh device starts where it was linked; any other one after what it was handed.
        let fresh = attach.stream_gen == 0 && attach.cursor == InboxSeq(0);
        let linked = device.cursor.max(state.floor);
        let start = if fresh { linked } else { attach.delivered.max(attach.cursor) };
        Ok(Attached {
            snapshot_needed: !fresh && (!same_stream || start < state.floor),
            stream_gen: state.stream_gen,
            start,
            head: state.head,
            floor: state.floor,
            next_client_seq: device.next_client_seq,
        })
    }

    fn admit(&mut self, now: Now, attach: Attach, attached: Attached, out: &mut Vec<Effect>) {
        let Attach { conn, account, device, .. } = attach;
        let known = self.account(account).and_then(|state| state.devices.get(&device));
        let known = known.map(|device| device.cursor).unwrap_or_default();
        if let Some(old) = self.unlink(account, device)
            && old != conn
        {
            close(old, Code::ReplacedByNewerConnection, "another connection took over", out);
        }
        let (snapshot_needed, start) = (attached.snapshot_needed, attached.start);
        let decided = ClientSeq(attached.next_client_seq.0 - 1);
        self.conns.insert(conn, (account, device));
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Attached(attached) });
        if snapshot_needed {
            // The connection is told where to start and nothing else; it comes again.
            self.conns.remove(&conn);
            return;
        }
        if let Some(hot) = self.hot_mut(account) {
            let newest = hot.state.as_ref().map_or(0, |state| state.marks);
            let marks = MarkFeed::new(attach.marks, newest);
            // A new device was linked behind places that it was never handed: its row knows where.
            let handed_before = (attach.cursor.max(known), attach.delivered);
            let attachment = Attachment::new(&attach, (start, handed_before), marks);
            hot.attachments.insert(device, attachment);
        }
        if self.admitting && known < attach.cursor {
            self.note_had(now.mono, (account, device), (known, attach.cursor));
            self.note_cursor(account, device, attach.cursor);
        } else if known < attach.cursor {
            self.note_late_ack((account, device), attach.cursor, now.mono);
        }
        self.presence_may_differ(account, now.mono);
        self.regroup.insert(account);
        if decided > ClientSeq(0) {
            self.after_all(Awaiting::Decided { account, device, client_seq: decided });
        }
        self.to_pump.insert(account);
    }

    pub(super) fn detach(&mut self, now: Now, conn: Conn) {
        if let Some((account, device)) = self.conns.remove(&conn)
            && let Some(hot) = self.hot_mut(account)
            && hot.attachments.get(&device).is_some_and(|a| a.conn == conn)
        {
            hot.attachments.remove(&device);
            hot.used_at = now.mono;
            hot.trim_tail();
            self.left(now, account);
        }
    }

    /// Devices whose connections were ended here left too.
    pub(super) fn note_gone(&mut self, now: Now) {
        for account in std::mem::take(&mut self.gone) {
            self.left(now, account);
        }
    }

    /// A device left. With the last one its person did.
    fn left(&mut self, now: Now, account: AccountId) {
        self.regroup.insert(account);
        self.presence_may_differ(account, now.mono);
        let alone = self.hot(account).is_some_and(|hot| hot.attachments.is_empty());
        if alone && self.admitting {
            self.progress.seen.insert(account, now.wall);
            if let Some(hot) = self.hot_mut(account) {
                hot.dirty = true;
            }
        }
    }

    /// Forgets the device's connection; answers which it was.
    pub(super) fn unlink(&mut self, account: AccountId, device: DeviceNo) -> Option<Conn> {
        let attachment = self.hot_mut(account)?.attachments.remove(&device)?;
        self.conns.remove(&attachment.conn);
        self.gone.insert(account);
        Some(attachment.conn)
    }

    pub(super) fn acknowledge(
        &mut self,
        now: MonoUs,
        conn: Conn,
        seq: InboxSeq,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        if seq > attachment.delivered {
            self.unlink(account, device);
            return close(conn, Code::Protocol, "acknowledged what was not delivered", out);
        }
        let (newest, part) = attachment.acknowledged(seq);
        let before = attachment.acknowledged_before(seq);
        hot.trim_tail();
        if self.admitting {
            self.note_delivered(now, account, newest);
            for places in before.into_iter().chain(part) {
                self.note_had(now, (account, device), places);
            }
            self.note_cursor(account, device, seq);
        } else {
            self.note_late_ack((account, device), seq, now);
        }
        self.to_pump.insert(account);
    }

    /// An ack that came while the shard is to leave: its next owner hears it from the device itself.
    pub(super) fn note_late_ack(
        &mut self,
        device: (AccountId, DeviceNo),
        seq: InboxSeq,
        now: MonoUs,
    ) {
        let late = self.late_acks.entry(device).or_insert((seq, now));
        late.0 = late.0.max(seq);
    }

    /// The shard stays: what was acknowledged while it was to leave counts.
    pub(super) fn take_late_acks(&mut self) {
        for ((account, device), (seq, at)) in std::mem::take(&mut self.late_acks) {
            let state = self.account(account).and_then(|state| state.devices.get(&device));
            let Some(known) = state.map(|device| device.cursor) else { continue };
            if known < seq {
                self.note_had(at, (account, device), (known, seq));
                self.note_cursor(account, device, seq);
            }
        }
        for ((account, with), late) in std::mem::take(&mut self.late_reads) {
            self.note_read(late.at, account, (with, late.private), true);
            self.note_read(late.at, account, (with, late.open), false);
        }
        let unreceipted =
            |slot: &Slot| matches!(slot, Slot::Hot(hot) if hot.unreceipted.after().is_some());
        let accounts = self.accounts.iter().filter(|(_, slot)| unreceipted(slot));
        self.to_pump.extend(accounts.map(|(account, _)| *account));
    }

    /// Remembers that a device has more on its disk; it is logged with the next flush.
    fn note_cursor(&mut self, account: AccountId, device: DeviceNo, seq: InboxSeq) {
        let state = self.account(account).and_then(|state| state.devices.get(&device));
        if state.is_some_and(|device| seq > device.cursor) {
            let noted = self.progress.cursors.entry((account, device)).or_default();
            *noted = seq.max(*noted);
            if let Some(hot) = self.hot_mut(account) {
                hot.dirty = true;
            }
        }
    }

    pub(super) fn widen(&mut self, conn: Conn, messages: u32, bytes: u32) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        if let Some(attachment) = hot.attachments.get_mut(&device) {
            let messages = attachment.window_messages + u64::from(messages);
            let bytes = attachment.window_bytes + u64::from(bytes);
            attachment.window_messages = messages.min(limits::WINDOW_MESSAGES_MAX.into());
            attachment.window_bytes = bytes.min(limits::WINDOW_BYTES_MAX.into());
            self.to_pump.insert(account);
        }
    }

    /// The edge's stream takes more again.
    pub(super) fn writable(&mut self, conn: Conn) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        if let Some(attachment) = hot.attachments.get_mut(&device) {
            attachment.blocked = false;
            self.to_pump.insert(account);
        }
    }

    /// The edge's stream takes no more: nothing is delivered until [`Input::Writable`].
    pub fn block(&mut self, conn: Conn) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        if let Some(attachment) = hot.attachments.get_mut(&device) {
            attachment.blocked = true;
        }
    }

    /// An account arrived from the store: what waited for it goes on, in order.
    pub(super) fn loaded(
        &mut self,
        now: Now,
        account: AccountId,
        state: Option<Account>,
        out: &mut Vec<Effect>,
    ) {
        self.damaged.forget(Rows::Account(account));
        let hot = Slot::Hot(Box::new(Hot::new(state, now.mono)));
        let waiting = match self.accounts.insert(account, hot) {
            Some(Slot::Loading(waiting)) => waiting,
            Some(known @ Slot::Hot(_)) => {
                // Two loads crossed: the account in memory may be newer.
                self.accounts.insert(account, known);
                return;
            }
            None => Vec::new(),
        };
        for waiting in waiting {
            match waiting {
                Waiting::Inbound(from) => self.drain_inbound(now, from, out),
                Waiting::Input(input) => self.step(now, *input, out),
            }
        }
    }

    /// The store did not answer: whoever asked is told to come again, and sources push again.
    pub(super) fn load_failed(&mut self, account: AccountId, out: &mut Vec<Effect>) {
        let waiting = match self.accounts.remove(&account) {
            Some(Slot::Loading(waiting)) => waiting,
            Some(known @ Slot::Hot(_)) => {
                self.accounts.insert(account, known);
                return;
            }
            None => return,
        };
        let (code, text) = (Code::StoreUnavailable, "the store did not answer");
        for waiting in waiting {
            match waiting {
                Waiting::Inbound(from) => {
                    if let Some(peer) = self.peers.get_mut(&from) {
                        peer.inbound.clear();
                    }
                }
                Waiting::Input(input) => give_up(*input, (code, text), out),
            }
        }
    }
}

impl Attachment {
    fn new(
        attach: &Attach,
        (start, handed_before): (InboxSeq, (InboxSeq, InboxSeq)),
        marks: MarkFeed,
    ) -> Self {
        Self {
            conn: attach.conn,
            begun: attach.begun,
            delivered: start,
            handed_before,
            disk: start,
            window_messages: attach.window_messages.min(limits::WINDOW_MESSAGES_MAX).into(),
            window_bytes: attach.window_bytes.min(limits::WINDOW_BYTES_MAX).into(),
            outstanding: VecDeque::new(),
            outstanding_messages: 0,
            outstanding_bytes: 0,
            acked: ClientSeq(0),
            told: ClientSeq(0),
            nacked: None,
            blocked: false,
            greeted: false,
            marks,
            away: false,
            watching: BTreeSet::new(),
            presences: BTreeMap::new(),
            heads: BTreeMap::new(),
            heads_told: BTreeMap::new(),
            typed: None,
            fetching: BTreeMap::new(),
        }
    }
}

pub(super) fn close(conn: Conn, code: Code, text: &'static str, out: &mut Vec<Effect>) {
    out.push(Effect::ToConn { conn, what: ToConn::Closed { code, text } });
}

/// Whoever asked for something that cannot be done now is told to come again.
pub(super) fn give_up(input: Input, (code, text): (Code, &'static str), out: &mut Vec<Effect>) {
    match input {
        Input::Attach(attach) => close(attach.conn, code, text, out),
        Input::Open { token, .. }
        | Input::OpenLinked { token, .. }
        | Input::Refresh { token, .. } => {
            let answer = DirectoryAnswer::Refused(code, text);
            out.push(Effect::Answer { token, answer });
        }
        Input::ListDevices { conn, corr }
        | Input::AskUnknown { conn, corr }
        | Input::RevokeDevice { conn, corr, .. }
        | Input::LinkDevice { conn, corr, .. }
        | Input::Wish { conn, corr, .. }
        | Input::ListWishes { conn, corr }
        | Input::Subscribe { conn, corr, .. }
        | Input::Fetch { conn, corr, .. }
        | Input::ListGroups { conn, corr }
        | Input::Roster { conn, corr, .. }
        | Input::FetchLog { conn, corr, .. } => {
            let answer = CallAnswer::Refused(code, text);
            out.push(Effect::ToConn { conn, what: ToConn::Result { corr, answer } });
        }
        _ => {}
    }
}
