//! What an account knows of its groups.

use crate::clock::WallMs;
use crate::id::AccountId;
use crate::seq::ConvSeq;

use super::{Change, Place, Reach};

/// What an account knows of a group that it is or was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The place at which it came.
    pub since: ConvSeq,
    /// The place at which it left.
    pub until: Option<ConvSeq>,
    /// The place behind which it reads the group's log; nothing while its inbox holds everything.
    pub pulls: Option<ConvSeq>,
    /// When it left, by its shard's clock: places of two groups say nothing of each other. 0 while it is
    /// in it, and in rows of versions before.
    pub left_at: WallMs,
}

impl Membership {
    /// What a message at `place` makes of it for `account`; nothing where it changes nothing.
    pub fn after(
        known: Option<Self>,
        account: AccountId,
        sender: AccountId,
        change: Option<&Change>,
        (place, now): (Place, WallMs),
    ) -> Option<Self> {
        let active = known.filter(|known| known.until.is_none());
        let pulls = (place.reach == Reach::Pull).then_some(place.seq);
        let comes = match change {
            Some(Change::Create(who, _)) => who.contains(&account) || sender == account,
            Some(Change::Add(who)) => who.contains(&account),
            _ => false,
        };
        let goes = match change {
            Some(Change::Remove(who)) => who.contains(&account),
            Some(Change::Leave) => sender == account,
            _ => false,
        };
        match active {
            Some(known) if goes => Some(Self { until: Some(place.seq), left_at: now, ..known }),
            Some(known) if known.pulls.is_none() && pulls.is_some() => {
                Some(Self { pulls, ..known })
            }
            None if comes => {
                Some(Self { since: place.seq, until: None, pulls, left_at: WallMs(0) })
            }
            Some(_) | None => None,
        }
    }

    /// The places of the group's log that it may read, behind `after`: behind the first, up to the
    /// last, if there is a last.
    pub fn readable(&self, after: ConvSeq) -> Option<(ConvSeq, Option<ConvSeq>)> {
        let from = self.pulls?.max(after);
        match self.until {
            Some(until) if until <= from => None,
            until => Some((from, until)),
        }
    }
}
