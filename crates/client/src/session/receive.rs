//! The inbox: dense places, each taken once, told to the application when it is on the disk, and
//! acknowledged when the application has it too.

use std::collections::VecDeque;

use iris_core::clock::MonoUs;
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_proto::FormatError;
use iris_proto::client as wire;
use iris_proto::frame::FrameType;

use crate::place::Place;
use crate::store::Record;

use super::event::{Event, Why};
use super::frames::encoded;
use super::input::{Effect, Target, Ticket};
use super::{Config, Session};

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The stream that the numbers count in; 0 on a new device.
    stream_gen: u32,
    /// The last place that was taken.
    cursor: InboxSeq,
    /// The last place on the disk.
    stored: InboxSeq,
    /// The generation on the disk.
    stored_gen: u32,
    writing: VecDeque<Writing>,
    /// On the disk, and not yet with the application: places and their weight.
    backlog_places: usize,
    backlog_bytes: usize,
    /// The last place with the application.
    consumed: InboxSeq,
    /// The last place that the present connection was told of.
    acked: InboxSeq,
    /// Something came again: the server may not know how far this device is.
    ack_again: bool,
    /// What HELLO granted less than the configuration says, because the application lags.
    owed: wire::Window,
}

#[derive(Debug)]
enum Writing {
    Places { ticket: Ticket, stream_gen: u32, places: Vec<Place> },
    Reset { ticket: Ticket, stream_gen: u32, cursor: InboxSeq, missed: bool },
}

impl Writing {
    fn ticket(&self) -> Ticket {
        match self {
            Self::Places { ticket, .. } | Self::Reset { ticket, .. } => *ticket,
        }
    }
}

/// What became of a DELIVER.
enum Taken {
    /// These places are new.
    New(Vec<Place>),
    /// The server skipped one.
    Gap { expected: InboxSeq, found: InboxSeq },
}

impl Inbox {
    pub(super) fn new(stream_gen: u32, cursor: InboxSeq) -> Self {
        Self {
            stream_gen,
            cursor,
            stored: cursor,
            stored_gen: stream_gen,
            writing: VecDeque::new(),
            backlog_places: 0,
            backlog_bytes: 0,
            consumed: cursor,
            acked: cursor,
            ack_again: false,
            owed: wire::Window::default(),
        }
    }

    pub(super) fn cursor(&self) -> InboxSeq {
        self.cursor
    }

    /// Whether a change of where the inbox goes on is not yet on the disk.
    pub(super) fn is_resetting(&self) -> bool {
        self.writing.iter().any(|writing| matches!(writing, Writing::Reset { missed: true, .. }))
    }

    /// What HELLO says: where the disk stands, and the credit.
    pub(super) fn greet(&mut self, config: &Config) -> (InboxSeq, u32, wire::Window) {
        let behind = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // One message is granted always: a credit of nothing may be read as no wish at all.
        self.owed = wire::Window {
            messages: behind(self.backlog_places).min(config.window_messages.saturating_sub(1)),
            bytes: behind(self.backlog_bytes).min(config.window_bytes.saturating_sub(1)),
        };
        let window = wire::Window {
            messages: config.window_messages - self.owed.messages,
            bytes: config.window_bytes - self.owed.bytes,
        };
        (self.acked, self.ack_again) = (self.stored, false);
        (self.stored, self.stored_gen, window)
    }

    fn take(&mut self, first: InboxSeq, places: Vec<Place>) -> Taken {
        if first > self.cursor.next() {
            return Taken::Gap { expected: self.cursor.next(), found: first };
        }
        let new: Vec<_> = places.into_iter().filter(|place| place.seq > self.cursor).collect();
        match new.last() {
            Some(last) => self.cursor = last.seq,
            None => self.ack_again = true,
        }
        Taken::New(new)
    }

    pub(super) fn stored(&mut self, upto: Ticket, out: &mut Vec<Effect>) {
        while self.writing.front().is_some_and(|writing| writing.ticket() <= upto) {
            match self.writing.pop_front() {
                Some(Writing::Places { stream_gen, places, .. }) => {
                    self.stored_gen = stream_gen;
                    for place in places {
                        self.stored = place.seq;
                        self.backlog_places += 1;
                        self.backlog_bytes += place.weight();
                        out.push(Effect::Event(Event::Placed(place)));
                    }
                }
                Some(Writing::Reset { stream_gen, cursor, missed, .. }) => {
                    (self.stored, self.stored_gen) = (cursor, stream_gen);
                    (self.consumed, self.acked) = (cursor, cursor);
                    if missed {
                        out.push(Effect::Event(Event::Missed { upto: cursor }));
                    }
                }
                None => return,
            }
        }
    }

    /// The application took places, in order.
    pub(super) fn consumed(&mut self, places: usize, bytes: usize) {
        self.backlog_places = self.backlog_places.saturating_sub(places);
        self.backlog_bytes = self.backlog_bytes.saturating_sub(bytes);
        let left = u64::try_from(self.backlog_places).unwrap_or(u64::MAX);
        self.consumed = InboxSeq(self.stored.0.saturating_sub(left));
    }

    /// Tells the server how far this device is, and gives the credit that was held back.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<Effect>) {
        let upto = self.stored.min(self.consumed);
        if upto > self.acked || (self.ack_again && upto > InboxSeq(0)) {
            self.acked = upto.max(self.acked);
            self.ack_again = false;
            let ack = wire::Ack { inbox_seq: self.acked.0 };
            out.push(Effect::Transmit(encoded(FrameType::Ack, None, &ack)));
            out.push(Effect::Event(Event::Acked { upto: self.acked }));
        }
        let owes = self.owed.messages > 0 || self.owed.bytes > 0;
        if owes && self.backlog_places == 0 {
            let window = std::mem::take(&mut self.owed);
            out.push(Effect::Transmit(encoded(FrameType::Window, None, &window)));
        }
    }
}

impl Session {
    /// The server serves the device. Answers whether it counts in the device's stream; a new device
    /// begins where it was linked.
    pub(super) fn resume_inbox(&mut self, welcome: &wire::Welcome, out: &mut Vec<Effect>) -> bool {
        let (stream_gen, cursor) = (welcome.stream_gen, InboxSeq(welcome.start));
        if self.inbox.stored_gen == 0 && (self.inbox.stream_gen == 0 || cursor > self.inbox.cursor)
        {
            (self.inbox.stream_gen, self.inbox.cursor) = (stream_gen, cursor);
            self.write_reset(cursor, (None, false), out);
        }
        self.inbox.stream_gen == stream_gen
    }

    pub(super) fn deliver(
        &mut self,
        now: MonoUs,
        deliver: wire::Deliver,
        out: &mut Vec<Effect>,
    ) -> Result<(), FormatError> {
        let first = InboxSeq(deliver.first_inbox_seq);
        if first == InboxSeq(0) || deliver.entries.is_empty() {
            return Err(FormatError::Missing("first_inbox_seq or entries"));
        }
        let entries = deliver.entries.into_iter();
        let places = (first.0..).zip(entries);
        let places = places.map(|(seq, entry)| Place::from_wire(InboxSeq(seq), entry));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let total = places.len();
        match self.inbox.take(first, places) {
            Taken::New(places) => {
                self.counters.redelivered += u64::try_from(total - places.len()).unwrap_or(0);
                self.write_places(places, out);
            }
            Taken::Gap { expected, found } => {
                self.counters.gaps += 1;
                out.push(Effect::Event(Event::Gap { expected, found }));
                self.give_up(now, Why::Gap, Target::Any, out);
            }
        }
        Ok(())
    }

    fn write_places(&mut self, places: Vec<Place>, out: &mut Vec<Effect>) {
        if places.is_empty() {
            return;
        }
        self.was_useful();
        let stream_gen = self.inbox.stream_gen;
        let record = Record::Placed { stream_gen, places: places.clone() };
        let places = places.into_iter().map(|place| self.grouped(place, out)).collect();
        let ticket = self.persist(record, out);
        self.inbox.writing.push_back(Writing::Places { ticket, stream_gen, places });
    }

    /// The cursor names what is gone: the inbox goes on behind `floor`. A new stream also means that
    /// the device's numbers begin anew.
    pub(super) fn start_from(&mut self, welcome: &wire::Welcome, out: &mut Vec<Effect>) {
        let (stream_gen, cursor) = (welcome.stream_gen, InboxSeq(welcome.floor));
        let other_stream = self.inbox.stream_gen != 0 && self.inbox.stream_gen != stream_gen;
        let numbers_from = other_stream.then_some(ClientSeq(welcome.next_client_seq));
        (self.inbox.stream_gen, self.inbox.cursor) = (stream_gen, cursor);
        self.write_reset(cursor, (numbers_from, true), out);
        if let Some(first) = numbers_from {
            self.renumber_sends(first, out);
        }
    }

    fn write_reset(
        &mut self,
        cursor: InboxSeq,
        (numbers_from, missed): (Option<ClientSeq>, bool),
        out: &mut Vec<Effect>,
    ) {
        let stream_gen = self.inbox.stream_gen;
        self.logs.known.unanchor();
        let ticket = self.persist(Record::Reset { stream_gen, cursor, numbers_from }, out);
        self.inbox.writing.push_back(Writing::Reset { ticket, stream_gen, cursor, missed });
    }
}
