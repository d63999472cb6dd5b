//! What a person wishes of others: whom they block, who are their contacts, who sees when they are
//! there.

use std::collections::BTreeSet;

use crate::id::AccountId;
use crate::limits;

/// The wishes of one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relations {
    /// Nothing of these reaches the account, and they see nothing of it.
    pub blocked: BTreeSet<AccountId>,
    /// People whom the account knows.
    pub contacts: BTreeSet<AccountId>,
    /// Who sees whether the account is there.
    pub presence: Audience,
    /// Whether others are told what the account reads.
    pub tells_reads: Tells,
}

/// Who may see something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Everybody who is not blocked.
    #[default]
    Everyone,
    /// The account's contacts.
    Contacts,
    /// Nobody.
    Nobody,
}

/// Whether something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tells {
    /// It is.
    #[default]
    Yes,
    /// It is not.
    No,
}

/// A change of wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Block somebody, or not any more.
    Block(AccountId, bool),
    /// Know somebody, or not any more.
    Contact(AccountId, bool),
    /// Show presence to these.
    Presence(Audience),
    /// Tell what is read, or not.
    TellReads(Tells),
}

/// A list is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list holds at most {0}")]
pub struct ListFull(pub usize);

impl Relations {
    /// Whether `other` sees that the account is there.
    pub fn shows_presence_to(&self, other: AccountId) -> bool {
        let allowed = match self.presence {
            Audience::Everyone => true,
            Audience::Contacts => self.contacts.contains(&other),
            Audience::Nobody => false,
        };
        allowed && !self.blocked.contains(&other)
    }

    /// Whether a wish has room.
    pub fn check(&self, wish: Wish) -> Result<(), ListFull> {
        let (list, of, on, most) = match wish {
            Wish::Block(of, on) => (&self.blocked, of, on, limits::BLOCKED_MAX),
            Wish::Contact(of, on) => (&self.contacts, of, on, limits::CONTACTS_MAX),
            Wish::Presence(_) | Wish::TellReads(_) => return Ok(()),
        };
        let fits = !on || list.len() < most || list.contains(&of);
        if fits { Ok(()) } else { Err(ListFull(most)) }
    }

    /// Whether a wish changes nothing.
    pub fn has(&self, wish: Wish) -> bool {
        match wish {
            Wish::Block(of, on) => self.blocked.contains(&of) == on,
            Wish::Contact(of, on) => self.contacts.contains(&of) == on,
            Wish::Presence(audience) => self.presence == audience,
            Wish::TellReads(tells) => self.tells_reads == tells,
        }
    }

    /// Fulfils a wish.
    pub fn fulfil(&mut self, wish: Wish) {
        let set = |list: &mut BTreeSet<AccountId>, of, on| {
            if on { list.insert(of) } else { list.remove(&of) }
        };
        match wish {
            Wish::Block(of, on) => drop(set(&mut self.blocked, of, on)),
            Wish::Contact(of, on) => drop(set(&mut self.contacts, of, on)),
            Wish::Presence(audience) => self.presence = audience,
            Wish::TellReads(tells) => self.tells_reads = tells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ShardCount, ShardId, TenantNo};

    fn account(n: u128) -> AccountId {
        let count = ShardCount::new(1).expect("a power of two");
        AccountId::in_shard(ShardId::new(0), count, TenantNo(0), n)
    }

    #[test]
    fn the_blocked_see_nothing_whatever_else_is_wished() {
        let mut relations = Relations::default();
        assert!(relations.shows_presence_to(account(1)));
        relations.fulfil(Wish::Contact(account(1), true));
        relations.fulfil(Wish::Presence(Audience::Contacts));
        assert!(relations.shows_presence_to(account(1)));
        assert!(!relations.shows_presence_to(account(2)));
        relations.fulfil(Wish::Block(account(1), true));
        assert!(!relations.shows_presence_to(account(1)));
        relations.fulfil(Wish::Block(account(1), false));
        relations.fulfil(Wish::Presence(Audience::Nobody));
        assert!(!relations.shows_presence_to(account(1)));
    }

    #[test]
    fn lists_are_bounded() {
        let mut relations = Relations::default();
        for n in 0..limits::BLOCKED_MAX as u128 {
            let wish = Wish::Block(account(n), true);
            assert_eq!(relations.check(wish), Ok(()));
            relations.fulfil(wish);
        }
        let one_more = Wish::Block(account(u128::MAX), true);
        assert_eq!(relations.check(one_more), Err(ListFull(limits::BLOCKED_MAX)));
        assert_eq!(relations.check(Wish::Block(account(0), true)), Ok(()), "it is there already");
        assert_eq!(relations.check(Wish::Block(account(0), false)), Ok(()));
        assert!(relations.has(Wish::Block(account(0), true)));
    }
}
