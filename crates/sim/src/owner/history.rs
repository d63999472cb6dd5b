//! What owners ask the store besides the log: marks, pages of history, rows whose bodies go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iris_core::account::{InboxContent, InboxItem};
use iris_core::id::{AccountId, DeviceNo, GroupId, ShardId};
use iris_core::message::{Address, Message};
use iris_core::seq::{ConvSeq, InboxSeq};
use iris_core::shard::{Conn, HistoryPage, HistoryPoint, Input, MarksPage};

use crate::store::{Answer, Failed, Key, Query, Stored, Value};
use crate::world::World;

use super::flush::Erasing;
use super::{Fetching, FlushJob, Next};

impl World {
    pub(super) fn marks_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        (account, conn, above): (AccountId, Conn, u64),
        answer: Result<Answer, Failed>,
    ) {
        // How the store cuts pages is tested with the store: here one is the whole.
        let page = answer.ok().map(|answer| {
            let rows = Self::rows_of(answer).into_iter();
            let marks = rows.filter_map(|row| match (row.key, row.cell.value) {
                (Key::Mark(_, with), Value::Mark(mark)) if mark.version > above => {
                    Some((with, mark))
                }
                _ => None,
            });
            let mut marks: Vec<_> = marks.collect();
            marks.sort_by_key(|(with, _)| *with);
            MarksPage { marks, next: None }
        });
        self.feed(owner, shard, Input::MarksLoaded { account, conn, page });
    }

    /// Where the messages of a page lie: their places are read next.
    pub(super) fn index_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        asked: Fetching,
        answer: Result<Answer, Failed>,
    ) {
        let Ok(answer) = answer else { return self.fetched(owner, shard, asked, None) };
        let wanted = |row: &Stored| match row.key {
            Key::Index(_, _, clock, place) => {
                let point = HistoryPoint { clock, place };
                asked.fetch.before.is_none_or(|before| point < before).then_some(point)
            }
            _ => None,
        };
        let limit = usize::try_from(asked.fetch.limit).expect("a page is bounded");
        let rows = Self::rows_of(answer);
        let points: Vec<_> = rows.iter().rev().filter_map(wanted).take(limit).collect();
        let Some(last) = points.iter().map(|point| point.place).max() else {
            return self.fetched(owner, shard, asked, Some(HistoryPage::default()));
        };
        let query = Query::Inbox(asked.account, last);
        self.read(owner, query, Next::FetchPlaces { shard, asked, points });
    }

    pub(super) fn places_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        asked: Fetching,
        (points, answer): (Vec<HistoryPoint>, Result<Answer, Failed>),
    ) {
        let page = answer.ok().map(|answer| {
            let places = newest_places(Self::rows_of(answer));
            let items = points.iter().filter_map(|point| places.get(&point.place)).cloned();
            let full = points.len() == usize::try_from(asked.fetch.limit).expect("bounded");
            let is_message = |item: &InboxItem| matches!(item.content, InboxContent::Message(_));
            let next = points.last().copied().filter(|_| full);
            HistoryPage { items: items.filter(is_message).collect(), next }
        });
        match page.as_ref().and_then(|page| bodies_of(&page.items)) {
            Some(places) => {
                let items = Apart::Page { asked, page: page.unwrap_or_default() };
                let next = Next::Bodies { shard, items: Box::new(items) };
                self.read(owner, Query::Bodies(places), next);
            }
            None => self.fetched(owner, shard, asked, page),
        }
    }

    /// The bodies of messages that inboxes refer to. One that is gone leaves a hole.
    pub(super) fn bodies_read(
        &mut self,
        owner: usize,
        shard: ShardId,
        items: Apart,
        answer: Result<Answer, Failed>,
    ) {
        let rows = answer.ok().map(Self::rows_of);
        let bodies: Option<BTreeMap<_, _>> = rows.map(|rows| {
            let bodies = rows.into_iter().filter_map(|row| match (row.key, row.cell.value) {
                (Key::Log(group, place), Value::Log(message)) => Some(((group, place), message)),
                _ => None,
            });
            bodies.collect()
        });
        self.book.sometimes.bodies_apart += bodies.as_ref().map_or(0, |b| b.len() as u64);
        match items {
            Apart::Inbox { account, asked, items } => {
                let items = bodies.map(|bodies| put_together(items, &bodies));
                self.feed(owner, shard, Input::InboxLoaded { account, asked, items });
            }
            Apart::Page { asked, page } => {
                let page = bodies.map(|bodies| {
                    let items = put_together(page.items, &bodies).into_iter();
                    let is_message =
                        |item: &InboxItem| matches!(item.content, InboxContent::Message(_));
                    HistoryPage { items: items.filter(is_message).collect(), ..page }
                });
                self.fetched(owner, shard, asked, page);
            }
        }
    }

    fn fetched(
        &mut self,
        owner: usize,
        shard: ShardId,
        asked: Fetching,
        page: Option<HistoryPage>,
    ) {
        let Fetching { account, conn, corr, fetch } = asked;
        self.feed(owner, shard, Input::Fetched { account, conn, corr, fetch, page });
    }

    /// The next message whose body leaves the rows: where it lies is read first.
    pub(super) fn erase_next(&mut self, owner: usize, lane: u8, job: Box<FlushJob>) {
        match job.erasures.get(job.erased) {
            Some(Erasing::Inbox(erasure)) => {
                let query = Query::Index(erasure.account, erasure.conversation);
                self.read(owner, query, Next::EraseIndex { lane, job });
            }
            Some(Erasing::Log(erasure)) => {
                let query = Query::Bodies([(erasure.group, erasure.place)].into());
                self.read(owner, query, Next::EraseLog { lane, job });
            }
            None => self.write_flush(owner, lane, job),
        }
    }

    pub(super) fn erase_place(
        &mut self,
        owner: usize,
        lane: u8,
        mut job: Box<FlushJob>,
        answer: Result<Answer, Failed>,
    ) {
        let Ok(answer) = answer else { return self.flush_step(owner, lane, job, false) };
        let Erasing::Inbox(erasure) = job.erasures[job.erased] else {
            unreachable!("its index was read")
        };
        let rows = Self::rows_of(answer);
        // Two people's messages may have one clock, and one to oneself has two places.
        let places = rows.iter().filter_map(|row| match row.key {
            Key::Index(_, _, clock, place) if clock == erasure.clock => Some(place),
            _ => None,
        });
        let places: Vec<_> = places.collect();
        match places.iter().max().copied() {
            Some(last) => {
                let query = Query::Inbox(erasure.account, last);
                self.read(owner, query, Next::ErasePlaces { lane, job, places });
            }
            None => {
                // It has no row, and gets none with a body.
                job.erased += 1;
                self.erase_next(owner, lane, job);
            }
        }
    }

    pub(super) fn erase_rows(
        &mut self,
        owner: usize,
        lane: u8,
        job: Box<FlushJob>,
        (places, answer): (Vec<InboxSeq>, Result<Answer, Failed>),
    ) {
        let Ok(answer) = answer else { return self.flush_step(owner, lane, job, false) };
        let Erasing::Inbox(erasure) = job.erasures[job.erased] else {
            unreachable!("its places were read")
        };
        let mut rows = Vec::new();
        for row in Self::rows_of(answer) {
            let Value::Run(items) = &row.cell.value else { continue };
            let is_it = |item: &InboxItem| match &item.content {
                InboxContent::Message(message) => {
                    places.contains(&item.seq)
                        && message.sender == erasure.author
                        && message.msg_id == erasure.msg_id
                }
                InboxContent::Notice(_) | InboxContent::Hole => false,
            };
            if items.iter().any(is_it) {
                let mut items = items.as_ref().clone();
                for item in items.iter_mut().filter(|item| is_it(item)) {
                    item.content = InboxContent::Hole;
                }
                rows.push(Stored::new(row.key, erasure.timestamp.get(), Value::Run(items.into())));
            }
        }
        self.write_erased(owner, lane, job, rows);
    }

    /// The row of a group's log, whose body goes.
    pub(super) fn erase_log(
        &mut self,
        owner: usize,
        lane: u8,
        job: Box<FlushJob>,
        answer: Result<Answer, Failed>,
    ) {
        let Ok(answer) = answer else { return self.flush_step(owner, lane, job, false) };
        let Erasing::Log(erasure) = job.erasures[job.erased] else {
            unreachable!("its row was read")
        };
        let rows = Self::rows_of(answer).into_iter().filter_map(|row| match &row.cell.value {
            Value::Log(message)
                if message.sender == erasure.author && message.msg_id == erasure.msg_id =>
            {
                let value = Value::Log(message.without_body().into());
                Some(Stored::new(row.key, erasure.timestamp.get(), value))
            }
            _ => None,
        });
        let rows = rows.collect();
        self.write_erased(owner, lane, job, rows);
    }

    fn write_erased(&mut self, owner: usize, lane: u8, mut job: Box<FlushJob>, rows: Vec<Stored>) {
        job.erased += 1;
        if rows.is_empty() {
            return self.erase_next(owner, lane, job);
        }
        // Its answer counts as that of the step before, so that the next erasure follows.
        job.step -= 1;
        self.write(owner, rows, Next::Flushed { lane, job });
    }
}

/// What was read of an inbox, without the bodies that are kept apart.
#[derive(Debug)]
pub(crate) enum Apart {
    Inbox { account: AccountId, asked: InboxSeq, items: Vec<InboxItem> },
    Page { asked: Fetching, page: HistoryPage },
}

/// Where the bodies are that these items refer to; nothing when they are whole.
pub(super) fn bodies_of(items: &[InboxItem]) -> Option<BTreeSet<(GroupId, ConvSeq)>> {
    let places: BTreeSet<_> = items.iter().filter_map(place_apart).collect();
    (!places.is_empty()).then_some(places)
}

fn place_apart(item: &InboxItem) -> Option<(GroupId, ConvSeq)> {
    match &item.content {
        InboxContent::Message(message) if message.is_kept_apart() => match message.to {
            Address::Group(group) => Some((group, message.place()?.seq)),
            Address::Account(_) => None,
        },
        InboxContent::Message(_) | InboxContent::Notice(_) | InboxContent::Hole => None,
    }
}

fn put_together(
    mut items: Vec<InboxItem>,
    bodies: &BTreeMap<(GroupId, ConvSeq), Arc<Message>>,
) -> Vec<InboxItem> {
    for item in &mut items {
        let Some(place) = place_apart(item) else { continue };
        // What a group says itself has no body.
        let whole = bodies
            .get(&place)
            .filter(|whole| !whole.bodies.is_empty() || whole.sender_device == DeviceNo(0));
        item.content = match whole {
            Some(whole) => InboxContent::Message(Arc::clone(whole)),
            None => InboxContent::Hole,
        };
    }
    items
}

/// What is at each place, by the newest row that has it.
fn newest_places(rows: Vec<Stored>) -> BTreeMap<InboxSeq, InboxItem> {
    let mut places: BTreeMap<InboxSeq, (i64, InboxItem)> = BTreeMap::new();
    for row in rows {
        let Value::Run(items) = &row.cell.value else { continue };
        for item in items.iter() {
            let known = places.get(&item.seq).map(|(stamp, _)| *stamp);
            if known.is_none_or(|stamp| stamp < row.cell.stamp) {
                places.insert(item.seq, (row.cell.stamp, item.clone()));
            }
        }
    }
    places.into_iter().map(|(place, (_, item))| (place, item)).collect()
}
