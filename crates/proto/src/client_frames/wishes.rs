//! What people wish of others, as clients say it.

use std::collections::BTreeSet;

use bytes::Bytes;
use iris_core::id::AccountId;
use iris_core::relation::{Audience, Relations, Tells, Wish};

use super::bytes_of;
use crate::{FormatError, client};

/// A wish.
pub fn wish_from_wire(wire: client::Wish) -> Result<Wish, FormatError> {
    use client::wish::Kind;
    Ok(match wire.kind.ok_or(FormatError::Missing("wish"))? {
        Kind::Block(choice) => Wish::Block(AccountId::from_bytes(&choice.account)?, choice.on),
        Kind::Contact(choice) => Wish::Contact(AccountId::from_bytes(&choice.account)?, choice.on),
        Kind::Presence(number) => {
            let audience = client::Audience::try_from(number).unwrap_or_default();
            Wish::Presence(audience_from_wire(audience)?)
        }
        Kind::HideReads(hide) => Wish::TellReads(tells(hide)),
    })
}

/// A wish.
pub fn wish_to_wire(wish: Wish) -> client::Wish {
    use client::wish::Kind;
    let choice = |of: AccountId, on| client::Choice { account: bytes_of(of.to_bytes()), on };
    let kind = match wish {
        Wish::Block(of, on) => Kind::Block(choice(of, on)),
        Wish::Contact(of, on) => Kind::Contact(choice(of, on)),
        Wish::Presence(audience) => Kind::Presence(audience_to_wire(audience).into()),
        Wish::TellReads(tells) => Kind::HideReads(tells == Tells::No),
    };
    client::Wish { kind: Some(kind) }
}

/// All wishes of an account.
pub fn wishes_to_wire(relations: &Relations) -> client::Wishes {
    let list = |list: &BTreeSet<AccountId>| list.iter().map(|id| bytes_of(id.to_bytes())).collect();
    client::Wishes {
        blocked: list(&relations.blocked),
        contacts: list(&relations.contacts),
        presence: audience_to_wire(relations.presence).into(),
        hide_reads: relations.tells_reads == Tells::No,
    }
}

/// All wishes of an account.
pub fn wishes_from_wire(wire: client::Wishes) -> Result<Relations, FormatError> {
    let presence = audience_from_wire(wire.presence())?;
    let list = |list: Vec<Bytes>| -> Result<BTreeSet<AccountId>, FormatError> {
        list.iter().map(|bytes| Ok(AccountId::from_bytes(bytes)?)).collect()
    };
    Ok(Relations {
        blocked: list(wire.blocked)?,
        contacts: list(wire.contacts)?,
        presence,
        tells_reads: tells(wire.hide_reads),
    })
}

fn tells(hide: bool) -> Tells {
    if hide { Tells::No } else { Tells::Yes }
}

fn audience_to_wire(audience: Audience) -> client::Audience {
    match audience {
        Audience::Everyone => client::Audience::Everyone,
        Audience::Contacts => client::Audience::Contacts,
        Audience::Nobody => client::Audience::Nobody,
    }
}

fn audience_from_wire(audience: client::Audience) -> Result<Audience, FormatError> {
    match audience {
        client::Audience::Everyone => Ok(Audience::Everyone),
        client::Audience::Contacts => Ok(Audience::Contacts),
        client::Audience::Nobody => Ok(Audience::Nobody),
        client::Audience::Unspecified => Err(FormatError::OutOfBounds("audience")),
    }
}
