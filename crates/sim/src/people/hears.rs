//! What a device is told, and what it makes of it.

use iris_check::history::{MessageNo, Outcome, What};
use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::Hlc;
use iris_core::code::{Code, Verdict};
use iris_core::id::AccountId;
use iris_core::mark::Mark;
use iris_core::message::{Act, Address, Message};
use iris_core::seq::InboxSeq;
use iris_core::shard::{Attached, CallAnswer, HistoryPoint, ToConn};
use iris_core::signal::Presence;

use super::{Called, Wake, Wished};
use crate::book::{message_no, number_of};
use crate::network::StreamNo;
use crate::packet::{Packet, ToDevice};
use crate::world::{Event, World};

/// A person looks at most at so many pages.
const PAGES_MAX: u32 = 3;
/// So many of the account's newest messages are remembered.
const SENT_KEPT: usize = 8;

impl World {
    pub(crate) fn device_takes(&mut self, device: usize, stream: StreamNo, packet: Packet) {
        if self.devices[device].conn != Some(stream) {
            return;
        }
        let Packet::ToDevice(what) = packet else { unreachable!("edges send nothing else") };
        match what {
            ToDevice::Shard(what) => self.shard_says(device, what),
            ToDevice::SendAgain { from, after_ms, another_owner } => {
                self.devices[device].heard_at = self.agenda.now();
                self.put_off(device, from, Code::OwnerMoving, after_ms);
                if another_owner {
                    self.say_everything(device);
                }
            }
            ToDevice::Error(code) => self.refused(device, code),
        }
    }

    fn refused(&mut self, device: usize, code: Code) {
        if code == Code::CursorTooOld {
            // The next WELCOME says from where on.
            let now = self.now();
            self.book.unreadable.push((now, "a device was told that its cursor is too old".into()));
        }
        if code.verdict() == Verdict::Fatal {
            let now = self.now();
            self.book.unreadable.push((now, format!("device {device} was refused: {code:?}")));
        }
        self.hang_up(device);
    }

    fn shard_says(&mut self, device: usize, what: ToConn) {
        let by = self.by(device);
        match what {
            ToConn::Attached(attached) => self.is_welcome(device, &attached),
            ToConn::SendAck { client_seq, refusals } => {
                let now = self.now();
                let state = &mut self.devices[device];
                state.heard_at = now;
                let mut decided = Vec::new();
                while state.disk.undecided.front().is_some_and(|u| u.number <= client_seq.0) {
                    decided.extend(state.disk.undecided.pop_front().map(|unsent| unsent.number));
                }
                for number in decided {
                    let refusal = refusals.iter().find(|(seq, _)| seq.0 == number);
                    let forged = refusal.is_some_and(|(_, code)| *code == Code::Forbidden);
                    self.book.sometimes.forbidden += u64::from(forged);
                    let outcome = refusal.map_or(Outcome::Accepted, |(_, code)| {
                        Outcome::Refused(code.number().into())
                    });
                    self.book.decided(now, by, number, outcome);
                }
                let next = self.devices[device].disk.undecided.iter().find(|u| !u.transmitted);
                if let Some(from) = next.map(|unsent| unsent.number) {
                    self.transmit_from(device, from);
                }
            }
            ToConn::SendNack { client_seq, code, retry_after_ms } => {
                self.devices[device].heard_at = self.agenda.now();
                self.book.sometimes.sends_too_fast += u64::from(code == Code::RateLimited);
                self.put_off(device, client_seq.0, code, retry_after_ms);
            }
            ToConn::Deliver { items, .. } => self.receive(device, &items),
            ToConn::Marks { marks, version } => self.learn_marks(device, &marks, version),
            ToConn::Presence { of, presence } => {
                let online = presence == Presence::Online;
                self.devices[device].presences.insert(of, online);
                self.book.sometimes.presences += 1;
                let of = self.book.account(of);
                self.note(What::Presence { by, of, online });
            }
            ToConn::Page { corr, items, next, .. } => self.read_page(device, corr, &items, next),
            ToConn::Result { corr, answer } => self.call_answered(device, corr, &answer),
            ToConn::Head { group, head } => self.head_is(device, group, head),
            ToConn::LogPage { corr, messages, more, .. } => {
                self.read_log_page(device, corr, &messages, more);
            }
            ToConn::Typing(typing) => {
                let in_group = matches!(typing.to, Address::Group(_));
                self.book.sometimes.typed_in_groups += u64::from(in_group);
            }
            ToConn::Closed { .. } => {}
        }
    }

    fn learn_marks(&mut self, device: usize, marks: &[(AccountId, Mark)], version: Option<u64>) {
        let by = self.by(device);
        for (with, mark) in marks {
            let disk = &mut self.devices[device].disk;
            let known = disk.marks.entry(*with).or_default();
            let before = (known.delivered, known.read);
            *known = known.merge(*mark);
            let mark = *known;
            let said = disk.reads.get(with).filter(|(upto, _)| *upto <= mark.own_read);
            if let Some((_, private)) = said.copied() {
                disk.reads.remove(with);
                self.book.sometimes.private_reads += u64::from(private);
            }
            if (mark.delivered, mark.read) != before {
                self.book.sometimes.receipts += 1;
                let of = self.book.account(*with);
                let (delivered, read) = (mark.delivered.0, mark.read.0);
                self.note(What::Receipt { by, of, delivered, read });
            }
        }
        let disk = &mut self.devices[device].disk;
        disk.marks_version = disk.marks_version.max(version.unwrap_or_default());
    }

    fn read_page(
        &mut self,
        device: usize,
        corr: u32,
        items: &[InboxItem],
        next: Option<HistoryPoint>,
    ) {
        let Some(Called::Fetch(mut looking)) = self.devices[device].calls.remove(&corr) else {
            return;
        };
        let now = self.now();
        let mut last = HistoryPoint { clock: Hlc(u64::MAX), place: InboxSeq(u64::MAX) };
        for item in items {
            let InboxContent::Message(message) = &item.content else { continue };
            let point = HistoryPoint { clock: message.clock, place: item.seq };
            if point >= last {
                let text = format!("device {device} got a page in no order");
                self.book.unreadable.push((now, text));
            }
            last = point;
            looking.messages.push(self.book.name_of(message));
        }
        looking.pages += 1;
        self.book.sometimes.pages += u64::from(!items.is_empty());
        if next.is_some() && looking.pages < PAGES_MAX {
            return self.fetch_page(device, looking, next);
        }
        // What has the clock of the point is before it or not.
        let from = next.map_or(0, |next| next.clock.0 + 1);
        let (by, asked_at) = (self.by(device), looking.asked_at);
        let conversation = self.book.target(looking.with);
        let whole_from = self.plan.history.then_some(from);
        let messages = looking.messages;
        self.note(What::Fetched { by, asked_at, conversation, whole_from, messages });
    }

    fn call_answered(&mut self, device: usize, corr: u32, answer: &CallAnswer) {
        let Some(called) = self.devices[device].calls.remove(&corr) else { return };
        match called {
            Called::Wish => {
                let state = &mut self.devices[device];
                state.wishing = false;
                if *answer != CallAnswer::Done {
                    return;
                }
                let Some(wished) = state.disk.wishes.pop_front() else { return };
                let (account, whom) = (state.account, wished.whom);
                let (account, whom) = (self.book.account(account), self.book.account(whom));
                let Wished { on, asked_at, .. } = wished;
                self.note(What::Blocks { account, whom, on, asked_at });
                self.say_wish(device);
            }
            Called::Roster | Called::Groups => {
                let answered = matches!(answer, CallAnswer::Roster(_) | CallAnswer::Groups(_));
                self.book.sometimes.rosters += u64::from(answered);
            }
            // What had no answer is asked for again.
            Called::Fetch(_) | Called::Watch | Called::Log(_) => {}
        }
    }

    pub(crate) fn by(&mut self, device: usize) -> iris_check::history::Device {
        let state = &self.devices[device];
        let (account, number) = (state.account, state.number.expect("it is registered"));
        self.book.device(account, number.0)
    }

    fn put_off(&mut self, device: usize, from: u64, code: Code, after_ms: u32) {
        let by = self.by(device);
        let code = code.number().into();
        self.note(What::PutOff { by, number: from, code });
        // However often it is told, it sends again once.
        let state = &mut self.devices[device];
        let known = state.send_again_from;
        state.send_again_from = Some(known.map_or(from, |known| known.min(from)));
        if known.is_none() {
            let (turn, us) = (state.turn, u64::from(after_ms) * 1_000 + 1);
            self.agenda.after(us, Event::Device { device, wake: Wake::SendAgain { turn } });
        }
    }

    fn is_welcome(&mut self, device: usize, attached: &Attached) {
        let by = self.by(device);
        let now = self.now();
        if attached.snapshot_needed {
            self.book.unreadable.push((now, "a device needs a snapshot".to_owned()));
            return self.hang_up(device);
        }
        let state = &mut self.devices[device];
        (state.welcomed, state.heard_at, state.backoff_us) = (true, now, 50_000);
        state.head = state.head.max(attached.head);
        state.disk.stream_gen = attached.stream_gen;
        let first = !std::mem::replace(&mut state.linked, true);
        let account = state.account;
        if first {
            state.disk.cursor = attached.start;
            state.disk.acked = attached.start;
        }
        let next = attached.next_client_seq.0;
        let transmitted = state.disk.undecided.iter().filter(|unsent| unsent.transmitted);
        let (done, undone): (Vec<_>, Vec<_>) =
            transmitted.map(|unsent| unsent.number).partition(|number| *number < next);
        self.book.sometimes.unknown_sends_done += done.len() as u64;
        self.book.sometimes.unknown_sends_undone += undone.len() as u64;
        let lowest = self.devices[device].disk.undecided.front().map(|unsent| unsent.number);
        let bound = self.devices[device].disk.next_number;
        if next > bound || lowest.is_some_and(|lowest| next < lowest) {
            let text = format!("device {device} should send {next}; it has {lowest:?} to {bound}");
            self.book.unreadable.push((now, text));
        }
        if first {
            let (stream, start) = (attached.stream_gen, attached.start.0);
            self.note(What::Linked { device: by, stream, start });
        }
        self.note_here(account);
        self.read_on(device);
        self.transmit_from(device, next);
        self.say_everything(device);
    }

    fn receive(&mut self, device: usize, items: &[InboxItem]) {
        let by = self.by(device);
        let now = self.now();
        for item in items {
            let state = &mut self.devices[device];
            let (account, stream, place) = (state.account, state.disk.stream_gen, item.seq.0);
            let expected = state.disk.cursor.next();
            if item.seq > expected {
                let found = place;
                self.note(What::Gap { by, expected: expected.0, found });
                return self.hang_up(device);
            }
            let fresh = item.seq == expected;
            if fresh {
                state.disk.cursor = item.seq;
                state.head = state.head.max(item.seq);
            }
            let twice = self.has_sent(by, account, place, item);
            if fresh {
                self.keep_in_mind(device, item);
            }
            let item = self.book.item(account, item, twice);
            let what = if fresh {
                What::Applied { by, stream, place, item }
            } else {
                What::Repeated { by, stream, place, item }
            };
            self.book.note(now, what);
        }
        if self.devices[device].reading_from <= now {
            let us = 1 + self.random.around(2_000);
            self.agenda.after(us, Event::Device { device, wake: Wake::ReadOn });
        }
    }

    /// What the person may do with it later.
    fn keep_in_mind(&mut self, device: usize, item: &InboxItem) {
        let InboxContent::Message(message) = &item.content else {
            let notice = matches!(item.content, InboxContent::Notice(_));
            self.book.sometimes.notices += u64::from(notice);
            return;
        };
        if let Address::Group(group) = message.to {
            return self.take_from_group(device, group, message);
        }
        let state = &mut self.devices[device];
        if let Some(about) = message.erases() {
            state.disk.sent.retain(|(_, msg_id, ..)| *msg_id != about.msg_id);
            let account = state.account;
            let account = self.book.account(account);
            let message = MessageNo(message_no(about.msg_id));
            self.book.sometimes.erasures += 1;
            return self.note(What::Erased { account, message });
        }
        let act = message.about.map(|about| about.act);
        self.book.sometimes.edits += u64::from(act == Some(Act::Edit));
        self.book.sometimes.reactions += u64::from(act == Some(Act::React));
        if message.sender != state.account {
            let heard = state.disk.heard.entry(message.sender).or_default();
            *heard = message.clock.max(*heard);
            if message.about.is_none() {
                state.disk.newest.insert(message.sender, (message.msg_id, message.clock));
            }
        } else if message.about.is_none() {
            self.may_erase(device, message);
        }
    }

    /// A message of the account that its person may erase.
    pub(super) fn may_erase(&mut self, device: usize, message: &Message) {
        let sent = &mut self.devices[device].disk.sent;
        if sent.len() == SENT_KEPT {
            sent.pop_front();
        }
        let place = message.place().map(|place| place.seq).unwrap_or_default();
        sent.push_back((message.to, message.msg_id, message.clock, place));
    }

    /// Whether a message to oneself lies at a lower place already: this one is the received copy.
    fn has_sent(
        &self,
        by: iris_check::history::Device,
        account: AccountId,
        place: u64,
        item: &InboxItem,
    ) -> bool {
        let InboxContent::Message(message) = &item.content else {
            return false;
        };
        if message.sender != account || message.to != Address::Account(account) {
            return false;
        }
        let number = MessageNo(number_of(&message.bodies));
        self.book.history.iter().any(|event| match &event.what {
            What::Applied {
                by: who, place: at, item: iris_check::history::Item::Own(own), ..
            } => *who == by && *at < place && own.message == number,
            _ => false,
        })
    }
}
