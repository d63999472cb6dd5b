//! What a device knows of the groups of its account, as it follows from what it was given: how far it
//! is in each one's order, and whether a place was skipped.
//!
//! The durable state and the session keep this by the same function, so that they agree. No I/O.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use iris_core::group::{Change, Membership};
use iris_core::id::{AccountId, GroupId};
use iris_core::limits;
use iris_core::seq::ConvSeq;
use iris_proto::client_frames::ToldPlace;

use crate::place::{Content, Incoming, Place};

/// Groups that a device remembers, those that its account left included.
const KNOWN_MAX: usize = 2 * limits::MEMBERSHIPS_MAX;

/// What a device knows of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownGroup {
    /// The last place that is here.
    pub last: ConvSeq,
    /// Whether the next place must be the one after `last`: not so where the inbox went on elsewhere,
    /// and on a new device before it was told where a large group stands.
    pub anchored: bool,
    /// The place at which the account left.
    pub until: Option<ConvSeq>,
    /// The place behind which messages are read from the group's log.
    pub pulls: Option<ConvSeq>,
    /// Places that were skipped: a defect of the server each.
    pub gaps: u64,
    /// It was begun at the newest place, and nothing was read of it since.
    pub(crate) guessed: bool,
    /// Holes of the inbox when `last` came: each may have been a place of this group.
    pub(crate) holes: u64,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    pub(crate) known: BTreeMap<GroupId, KnownGroup>,
    /// Holes that the inbox had.
    pub(crate) holes: u64,
    /// Groups that the account was in before it had this device are known.
    pub(crate) listed: bool,
}

/// A place of a group was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Of which group.
    pub group: GroupId,
    /// The place that should have come.
    pub expected: ConvSeq,
    /// The one that came.
    pub found: ConvSeq,
}

/// What a place of the inbox, or of a log, is for its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing of a group, or the next place of one.
    Next,
    /// The next place, and some before it never came.
    Behind(Skipped),
    /// It comes again by the group's log, in its order there; or came already.
    ByLog,
}

impl Groups {
    /// What is known of a group.
    pub fn get(&self, group: GroupId) -> Option<&KnownGroup> {
        self.known.get(&group)
    }

    /// All that are known.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &KnownGroup)> {
        self.known.iter().map(|(group, known)| (*group, known))
    }

    /// Sets what is known of a group.
    pub(crate) fn set(&mut self, group: GroupId, known: KnownGroup) {
        self.known.insert(group, known);
        while self.known.len() > KNOWN_MAX {
            let left = self.known.iter().find(|(id, known)| **id != group && known.until.is_some());
            let any = || self.known.keys().find(|id| **id != group);
            let Some(gone) = left.map(|(id, _)| id).or_else(any).copied() else { return };
            self.known.remove(&gone);
        }
    }

    /// The inbox went on elsewhere: any place may be the next, and memberships may have changed.
    pub(crate) fn unanchor(&mut self) {
        self.listed = false;
        for known in self.known.values_mut().filter(|known| known.pulls.is_none()) {
            known.anchored = false;
        }
    }

    /// Takes a place of the inbox of `own`.
    pub(crate) fn placed(&mut self, own: AccountId, place: &Place) -> Seen {
        match &place.content {
            Content::Incoming(incoming) => match &incoming.in_group {
                Some(at) => self.incoming(own, incoming, at),
                None => Seen::Next,
            },
            Content::Hole => {
                self.holes += 1;
                Seen::Next
            }
            Content::Sent(_) | Content::Notice(_) => Seen::Next,
        }
    }

    fn incoming(&mut self, own: AccountId, incoming: &Incoming, at: &ToldPlace) -> Seen {
        let comes = comes(own, incoming.sender.account, at.change.as_ref());
        let goes = goes(own, incoming.sender.account, at.change.as_ref());
        let holes = self.holes;
        let begin = |gaps| KnownGroup {
            last: at.place,
            anchored: true,
            until: goes.then_some(at.place),
            pulls: at.pulls.then_some(at.place),
            gaps,
            guessed: false,
            holes,
        };
        let Some(known) = self.known.get_mut(&at.group) else {
            self.set(at.group, begin(0));
            return Seen::Next;
        };
        let unread = known.guessed || !known.anchored;
        if comes && (known.until.is_some() || (known.pulls.is_some() && unread)) {
            *known = begin(known.gaps);
            return Seen::Next;
        }
        if known.pulls.is_some() && known.until.is_none() {
            known.until = goes.then_some(at.place);
            return Seen::ByLog;
        }
        let expected = known.last.next();
        let missing = at.place.0.abs_diff(expected.0);
        // What was erased or has expired before it came here is a hole, and does not say of what.
        let holes_since = holes.saturating_sub(known.holes);
        let whole = match known.until {
            None => missing == 0 || (at.place > expected && missing <= holes_since),
            // The change that brought the account back may be one of them.
            Some(_) => holes_since > 0,
        };
        let gaps = known.gaps + u64::from(known.anchored && !whole);
        let skipped = gaps > known.gaps;
        let last = known.last.max(at.place);
        let until = known.until.filter(|_| !whole).or(goes.then_some(at.place));
        let pulls = known.pulls.or(at.pulls.then_some(at.place));
        *known = KnownGroup { last, anchored: true, until, pulls, gaps, guessed: false, holes };
        if skipped {
            Seen::Behind(Skipped { group: at.group, expected, found: at.place })
        } else {
            Seen::Next
        }
    }

    /// Takes a place of a large group's log.
    pub(crate) fn logged(&mut self, at: &ToldPlace) -> Seen {
        let Some(known) = self.known.get_mut(&at.group) else { return Seen::ByLog };
        if at.place <= known.last || known.pulls.is_none() {
            return Seen::ByLog;
        }
        let expected = known.last.next();
        let skipped = at.place > expected;
        known.gaps += u64::from(skipped);
        (known.last, known.guessed) = (at.place, false);
        if skipped {
            Seen::Behind(Skipped { group: at.group, expected, found: at.place })
        } else {
            Seen::Next
        }
    }

    /// What the server says of the groups of the account. A large one that this device was never told
    /// of is read from where it stands then; one that became large unseen, from there on.
    pub(crate) fn list(&mut self, memberships: &[(GroupId, Membership)]) -> Vec<GroupId> {
        self.listed = true;
        let mut changed = Vec::new();
        for (group, membership) in memberships {
            let (Some(pulls), None) = (membership.pulls, membership.until) else { continue };
            match self.known.get_mut(group) {
                None => {
                    self.set(*group, KnownGroup { pulls: Some(pulls), ..KnownGroup::default() });
                }
                Some(known) if !known.anchored && known.pulls.is_none() => {
                    (known.last, known.anchored) = (pulls.max(known.last), true);
                    (known.pulls, known.until) = (Some(pulls), None);
                }
                Some(_) => continue,
            }
            changed.push(*group);
        }
        changed
    }

    /// A large group stands at `head`. Answers whether it is read from there on, and was not before.
    pub(crate) fn begin_at(&mut self, group: GroupId, head: ConvSeq) -> bool {
        match self.known.get_mut(&group) {
            Some(known) if known.pulls.is_some() && !known.anchored => {
                (known.last, known.anchored, known.guessed) = (head.max(known.last), true, true);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The last place of a group's log that this device may want, `head` being the newest that is
    /// known; nothing where it reads no log.
    pub(crate) fn wanted(&self, group: GroupId, head: ConvSeq) -> Option<ConvSeq> {
        let known =
            self.known.get(&group).filter(|known| known.anchored && known.pulls.is_some())?;
        Some(known.until.map_or(head, |until| head.min(until)))
    }
}

/// Whether a change brings `own` into the group.
fn comes(own: AccountId, sender: AccountId, change: Option<&Change>) -> bool {
    match change {
        Some(Change::Create(who, _)) => sender == own || who.contains(&own),
        Some(Change::Add(who)) => who.contains(&own),
        Some(Change::Remove(_) | Change::Leave | Change::Promote(..) | Change::Set(_)) | None => {
            false
        }
    }
}

/// Whether a change takes `own` out of it.
fn goes(own: AccountId, sender: AccountId, change: Option<&Change>) -> bool {
    match change {
        Some(Change::Remove(who)) => who.contains(&own),
        Some(Change::Leave) => sender == own,
        Some(Change::Create(..) | Change::Add(_) | Change::Promote(..) | Change::Set(_)) | None => {
            false
        }
    }
}
