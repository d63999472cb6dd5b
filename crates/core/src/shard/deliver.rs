//! Delivery: contiguous places of the inbox, as far as each device's credit goes.
//!
//! Live delivery and catch-up are one stream. A device that lags reads from the store page by page;
//! nothing is queued for it.

use std::collections::VecDeque;

use crate::account::{InboxContent, InboxItem};
use crate::clock::WallMs;
use crate::code::Code;
use crate::id::{AccountId, DeviceNo};
use crate::limits;
use crate::seq::InboxSeq;

use super::Shard;
use super::attach::close;
use super::effect::{Effect, ToConn};
use super::hot::{Delivered, Hot};
use super::presence::next_presences;
use super::pulls::next_heads;
use super::receipts::{newest_of, read_for_receipts};

/// What a device gets next.
enum Next {
    /// Nothing now: no news, no credit, not greeted yet, or the edge takes no more.
    Nothing,
    /// These places, of together this weight.
    Items(Vec<InboxItem>, u64),
    /// Places after this one, which are in the store only.
    Load(InboxSeq),
}

impl Shard {
    /// Delivers to every account that has news.
    pub(super) fn pump(&mut self, now: WallMs, out: &mut Vec<Effect>) {
        let admitting = self.admitting;
        while let Some(account) = self.to_pump.pop_first() {
            let Some(hot) = self.hot_mut(account) else { continue };
            let devices: Vec<_> = hot.attachments.keys().copied().collect();
            for &device in &devices {
                pump_device(now, hot, (account, device), out);
                next_presences(hot, device, out);
                next_heads(hot, device, out);
            }
            if admitting {
                read_for_receipts(hot, account, out);
            }
            hot.trim_page();
            hot.trim_tail();
            for device in devices {
                self.next_marks(account, device, out);
            }
        }
    }

    pub(super) fn inbox_loaded(
        &mut self,
        account: AccountId,
        asked: InboxSeq,
        items: Option<Vec<InboxItem>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(hot) = self.hot_mut(account) else { return };
        if hot.page.asked != Some(asked) {
            return;
        }
        hot.page.asked = None;
        let Some(mut items) = items else {
            self.unread.insert(account);
            return;
        };
        hot.erased.blank(&mut items);
        let below_tail = hot.tail.first().unwrap_or(hot.released_head.next());
        let expired = items.first().map_or(below_tail, |item| item.seq).prev();
        hot.page.items = with_holes(items);
        self.to_pump.insert(account);
        if expired > asked {
            self.expire(account, expired, out);
        }
    }

    /// The places up to `upto` are past their retention: devices that lag behind start again.
    fn expire(&mut self, account: AccountId, upto: InboxSeq, out: &mut Vec<Effect>) {
        let noted = self.progress.floors.entry(account).or_default();
        *noted = upto.max(*noted);
        let Some(hot) = self.hot_mut(account) else { return };
        hot.dirty = true;
        let behind = hot.attachments.iter().filter(|(_, a)| a.delivered < upto);
        let behind: Vec<_> = behind.map(|(device, _)| *device).collect();
        for device in behind {
            if let Some(conn) = self.unlink(account, device) {
                close(conn, Code::CursorTooOld, "these messages are past their retention", out);
            }
        }
    }
}

/// Places that are missing between others were erased or have expired: they keep their numbers.
fn with_holes(items: Vec<InboxItem>) -> VecDeque<InboxItem> {
    let mut dense = VecDeque::with_capacity(items.len());
    for item in items {
        let mut expected = dense.back().map_or(item.seq, |last: &InboxItem| last.seq.next());
        while expected < item.seq {
            let content = InboxContent::Hole;
            dense.push_back(InboxItem { seq: expected, clock: item.clock, content });
            expected = expected.next();
        }
        if expected == item.seq {
            dense.push_back(item);
        }
    }
    dense
}

fn pump_device(
    now: WallMs,
    hot: &mut Hot,
    (account, device): (AccountId, DeviceNo),
    out: &mut Vec<Effect>,
) {
    loop {
        match next(hot, device) {
            Next::Nothing => return,
            Next::Load(after) => {
                let upto = hot.tail.first().unwrap_or(hot.released_head.next()).prev();
                hot.page.asked = Some(after);
                out.push(Effect::LoadInbox { account, after, upto });
                return;
            }
            Next::Items(mut items, bytes) => {
                items.iter_mut().for_each(|item| item.expire(now));
                let newest = newest_of(account, Some(device), items.iter());
                let Some(attachment) = hot.attachments.get_mut(&device) else { return };
                let Some(last) = items.last().map(|item| item.seq) else { return };
                let messages = count(items.len());
                attachment.handed_out(Delivered { last, messages, bytes, newest });
                let what = ToConn::Deliver { device, items };
                out.push(Effect::ToConn { conn: attachment.conn, what });
            }
        }
    }
}

fn next(hot: &Hot, device: DeviceNo) -> Next {
    let Some(attachment) = hot.attachments.get(&device) else { return Next::Nothing };
    let first = attachment.delivered.next();
    if attachment.blocked || !attachment.greeted || first > hot.released_head {
        return Next::Nothing;
    }
    if hot.place(first).is_none() {
        return if hot.page.asked.is_none() { Next::Load(first.prev()) } else { Next::Nothing };
    }
    let mut items: Vec<InboxItem> = Vec::new();
    let mut bytes = 0;
    let mut at = first;
    while at <= hot.released_head && items.len() < limits::DELIVER_ITEMS_MAX {
        let Some(item) = hot.place(at) else { break };
        if hot.erased.may_return(at, hot.released_head) {
            break;
        }
        let with_it = bytes + count(item.weight());
        let frame_full = !items.is_empty() && with_it > count(limits::DELIVER_BYTES_MAX);
        if frame_full || !attachment.takes(count(items.len() + 1), with_it) {
            break;
        }
        items.push(item.clone());
        (bytes, at) = (with_it, at.next());
    }
    if items.is_empty() { Next::Nothing } else { Next::Items(items, bytes) }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).expect("a count of what is in memory")
}
