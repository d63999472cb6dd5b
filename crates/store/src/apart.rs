//! Messages of groups that are not small: rows of inboxes have them without their bodies, and the row
//! of the group's log has each of them once, for every inbox that refers to it.
//! When such a row is written, whole and erased, says [`iris_core::group::stamp`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iris_core::account::{InboxContent, InboxItem};
use iris_core::id::GroupId;
use iris_core::message::{Address, Message};
use iris_core::seq::ConvSeq;

/// Members of one part of a roster.
pub(crate) const ROSTER_PAGE: usize = 1000;

/// A row of a group's log, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) message: Arc<Message>,
    /// Its body was erased, or has expired.
    pub(crate) is_gone: bool,
}

/// What was found of what items refer to.
pub(crate) type Bodies = BTreeMap<(GroupId, ConvSeq), Logged>;

/// An item, as its row has it.
pub(crate) fn stripped(item: &InboxItem) -> InboxItem {
    match &item.content {
        InboxContent::Message(message) if message.is_kept_apart() => {
            let content = InboxContent::Message(Arc::new(message.without_body()));
            InboxItem { content, ..item.clone() }
        }
        InboxContent::Message(_) | InboxContent::Notice(_) | InboxContent::Hole => item.clone(),
    }
}

/// Where the body of an item is, if its row does not have it.
pub(crate) fn reference(item: &InboxItem) -> Option<(GroupId, ConvSeq)> {
    match &item.content {
        InboxContent::Message(message) if message.is_kept_apart() => place_of(message),
        InboxContent::Message(_) | InboxContent::Notice(_) | InboxContent::Hole => None,
    }
}

/// A message's row in its group's log.
pub(crate) fn place_of(message: &Message) -> Option<(GroupId, ConvSeq)> {
    match (message.to, message.place()) {
        (Address::Group(group), Some(place)) => Some((group, place.seq)),
        (Address::Group(_), None) | (Address::Account(_), _) => None,
    }
}

/// What items refer to, by group.
pub(crate) fn references(items: &[InboxItem]) -> BTreeMap<GroupId, BTreeSet<ConvSeq>> {
    let mut references: BTreeMap<GroupId, BTreeSet<ConvSeq>> = BTreeMap::new();
    for (group, place) in items.iter().filter_map(reference) {
        references.entry(group).or_default().insert(place);
    }
    references
}

/// A page of an inbox, of bounded weight: what a body weighs is known once it is there.
#[derive(Debug)]
pub(crate) struct Page {
    items: Vec<InboxItem>,
    bytes: usize,
    bytes_max: usize,
}

impl Page {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { items: Vec::new(), bytes: 0, bytes_max }
    }

    /// Takes an item unless it would be too much. The first never is.
    pub(crate) fn takes(&mut self, item: InboxItem) -> bool {
        let bytes = self.bytes.saturating_add(item.weight());
        if !self.items.is_empty() && bytes > self.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.items.push(item);
        true
    }

    pub(crate) fn into_items(self) -> Vec<InboxItem> {
        self.items
    }
}

/// A message of a log, for a page of it: one that is gone has no body.
pub(crate) fn shown(Logged { message, is_gone }: Logged) -> Arc<Message> {
    if is_gone { Arc::new(message.without_body()) } else { message }
}

/// Puts an item together with its body. Where that is gone, so is the message.
pub(crate) fn join(item: &mut InboxItem, found: Option<&Logged>) {
    let InboxContent::Message(message) = &item.content else { return };
    let same = |found: &&Logged| {
        let found = &found.message;
        found.sender == message.sender && found.msg_id == message.msg_id
    };
    item.content = match found.filter(|found| !found.is_gone).filter(same) {
        Some(found) => InboxContent::Message(Arc::clone(&found.message)),
        None => InboxContent::Hole,
    };
}

/// As [`join`], of those of the items whose rows do not have their bodies.
pub(crate) fn join_all(items: &mut [InboxItem], bodies: &Bodies) {
    for item in items {
        if let Some(place) = reference(item) {
            join(item, bodies.get(&place));
        }
    }
}
