//! Erased messages: their places stay, their bodies go, from memory at once and from rows with the next
//! flush.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::account::{InboxContent, InboxItem};
use crate::clock::{Hlc, LogicalTimestamp};
use crate::id::{AccountId, MsgId};
use crate::limits;
use crate::message::{About, Act, Address};
use crate::seq::{InboxSeq, ShardSeq};

use super::Shard;
use super::hot::Hot;

/// A message whose body leaves the rows of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Erasure {
    /// Whose inbox.
    pub account: AccountId,
    /// In which conversation of theirs.
    pub conversation: Address,
    /// The message's clock.
    pub clock: Hlc,
    /// Who wrote it.
    pub author: AccountId,
    /// Its name.
    pub msg_id: MsgId,
    /// The write timestamp of what takes its place.
    pub timestamp: LogicalTimestamp,
}

/// What was erased of an account of late.
#[derive(Debug, Clone, Default)]
pub(super) struct Erased {
    /// In case the store still brings them: each with the place of what erased it.
    messages: VecDeque<(AccountId, MsgId, InboxSeq)>,
    /// Places without their bodies, with the place of what erased them. Until that is released it may be
    /// lost with this owner, and then it never was: nobody is handed such a place before.
    holes: BTreeMap<InboxSeq, InboxSeq>,
}

impl Erased {
    fn remember(&mut self, about: &About, by: InboxSeq) {
        if self.messages.len() >= limits::ERASED_REMEMBERED {
            self.messages.pop_front();
        }
        self.messages.push_back((about.author, about.msg_id, by));
    }

    /// Takes the bodies out of items that were erased.
    pub(super) fn blank(&mut self, items: &mut [InboxItem]) {
        if self.messages.is_empty() {
            return;
        }
        for item in items {
            let InboxContent::Message(message) = &item.content else { continue };
            let named = (message.sender, message.msg_id);
            let by = self.messages.iter().find(|(author, id, _)| (*author, *id) == named);
            if let Some((_, _, by)) = by {
                self.holes.insert(item.seq, *by);
                item.content = InboxContent::Hole;
            }
        }
    }

    /// Whether what erased a place may still be lost.
    pub(super) fn may_return(&self, place: InboxSeq, released: InboxSeq) -> bool {
        self.holes.get(&place).is_some_and(|by| *by > released)
    }

    /// Places up to here are released.
    pub(super) fn released(&mut self, upto: InboxSeq) {
        self.holes.retain(|_, by| *by > upto);
    }
}

impl Hot {
    /// The message at the place `by` erases an earlier one of this account's inbox.
    fn erase(&mut self, about: &About, by: InboxSeq) {
        self.erased.remember(about, by);
        let wanted = |item: &&mut InboxItem| {
            matches!(&item.content, InboxContent::Message(message)
                if message.sender == about.author && message.msg_id == about.msg_id)
        };
        let items = self.tail.items.iter_mut().chain(self.page.items.iter_mut());
        for item in items.filter(wanted) {
            self.erased.holes.insert(item.seq, by);
            item.content = InboxContent::Hole;
        }
    }
}

impl Shard {
    /// Called while an entry is applied that brings a message which erases another one, to a place of
    /// `account`.
    pub(super) fn erase(
        &mut self,
        (account, by): (AccountId, InboxSeq),
        conversation: Address,
        about: &About,
        at: ShardSeq,
    ) {
        if let Some(hot) = self.hot_mut(account) {
            hot.erase(about, by);
        }
        let timestamp = self.timestamp(at);
        self.flushing.erase(Erasure {
            account,
            conversation,
            clock: about.clock,
            author: about.author,
            msg_id: about.msg_id,
            timestamp,
        });
    }
}

/// Whether a sender may do this to a message: only authors change what they wrote.
pub(super) fn may(sender: AccountId, about: &About) -> bool {
    match about.act {
        Act::Edit | Act::Delete => about.author == sender,
        Act::React => true,
    }
}
