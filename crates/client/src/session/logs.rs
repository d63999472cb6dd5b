//! The logs of large groups: read page by page behind the last place that is here, one page of a group
//! at a time, and told in their order when they are on the disk.
//!
//! A head that is told says only that there is something to read; what was read decides what is here.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use iris_core::clock::MonoUs;
use iris_core::group::Membership;
use iris_core::id::GroupId;
use iris_core::limits;
use iris_core::seq::ConvSeq;
use iris_proto::FormatError;

use crate::groups::{Groups, Seen};
use crate::place::{Content, Place};
use crate::store::Record;

use super::Session;
use super::call::{Asker, CallOp, LogFetch, LogPage};
use super::event::Event;
use super::input::{Effect, Ticket};

/// Pages under way at a time: the server allows four, and somebody may look at the past.
const UNDER_WAY_MAX: usize = 2;
/// Nothing more is read while so many messages wait to be written or taken.
const BACKLOG_MAX: usize = 256;
/// Groups whose heads are remembered: an account is in no more.
const READING_MAX: usize = 2 * limits::MEMBERSHIPS_MAX;
/// The wait after a page without anything new, doubling.
const PAUSE_US: u64 = 200_000;
const PAUSE_US_MAX: u64 = 5_000_000;
/// So many of them in a row, and only a new head makes this device look again.
const PAUSES_MAX: u32 = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) known: Groups,
    reading: BTreeMap<GroupId, Reading>,
    writing: VecDeque<(Ticket, Vec<Place>)>,
    /// On the disk, and not yet with the application.
    backlog: usize,
    /// This connection was asked which groups there are.
    asked_groups: bool,
}

/// A log that is, or was, read.
#[derive(Debug, Default)]
struct Reading {
    /// The newest place that is known.
    head: ConvSeq,
    /// The last page said that there may be more.
    more: bool,
    /// A page is under way.
    asked: bool,
    /// Not before this time.
    due: MonoUs,
    /// Pages in a row without anything new.
    pauses: u32,
}

impl Reading {
    /// Waits, longer each time, and at least so long.
    fn pause(&mut self, now: MonoUs, least_us: u64) {
        let pause = PAUSE_US << self.pauses.min(PAUSES_MAX);
        self.due = MonoUs(now.0 + pause.min(PAUSE_US_MAX).max(least_us));
        self.pauses += 1;
    }
}

impl Logs {
    /// Reading goes on where the disk is.
    pub(super) fn new(known: Groups) -> Self {
        // Of a group that was left nobody tells a head any more.
        let left = known.iter().filter_map(|(group, known)| {
            let until = known.until.filter(|until| known.pulls.is_some() && *until > known.last)?;
            Some((group, Reading { head: until, ..Reading::default() }))
        });
        let reading = left.collect();
        Self { known, reading, ..Self::default() }
    }

    fn forget_connection(&mut self) {
        self.asked_groups = false;
        for reading in self.reading.values_mut() {
            (reading.asked, reading.pauses, reading.due) = (false, 0, MonoUs(0));
        }
    }

    /// The application took messages.
    pub(super) fn taken(&mut self, count: usize) {
        self.backlog = self.backlog.saturating_sub(count);
    }

    fn waiting(&self) -> usize {
        self.backlog + self.writing.iter().map(|(_, places)| places.len()).sum::<usize>()
    }

    fn under_way(&self) -> usize {
        self.reading.values().filter(|reading| reading.asked).count()
    }

    /// Where to read on; nothing while there is nothing to read.
    fn behind(known: &Groups, group: GroupId, reading: &Reading) -> Option<ConvSeq> {
        let last = known.get(group)?.last;
        let upto = known.wanted(group, reading.head)?;
        let ended = known.get(group)?.until.is_some_and(|until| last >= until);
        let wants = !reading.asked && !ended && (upto > last || reading.more);
        wants.then_some(last)
    }

    pub(super) fn wake_at(&self) -> Option<MonoUs> {
        if self.waiting() >= BACKLOG_MAX || self.under_way() >= UNDER_WAY_MAX {
            return None;
        }
        let wanted = self
            .reading
            .iter()
            .filter(|(group, reading)| Self::behind(&self.known, **group, reading).is_some());
        wanted.map(|(_, reading)| reading.due).min()
    }

    pub(super) fn stored(&mut self, upto: Ticket, out: &mut Vec<Effect>) {
        while let Some((_, places)) = self.writing.pop_front_if(|(ticket, _)| *ticket <= upto) {
            self.backlog += places.len();
            out.extend(places.into_iter().map(|place| Effect::Event(Event::Logged(place))));
        }
    }
}

impl Session {
    /// What was asked on this connection, or of this owner, gets no answer any more.
    pub(super) fn forget_asked(&mut self, now: MonoUs) {
        self.calls.forget_connection(now);
        self.logs.forget_connection();
    }

    /// A place of the inbox, as the application is told of it.
    pub(super) fn grouped(&mut self, place: Place, out: &mut Vec<Effect>) -> Place {
        match self.logs.known.placed(self.account, &place) {
            Seen::Next => place,
            Seen::Behind(skipped) => {
                self.counters.group_gaps += 1;
                out.push(Effect::Event(Event::GroupGap(skipped)));
                place
            }
            Seen::ByLog => {
                if let Some(at) = place.in_group() {
                    let reading = self.logs.reading.entry(at.group).or_default();
                    reading.head = reading.head.max(at.place);
                }
                Place { content: Content::Hole, ..place }
            }
        }
    }

    /// A large group may be read up to `head`.
    pub(super) fn head_is(&mut self, now: MonoUs, group: GroupId, head: ConvSeq) {
        let known = self.logs.reading.len();
        let reading = self.logs.reading.entry(group);
        if known >= READING_MAX && matches!(reading, Entry::Vacant(_)) {
            return;
        }
        let reading = reading.or_default();
        // The same one comes again from the next owner, who may have put a page off until it knew it.
        if head >= reading.head {
            (reading.head, reading.pauses, reading.due) = (head, 0, now);
        }
    }

    /// Reads what there is to read.
    pub(super) fn read_logs(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        if !self.logs.known.listed && !self.logs.asked_groups {
            self.logs.asked_groups = true;
            self.calls.ask(now, Asker::Groups, &CallOp::ListGroups);
        }
        self.begin_logs(out);
        let mut room = UNDER_WAY_MAX.saturating_sub(self.logs.under_way());
        if self.logs.waiting() >= BACKLOG_MAX {
            return;
        }
        let Logs { known, reading, .. } = &mut self.logs;
        for (group, reading) in reading.iter_mut().filter(|(_, reading)| reading.due <= now) {
            if room == 0 {
                return;
            }
            if let Some(behind) = Logs::behind(known, *group, reading) {
                let fetch = LogFetch { group: *group, behind, limit: limits::PAGE_MESSAGES_MAX };
                self.calls.ask(now, Asker::Log(*group), &CallOp::ReadLog(fetch));
                reading.asked = true;
                room -= 1;
            }
        }
    }

    /// Large groups that this device is told of for the first time.
    fn begin_logs(&mut self, out: &mut Vec<Effect>) {
        let Logs { known, reading, .. } = &mut self.logs;
        let heads = reading.iter().filter(|(_, reading)| reading.head > ConvSeq(0));
        let begun = heads.filter(|(group, reading)| known.begin_at(**group, reading.head));
        let begun: Vec<_> = begun.map(|(group, _)| *group).collect();
        self.note_groups(&begun, out);
    }

    /// The groups of the account, for a device that may have been linked after it came into them.
    pub(super) fn groups_listed(
        &mut self,
        groups: &[(GroupId, Membership)],
        out: &mut Vec<Effect>,
    ) {
        let changed = self.logs.known.list(groups);
        let record = self.group_record(&changed);
        self.persist(record, out);
    }

    fn note_groups(&mut self, changed: &[GroupId], out: &mut Vec<Effect>) {
        if !changed.is_empty() {
            let record = self.group_record(changed);
            self.persist(record, out);
        }
    }

    fn group_record(&self, changed: &[GroupId]) -> Record {
        let groups = &self.logs.known;
        let known = changed.iter().filter_map(|group| Some((*group, *groups.get(*group)?)));
        Record::Groups { listed: groups.listed, holes: groups.holes, known: known.collect() }
    }

    /// The server lets this device read no more of a group.
    pub(super) fn log_refused(&mut self, group: GroupId) {
        self.logs.reading.remove(&group);
    }

    /// The server cannot say now what is in the log: not before this time.
    pub(super) fn log_later(&mut self, now: MonoUs, group: GroupId, after_ms: u64) {
        let Some(reading) = self.logs.reading.get_mut(&group) else { return };
        reading.asked = false;
        reading.pause(now, after_ms * 1000);
    }

    /// A page of a group's log.
    pub(super) fn log_read(
        &mut self,
        now: MonoUs,
        group: GroupId,
        page: LogPage,
        out: &mut Vec<Effect>,
    ) -> Result<(), FormatError> {
        let mut new = Vec::with_capacity(page.messages.len());
        for place in page.messages {
            let at = place.in_group().filter(|at| at.group == group);
            let seen = self.logs.known.logged(at.ok_or(FormatError::OutOfBounds("in_group"))?);
            match seen {
                Seen::ByLog => self.counters.redelivered += 1,
                Seen::Next => new.push(place),
                Seen::Behind(skipped) => {
                    self.counters.group_gaps += 1;
                    out.push(Effect::Event(Event::GroupGap(skipped)));
                    new.push(place);
                }
            }
        }
        let reading = self.logs.reading.entry(group).or_default();
        (reading.asked, reading.more) = (false, page.more);
        if !new.is_empty() {
            reading.pauses = 0;
            self.was_useful();
            let ticket = self.persist(Record::Logged { messages: new.clone() }, out);
            self.logs.writing.push_back((ticket, new));
            return Ok(());
        }
        // What a head names may come a moment later from another replica of the store.
        reading.pause(now, 0);
        reading.more = false;
        if reading.pauses >= PAUSES_MAX {
            reading.head = ConvSeq(0);
        }
        Ok(())
    }
}
