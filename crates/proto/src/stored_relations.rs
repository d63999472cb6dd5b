//! What accounts wish of others, as stored.

use std::collections::BTreeSet;

use bytes::Bytes;
use iris_core::id::AccountId;
use iris_core::relation::{Audience, Relations, Tells, Wish};
use prost::Message as _;

use crate::stored_entries::{account, account_bytes};
use crate::{FormatError, stored};

/// The wishes of an account's row.
pub fn encode_relations(relations: &Relations) -> Bytes {
    relations_to_stored(relations).encode_to_vec().into()
}

/// The wishes of an account's row.
pub fn decode_relations(bytes: Bytes) -> Result<Relations, FormatError> {
    relations_from_stored(stored::Relations::decode(bytes)?)
}

/// The wishes of an account, as another pod gets them.
pub fn relations_to_stored(relations: &Relations) -> stored::Relations {
    let list = |list: &BTreeSet<AccountId>| list.iter().copied().map(account_bytes).collect();
    stored::Relations {
        blocked: list(&relations.blocked),
        contacts: list(&relations.contacts),
        presence: audience_to_stored(relations.presence).into(),
        hide_reads: relations.tells_reads == Tells::No,
    }
}

/// The wishes of an account, as another pod sent them.
pub fn relations_from_stored(relations: stored::Relations) -> Result<Relations, FormatError> {
    let list = |list: Vec<Bytes>| -> Result<BTreeSet<AccountId>, FormatError> {
        list.iter().map(|bytes| account(bytes)).collect()
    };
    let presence = audience_from_stored(relations.presence());
    Ok(Relations {
        blocked: list(relations.blocked)?,
        contacts: list(relations.contacts)?,
        presence,
        tells_reads: tells(relations.hide_reads),
    })
}

pub(crate) fn wish_to_stored(wish: Wish) -> stored::wished::Kind {
    use stored::wished::Kind;
    let choice = |of, on| stored::Choice { account: account_bytes(of), on };
    match wish {
        Wish::Block(of, on) => Kind::Block(choice(of, on)),
        Wish::Contact(of, on) => Kind::Contact(choice(of, on)),
        Wish::Presence(audience) => Kind::Presence(audience_to_stored(audience).into()),
        Wish::TellReads(tells) => Kind::HideReads(tells == Tells::No),
    }
}

pub(crate) fn wish_from_stored(wish: stored::wished::Kind) -> Result<Wish, FormatError> {
    use stored::wished::Kind;
    Ok(match wish {
        Kind::Block(choice) => Wish::Block(account(&choice.account)?, choice.on),
        Kind::Contact(choice) => Wish::Contact(account(&choice.account)?, choice.on),
        Kind::Presence(number) => {
            let audience = stored::Audience::try_from(number).unwrap_or_default();
            Wish::Presence(audience_from_stored(audience))
        }
        Kind::HideReads(hide) => Wish::TellReads(tells(hide)),
    })
}

fn tells(hide: bool) -> Tells {
    if hide { Tells::No } else { Tells::Yes }
}

fn audience_to_stored(audience: Audience) -> stored::Audience {
    match audience {
        Audience::Everyone => stored::Audience::Everyone,
        Audience::Contacts => stored::Audience::Contacts,
        Audience::Nobody => stored::Audience::Nobody,
    }
}

/// An audience that this program does not know is taken for the smallest.
fn audience_from_stored(audience: stored::Audience) -> Audience {
    match audience {
        stored::Audience::Everyone => Audience::Everyone,
        stored::Audience::Contacts => Audience::Contacts,
        stored::Audience::Nobody | stored::Audience::Unspecified => Audience::Nobody,
    }
}
