//! An account in memory: its durable state and what only this process knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::account::{Account, InboxItem};
use crate::clock::{Hlc, MonoUs, WallMs};
use crate::id::{AccountId, DeviceNo, GroupId};
use crate::limits;
use crate::message::Address;
use crate::rate::Pace;
use crate::seq::{ClientSeq, ConvSeq, InboxSeq};
use crate::signal::Presence;

use super::erase::Erased;
use super::input::{Input, LinkNo};
use super::marks::MarkFeed;
use super::receipts::Unreceipted;

/// A client's connection: the stream of its edge and the edge's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn {
    /// The edge's stream.
    pub link: LinkNo,
    /// The edge's number.
    pub id: u64,
}

/// A place in memory for an account.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    /// Asked of the store; what came meanwhile waits in order.
    Loading(Vec<Waiting>),
    /// Here.
    Hot(Box<Hot>),
}

/// What waits for an account.
#[derive(Debug, Clone)]
pub(super) enum Waiting {
    /// An input of a client or of the directory.
    Input(Box<Input>),
    /// The items of this source, which the peer holds.
    Inbound(crate::id::ShardId),
}

/// An account in memory.
#[derive(Debug, Clone)]
pub(super) struct Hot {
    /// Nothing for an account that does not exist.
    pub(super) state: Option<Account>,
    /// Places up to here are released: they may be delivered.
    pub(super) released_head: InboxSeq,
    /// The newest places, contiguous up to the head.
    pub(super) tail: Tail,
    /// Places up to here are in derived rows, or need none.
    pub(super) materialized: InboxSeq,
    /// The state differs from its derived row.
    pub(super) dirty: bool,
    /// A flush that holds this account's state is being written.
    pub(super) flushing: bool,
    pub(super) attachments: BTreeMap<DeviceNo, Attachment>,
    /// A page of older places, for devices that lag behind the tail.
    pub(super) page: Page,
    /// Places that a device has and that nobody made receipts of.
    pub(super) unreceipted: Unreceipted,
    /// For whom receipts were made last, up to which clocks: delivered and read.
    pub(super) receipted: BTreeMap<AccountId, (Hlc, Hlc)>,
    pub(super) erased: Erased,
    /// How fast it sends.
    pub(super) pace: Pace,
    pub(super) used_at: MonoUs,
}

/// The newest places of an inbox.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    pub(super) items: VecDeque<InboxItem>,
}

/// Older places, read from the store; one page at a time for all devices of an account.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) items: VecDeque<InboxItem>,
    pub(super) asked: Option<InboxSeq>,
}

/// A device's connection.
#[derive(Debug, Clone)]
pub(super) struct Attachment {
    pub(super) conn: Conn,
    /// When the client began it.
    pub(super) begun: WallMs,
    /// Places up to here were handed to the connection.
    pub(super) delivered: InboxSeq,
    /// Places behind the first, up to the second, were handed to it by an earlier owner, and are not
    /// acknowledged.
    pub(super) handed_before: (InboxSeq, InboxSeq),
    /// Places up to here are on the device's disk.
    pub(super) disk: InboxSeq,
    /// What the device allows to be without its ack.
    pub(super) window_messages: u64,
    pub(super) window_bytes: u64,
    /// Delivered and not acknowledged.
    pub(super) outstanding: VecDeque<Delivered>,
    pub(super) outstanding_messages: u64,
    pub(super) outstanding_bytes: u64,
    /// The number up to which decided sends were acknowledged.
    pub(super) acked: ClientSeq,
    /// Refusals up to this number were told.
    pub(super) told: ClientSeq,
    /// The gap that was already complained of.
    pub(super) nacked: Option<ClientSeq>,
    /// The edge's stream took no more.
    pub(super) blocked: bool,
    /// It was told that it is attached. Nothing else goes out before: a device that was not greeted
    /// takes any other frame for an error.
    pub(super) greeted: bool,
    /// Marks that it was not told.
    pub(super) marks: MarkFeed,
    /// Its person looks at something else.
    pub(super) away: bool,
    /// Whose presence it watches.
    pub(super) watching: BTreeSet<AccountId>,
    /// What it was not told of those.
    pub(super) presences: BTreeMap<AccountId, Presence>,
    /// The newest places of large groups that it was not told, and those that it was.
    pub(super) heads: BTreeMap<GroupId, ConvSeq>,
    pub(super) heads_told: BTreeMap<GroupId, ConvSeq>,
    /// To whom its person writes something, as was last signalled, and when.
    pub(super) typed: Option<(Address, MonoUs)>,
    /// Pages of history under way, by correlation id, each with the places of its conversation that
    /// were in memory when it was asked for: they may be in rows, and gone from here, too late for
    /// what the store answers.
    pub(super) fetching: BTreeMap<u32, Vec<InboxItem>>,
}

/// Places behind the first, up to the second.
pub(super) type Places = Option<(InboxSeq, InboxSeq)>;

/// A frame of deliveries.
#[derive(Debug, Clone)]
pub(super) struct Delivered {
    /// Its last place.
    pub(super) last: InboxSeq,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// The newest clock of each writer in it.
    pub(super) newest: BTreeMap<AccountId, Hlc>,
}

impl Hot {
    /// An account as the store has it.
    pub(super) fn new(state: Option<Account>, now: MonoUs) -> Self {
        let head = state.as_ref().map_or(InboxSeq(0), |account| account.head);
        Self {
            state,
            released_head: head,
            tail: Tail::default(),
            materialized: head,
            dirty: false,
            flushing: false,
            attachments: BTreeMap::new(),
            page: Page::default(),
            unreceipted: Unreceipted::default(),
            receipted: BTreeMap::new(),
            erased: Erased::default(),
            pace: Pace::default(),
            used_at: now,
        }
    }

    /// Whether it may leave memory: nothing of it would be lost or interrupted.
    pub(super) fn is_evictable(&self, now: MonoUs, crowded: bool) -> bool {
        let idle = now.ms_since(self.used_at) >= limits::ACCOUNT_IDLE_MS || crowded;
        let needed = self.dirty || self.flushing || !self.attachments.is_empty();
        idle && !needed && self.page.asked.is_none() && self.is_released()
    }

    /// A receipt was made for `with`: no second one is, for the same.
    pub(super) fn remember_receipt(&mut self, with: AccountId, upto: (Hlc, Hlc)) {
        self.receipted.insert(with, upto);
        if self.receipted.len() > limits::RECEIPTS_REMEMBERED {
            let oldest = self.receipted.iter().min_by_key(|(_, upto)| **upto).map(|(id, _)| *id);
            oldest.and_then(|oldest| self.receipted.remove(&oldest));
        }
    }

    /// The item at a place, if it is in memory.
    pub(super) fn place(&self, seq: InboxSeq) -> Option<&InboxItem> {
        self.tail.get(seq).or_else(|| self.page.get(seq))
    }

    /// Drops the page once every attached device is past it.
    pub(super) fn trim_page(&mut self) {
        let slowest = self.attachments.values().map(|a| a.delivered).min();
        let last = self.page.items.back().map(|item| item.seq);
        if slowest.zip(last).is_none_or(|(delivered, last)| delivered >= last) {
            self.page.items = VecDeque::new();
        }
    }

    fn is_released(&self) -> bool {
        self.state.as_ref().is_none_or(|account| account.head == self.released_head)
    }

    /// Drops cached places that no attached device needs and that are in derived rows.
    pub(super) fn trim_tail(&mut self) {
        let needed = self.attachments.values().map(|a| a.delivered).min();
        let keep_above = needed.unwrap_or(self.materialized).min(self.materialized);
        while self.tail.items.len() > limits::TAIL_ITEMS_KEPT
            && self.tail.items.front().is_some_and(|item| item.seq <= keep_above)
        {
            self.tail.items.pop_front();
        }
        // A device that lags far behind reads from the store: it must not pin the tail.
        while self.tail.items.len() > 4 * limits::TAIL_ITEMS_KEPT
            && self.tail.items.front().is_some_and(|item| item.seq <= self.materialized)
        {
            self.tail.items.pop_front();
        }
    }
}

impl Tail {
    /// The first place in it.
    pub(super) fn first(&self) -> Option<InboxSeq> {
        self.items.front().map(|item| item.seq)
    }

    /// The item at a place.
    pub(super) fn get(&self, seq: InboxSeq) -> Option<&InboxItem> {
        at(&self.items, seq)
    }

    /// Adds the next place.
    pub(super) fn push(&mut self, item: InboxItem) {
        let follows = self.items.back().is_none_or(|last| last.seq.next() == item.seq);
        assert!(follows, "an inbox grows by one place at a time");
        self.items.push_back(item);
    }
}

impl Page {
    /// The item at a place.
    pub(super) fn get(&self, seq: InboxSeq) -> Option<&InboxItem> {
        at(&self.items, seq)
    }
}

/// Finds a place among contiguous ones.
fn at(items: &VecDeque<InboxItem>, seq: InboxSeq) -> Option<&InboxItem> {
    let first = items.front()?.seq;
    let index = seq.0.checked_sub(first.0)?;
    items.get(usize::try_from(index).ok()?)
}

impl Attachment {
    /// Whether the device takes a frame of `messages` and together `bytes`; a single message always
    /// fits an empty window, however large it is.
    pub(super) fn takes(&self, messages: u64, bytes: u64) -> bool {
        let alone = self.outstanding_messages == 0 && messages == 1;
        let within = self.outstanding_messages + messages <= self.window_messages
            && self.outstanding_bytes + bytes <= self.window_bytes;
        within || (alone && self.window_messages > 0)
    }

    /// A frame went out.
    pub(super) fn handed_out(&mut self, frame: Delivered) {
        self.delivered = frame.last;
        self.outstanding_messages += frame.messages;
        self.outstanding_bytes += frame.bytes;
        self.outstanding.push_back(frame);
    }

    /// The device has everything up to `seq`: which of it an earlier owner handed out.
    pub(super) fn acknowledged_before(&mut self, seq: InboxSeq) -> Places {
        let (after, upto) = self.handed_before;
        let had = seq.min(upto);
        (had > after).then(|| {
            self.handed_before.0 = had;
            (after, had)
        })
    }

    /// The device has everything up to `seq`; frames are given back whole. Answers the newest clock of
    /// each writer in them, and the places of a frame that it has in part.
    pub(super) fn acknowledged(&mut self, seq: InboxSeq) -> (Vec<(AccountId, Hlc)>, Places) {
        let mut newest = Vec::new();
        let mut after = self.disk;
        while let Some(frame) = self.outstanding.pop_front_if(|frame| frame.last <= seq) {
            after = after.max(frame.last);
            self.outstanding_messages -= frame.messages;
            self.outstanding_bytes -= frame.bytes;
            newest.extend(frame.newest);
        }
        self.disk = self.disk.max(seq);
        let part = (after < seq && !self.outstanding.is_empty()).then_some((after, seq));
        (newest, part)
    }
}
