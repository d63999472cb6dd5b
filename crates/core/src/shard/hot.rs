//! An account in memory: its durable state and what only this process knows.

use std::collections::{BTreeMap, VecDeque};

use crate::account::{Account, InboxItem};
use crate::clock::{MonoUs, WallMs};
use crate::id::DeviceNo;
use crate::limits;
use crate::seq::{ClientSeq, InboxSeq};

use super::input::{Input, LinkNo};

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
    Input(Input),
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
    /// What the device allows to be without its ack.
    pub(super) window_messages: u64,
    pub(super) window_bytes: u64,
    /// Delivered and not acknowledged: the last place of a frame, and its weight.
    pub(super) outstanding: VecDeque<(InboxSeq, u64, u64)>,
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
            used_at: now,
        }
    }

    /// Whether it may leave memory: nothing of it would be lost or interrupted.
    pub(super) fn is_evictable(&self, now: MonoUs, crowded: bool) -> bool {
        let idle = now.ms_since(self.used_at) >= limits::ACCOUNT_IDLE_MS || crowded;
        let needed = self.dirty || self.flushing || !self.attachments.is_empty();
        idle && !needed && self.page.asked.is_none() && self.is_released()
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
    pub(super) fn handed_out(&mut self, last: InboxSeq, messages: u64, bytes: u64) {
        self.delivered = last;
        self.outstanding.push_back((last, messages, bytes));
        self.outstanding_messages += messages;
        self.outstanding_bytes += bytes;
    }

    /// The device has everything up to `seq`; frames are given back whole.
    pub(super) fn acknowledged(&mut self, seq: InboxSeq) {
        while self.outstanding.front().is_some_and(|(last, _, _)| *last <= seq) {
            if let Some((_, messages, bytes)) = self.outstanding.pop_front() {
                self.outstanding_messages -= messages;
                self.outstanding_bytes -= bytes;
            }
        }
    }
}
