//! What a device is told, and what it makes of it.

use iris_check::history::{MessageNo, Outcome, What};
use iris_core::account::InboxItem;
use iris_core::code::{Code, Verdict};
use iris_core::id::AccountId;
use iris_core::message::Address;
use iris_core::shard::{Attached, ToConn};

use super::Wake;
use crate::network::StreamNo;
use crate::packet::{Packet, ToDevice};
use crate::world::{Event, World};

impl World {
    pub(crate) fn device_takes(&mut self, device: usize, stream: StreamNo, packet: Packet) {
        if self.devices[device].conn != Some(stream) {
            return;
        }
        let Packet::ToDevice(what) = packet else { unreachable!("edges send nothing else") };
        match what {
            ToDevice::Shard(what) => self.shard_says(device, what),
            ToDevice::SendAgain { from, after_ms } => {
                self.devices[device].heard_at = self.agenda.now();
                self.put_off(device, from, Code::OwnerMoving, after_ms);
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
                self.put_off(device, client_seq.0, code, retry_after_ms);
            }
            ToConn::Deliver { items, .. } => self.receive(device, &items),
            ToConn::Closed { .. } | ToConn::Result { .. } => {}
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
        self.read_on(device);
        self.transmit_from(device, next);
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

    /// Whether a message to oneself lies at a lower place already: this one is the received copy.
    fn has_sent(
        &self,
        by: iris_check::history::Device,
        account: AccountId,
        place: u64,
        item: &InboxItem,
    ) -> bool {
        let iris_core::account::InboxContent::Message(message) = &item.content else {
            return false;
        };
        if message.sender != account || message.to != Address::Account(account) {
            return false;
        }
        let number = MessageNo(crate::book::number_of(&message.bodies));
        self.book.history.iter().any(|event| match &event.what {
            What::Applied {
                by: who, place: at, item: iris_check::history::Item::Own(own), ..
            } => *who == by && *at < place && own.message == number,
            _ => false,
        })
    }
}
