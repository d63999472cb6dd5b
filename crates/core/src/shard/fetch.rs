//! History: older messages of one conversation, read on demand, beside the stream of deliveries.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::account::{InboxContent, InboxItem};
use crate::clock::Now;
use crate::code::Code;
use crate::id::AccountId;
use crate::limits;
use crate::message::Address;

use super::Shard;
use super::effect::{CallAnswer, Effect, ToConn};
use super::hot::{Conn, Hot};
use super::input::{Fetch, HistoryPage, HistoryPoint};

impl Shard {
    /// A device asks for a page.
    pub(super) fn fetch(&mut self, conn: Conn, corr: u32, fetch: Fetch, out: &mut Vec<Effect>) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        let here = in_memory(hot, account, fetch);
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        let known = attachment.fetching.contains_key(&corr);
        if known || attachment.fetching.len() >= limits::FETCHES_MAX {
            let answer = CallAnswer::Refused(Code::RateLimited, "too many pages at once");
            let what = ToConn::Result { corr, answer };
            return out.push(Effect::ToConn { conn, what });
        }
        attachment.fetching.insert(corr, here);
        let limit = fetch.limit.clamp(1, limits::PAGE_MESSAGES_MAX);
        out.push(Effect::Fetch { account, conn, corr, fetch: Fetch { limit, ..fetch } });
    }

    /// The store's part of a page. What it does not have yet is in memory.
    pub(super) fn fetched(
        &mut self,
        now: Now,
        (account, conn, corr): (AccountId, Conn, u32),
        fetch: Fetch,
        page: Option<HistoryPage>,
        out: &mut Vec<Effect>,
    ) {
        let Some((_, device)) = self.attached(conn).filter(|(known, _)| *known == account) else {
            return;
        };
        let Some(hot) = self.hot_mut(account) else { return };
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        let Some(here) = attachment.fetching.remove(&corr) else { return };
        let Some(page) = page else {
            let answer = CallAnswer::Refused(Code::StoreUnavailable, "the store did not answer");
            return out.push(Effect::ToConn { conn, what: ToConn::Result { corr, answer } });
        };
        let within = |item: &InboxItem| {
            let after = page.next.is_none_or(|next| point_of(item) >= next);
            after && item.seq <= hot.released_head
        };
        let here = here.into_iter().chain(in_memory(hot, account, fetch)).filter(within);
        let mut places: BTreeMap<HistoryPoint, InboxItem> = BTreeMap::new();
        places.extend(page.items.iter().cloned().chain(here).map(|item| (point_of(&item), item)));
        let found = places.len();
        let mut items: Vec<_> = places.into_values().rev().collect();
        items.truncate(usize::try_from(fetch.limit).unwrap_or(usize::MAX));
        bound(&mut items);
        let cut = items.last().filter(|_| items.len() < found).map(point_of);
        let next = cut.or(page.next);
        hot.erased.blank(&mut items);
        items.iter_mut().for_each(|item| item.expire(now.wall));
        items.retain(|item| matches!(item.content, InboxContent::Message(_)));
        out.push(Effect::ToConn { conn, what: ToConn::Page { corr, device, items, next } });
    }
}

/// The newest places of the conversation: they may not be in rows yet.
fn in_memory(hot: &Hot, account: AccountId, fetch: Fetch) -> Vec<InboxItem> {
    let wanted = |item: &&InboxItem| {
        fetch.before.is_none_or(|before| point_of(item) < before)
            && belongs(item, account, fetch.conversation)
    };
    hot.tail.items.iter().filter(wanted).cloned().collect()
}

fn belongs(item: &InboxItem, account: AccountId, conversation: Address) -> bool {
    match &item.content {
        InboxContent::Message(message) => {
            let told = message.group.is_none() || message.place().is_some();
            told && message.conversation(account) == conversation
        }
        InboxContent::Notice(_) | InboxContent::Hole => false,
    }
}

/// Where a message is in its conversation.
fn point_of(item: &InboxItem) -> HistoryPoint {
    let clock = match &item.content {
        InboxContent::Message(message) => message.clock,
        InboxContent::Notice(_) | InboxContent::Hole => item.clock,
    };
    HistoryPoint { clock, place: item.seq }
}

/// As much as one frame holds.
fn bound(items: &mut Vec<InboxItem>) {
    let mut bytes = 0;
    let fits = items.iter().take_while(|item| {
        bytes += item.weight();
        bytes <= limits::PAGE_BYTES_MAX
    });
    let count = fits.count().max(1);
    items.truncate(count);
}
