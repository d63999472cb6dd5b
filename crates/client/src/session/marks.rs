//! How far conversations were received and read, in both directions.
//!
//! Marks only grow, so nothing here depends on order. What a person read is said on every connection
//! until the mark comes back.

use std::collections::{BTreeMap, VecDeque};

use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::limits;
use iris_core::message::Address;
use iris_proto::FormatError;
use iris_proto::client as wire;
use iris_proto::client_frames::{address_to_wire, marks_from_wire};
use iris_proto::frame::FrameType;

use crate::store::Record;

use super::Session;
use super::event::Event;
use super::frames::encoded;
use super::input::{Effect, Ticket};

/// Who may know what a person read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readers {
    /// The account's own devices only.
    Own,
    /// Whoever wrote it, too.
    Writer,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Every change up to this version is on the disk.
    known: u64,
    /// Versions that are being written.
    writing: VecDeque<(Ticket, u64)>,
    /// Read here, and not known to the server.
    reads: BTreeMap<AccountId, Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// Read, whoever may know.
    upto: Hlc,
    /// Read, and the writer may know.
    open: Hlc,
    /// Said on this connection.
    said: bool,
}

impl Reading {
    fn marks(&self, with: AccountId) -> impl Iterator<Item = wire::Mark> {
        let mark = |own_read: Hlc, private| wire::Mark {
            conversation: Some(address_to_wire(Address::Account(with))),
            own_read: own_read.0,
            private,
            ..Default::default()
        };
        let open = (self.open > Hlc(0)).then(|| mark(self.open, false));
        let private = (self.upto > self.open).then(|| mark(self.upto, true));
        open.into_iter().chain(private)
    }
}

impl Marks {
    pub(super) fn new(known: u64) -> Self {
        Self { known, ..Self::default() }
    }

    pub(super) fn known(&self) -> u64 {
        self.known
    }

    pub(super) fn read(&mut self, with: AccountId, upto: Hlc, who: Readers) {
        let reading = self.reads.entry(with).or_default();
        let open = if who == Readers::Writer { upto } else { Hlc(0) };
        if upto > reading.upto || open > reading.open {
            let (upto, open) = (reading.upto.max(upto), reading.open.max(open));
            *reading = Reading { upto, open, said: false };
        }
    }

    pub(super) fn unsaid(&self) -> usize {
        self.reads.len()
    }

    /// Another owner serves the account: it may know nothing of what was said.
    pub(super) fn say_again(&mut self) {
        for reading in self.reads.values_mut() {
            reading.said = false;
        }
    }

    pub(super) fn transmit(&mut self, out: &mut Vec<Effect>) {
        loop {
            let unsaid = self.reads.iter_mut().filter(|(_, reading)| !reading.said);
            let marks: Vec<_> = unsaid
                .take(limits::MARKS_MAX / 2)
                .flat_map(|(with, reading)| {
                    reading.said = true;
                    reading.marks(*with)
                })
                .collect();
            if marks.is_empty() {
                return;
            }
            let receipt = wire::Receipt { marks, version: 0 };
            out.push(Effect::Transmit(encoded(FrameType::Receipt, None, &receipt)));
        }
    }

    pub(super) fn stored(&mut self, upto: Ticket) {
        while let Some((_, version)) = self.writing.pop_front_if(|(ticket, _)| *ticket <= upto) {
            self.known = self.known.max(version);
        }
    }
}

impl Session {
    /// What the server knows of marks.
    pub(super) fn receipt(
        &mut self,
        receipt: wire::Receipt,
        out: &mut Vec<Effect>,
    ) -> Result<(), FormatError> {
        let version = receipt.version;
        let marks = marks_from_wire(receipt)?;
        for (with, mark) in &marks {
            if self.marks.reads.get(with).is_some_and(|reading| reading.upto <= mark.own_read) {
                self.marks.reads.remove(with);
            }
            out.push(Effect::Event(Event::Marked { with: *with, mark: *mark }));
        }
        let ticket = self.persist(Record::Marked { version, marks }, out);
        if version > 0 {
            self.marks.writing.push_back((ticket, version));
        }
        Ok(())
    }
}
