//! Groups: their changes, places in them, pages of their logs, and who is in them.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::group::{
    Change, InGroup, Member, Membership, Reach, Role, RosterPage, Settings, Who,
};
use iris_core::id::{AccountId, DeviceNo, GroupId};
use iris_core::message::{Address, Message};
use iris_core::seq::ConvSeq;

use super::{bytes_of, incoming_to_wire};
use crate::{FormatError, client};

/// Where a message is in its group, as a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldPlace {
    /// The group.
    pub group: GroupId,
    /// The place.
    pub place: ConvSeq,
    /// What the message changed.
    pub change: Option<Change>,
    /// Whether messages behind it are read from the group's log.
    pub pulls: bool,
}

/// A change of a group. How much it names and says is the shard's to judge: its refusal is a decision.
pub fn change_from_wire(wire: client::GroupChange) -> Result<Change, FormatError> {
    use client::group_change::Kind;
    Ok(match wire.kind.ok_or(FormatError::Missing("change"))? {
        Kind::Create(create) => {
            let settings = create.settings.unwrap_or_default();
            Change::Create(accounts_from_wire(&create.members)?, settings_from_wire(settings))
        }
        Kind::Add(who) => Change::Add(accounts_from_wire(&who.accounts)?),
        Kind::Remove(who) => Change::Remove(accounts_from_wire(&who.accounts)?),
        Kind::Leave(client::GroupLeft {}) => Change::Leave,
        Kind::Promote(promotion) => Change::Promote(
            AccountId::from_bytes(&promotion.account)?,
            role_from_wire(promotion.role)?,
        ),
        Kind::Set(settings) => Change::Set(settings_from_wire(settings)),
    })
}

/// A change of a group.
pub fn change_to_wire(change: &Change) -> client::GroupChange {
    use client::group_change::Kind;
    let named = |who: &[AccountId]| client::Accounts { accounts: accounts_to_wire(who) };
    let kind = match change {
        Change::Create(who, settings) => Kind::Create(client::GroupCreated {
            members: accounts_to_wire(who),
            settings: Some(settings_to_wire(settings)),
        }),
        Change::Add(who) => Kind::Add(named(who)),
        Change::Remove(who) => Kind::Remove(named(who)),
        Change::Leave => Kind::Leave(client::GroupLeft {}),
        Change::Promote(who, role) => Kind::Promote(client::Promotion {
            account: bytes_of(who.to_bytes()),
            role: role_to_wire(*role).into(),
        }),
        Change::Set(settings) => Kind::Set(settings_to_wire(settings)),
    };
    client::GroupChange { kind: Some(kind) }
}

/// What a group's admins chose.
pub fn settings_from_wire(wire: client::GroupSettings) -> Settings {
    let who = |only_admins| if only_admins { Who::Admins } else { Who::Members };
    Settings {
        writers: who(wire.only_admins_write),
        adders: who(wire.only_admins_add),
        info: wire.info,
    }
}

/// What a group's admins chose.
pub fn settings_to_wire(settings: &Settings) -> client::GroupSettings {
    client::GroupSettings {
        only_admins_write: settings.writers == Who::Admins,
        only_admins_add: settings.adders == Who::Admins,
        info: settings.info.clone(),
    }
}

/// Where a message is in its group; nothing for one that has no place there.
pub(super) fn in_group_to_wire(message: &Message) -> Option<client::InGroup> {
    let Address::Group(group) = message.to else { return None };
    let InGroup { change, roster: _, place } = message.group.as_deref()?;
    let place = (*place)?;
    Some(client::InGroup {
        group: bytes_of(group.to_bytes()),
        place: place.seq.0,
        change: change.as_ref().map(change_to_wire),
        pull: pulls(place.reach),
    })
}

/// Where a message is in its group.
pub fn in_group_from_wire(wire: client::InGroup) -> Result<ToldPlace, FormatError> {
    if wire.place == 0 {
        return Err(FormatError::OutOfBounds("place"));
    }
    Ok(ToldPlace {
        group: GroupId::from_bytes(&wire.group)?,
        place: place_from_wire(wire.place)?,
        change: wire.change.map(change_from_wire).transpose()?,
        pulls: wire.pull,
    })
}

/// A page of a group's log as `device` of `account` gets it. Each place keeps its number: one whose body
/// is gone is empty.
pub fn log_page_to_wire(
    account: AccountId,
    device: DeviceNo,
    messages: &[Arc<Message>],
    more: bool,
) -> client::LogPage {
    let message = |message: &Arc<Message>| {
        let body = message.bodies.of_device(device).cloned().unwrap_or_default();
        incoming_to_wire((account, device), message, body)
    };
    client::LogPage { messages: messages.iter().map(message).collect(), more }
}

/// The newest place of a large group, as a client is told.
pub fn head_to_wire(group: GroupId, head: ConvSeq) -> client::Signal {
    let head = client::GroupHead { group: bytes_of(group.to_bytes()), head: head.0 };
    client::Signal { kind: Some(client::signal::Kind::Head(head)) }
}

/// The newest place of a large group.
pub fn head_from_wire(wire: &client::GroupHead) -> Result<(GroupId, ConvSeq), FormatError> {
    Ok((GroupId::from_bytes(&wire.group)?, place_from_wire(wire.head)?))
}

/// The groups of an account.
pub fn memberships_to_wire(groups: &[(GroupId, Membership)]) -> client::Memberships {
    let membership = |(group, known): &(GroupId, Membership)| client::Membership {
        group: bytes_of(group.to_bytes()),
        since: known.since.0,
        until: known.until.map_or(0, |until| until.0),
        pulls: known.pulls.map_or(0, |pulls| pulls.0),
    };
    client::Memberships { groups: groups.iter().map(membership).collect() }
}

/// The groups of an account.
pub fn memberships_from_wire(
    wire: &client::Memberships,
) -> Result<Vec<(GroupId, Membership)>, FormatError> {
    let place = |number: u64| (number != 0).then(|| place_from_wire(number)).transpose();
    let membership = |known: &client::Membership| {
        let membership = Membership {
            since: place_from_wire(known.since)?,
            until: place(known.until)?,
            pulls: place(known.pulls)?,
            left_at: WallMs(0),
        };
        Ok((GroupId::from_bytes(&known.group)?, membership))
    };
    wire.groups.iter().map(membership).collect()
}

/// A part of a roster.
pub fn roster_to_wire(page: &RosterPage) -> client::Roster {
    let member = |(account, member): &(AccountId, Member)| client::Member {
        account: bytes_of(account.to_bytes()),
        role: role_to_wire(member.role).into(),
        since: member.since.0,
    };
    client::Roster {
        head: page.head.0,
        version: page.version.0,
        settings: Some(settings_to_wire(&page.settings)),
        members: page.members.iter().map(member).collect(),
        next: page.next.map_or_else(Bytes::new, |next| bytes_of(next.to_bytes())),
        pull: pulls(page.reach),
    }
}

/// A part of a roster. How rows hold what inboxes hold is not told: `Inline` stands for both ways.
pub fn roster_from_wire(wire: client::Roster) -> Result<RosterPage, FormatError> {
    let member = |member: &client::Member| {
        let (role, since) = (role_from_wire(member.role)?, place_from_wire(member.since)?);
        Ok((AccountId::from_bytes(&member.account)?, Member { role, since }))
    };
    Ok(RosterPage {
        head: place_from_wire(wire.head)?,
        version: place_from_wire(wire.version)?,
        reach: if wire.pull { Reach::Pull } else { Reach::Inline },
        settings: settings_from_wire(wire.settings.unwrap_or_default()),
        members: wire.members.iter().map(member).collect::<Result<_, FormatError>>()?,
        next: behind_from_wire(&wire.next)?,
    })
}

/// Which part of which roster a LIST_MEMBERS wants.
pub fn list_members_from_wire(
    wire: &client::ListMembers,
) -> Result<(GroupId, Option<AccountId>), FormatError> {
    Ok((GroupId::from_bytes(&wire.group)?, behind_from_wire(&wire.after)?))
}

/// A place in a group's order: one that the store's signed numbers can hold, as all of ours are.
pub(super) fn place_from_wire(place: u64) -> Result<ConvSeq, FormatError> {
    i64::try_from(place).map(|_| ConvSeq(place)).map_err(|_| FormatError::OutOfBounds("place"))
}

fn behind_from_wire(bytes: &Bytes) -> Result<Option<AccountId>, FormatError> {
    Ok(if bytes.is_empty() { None } else { Some(AccountId::from_bytes(bytes)?) })
}

fn pulls(reach: Reach) -> bool {
    match reach {
        Reach::Pull => true,
        Reach::Inline | Reach::Apart => false,
    }
}

fn role_to_wire(role: Role) -> client::GroupRole {
    match role {
        Role::Member => client::GroupRole::Member,
        Role::Admin => client::GroupRole::Admin,
    }
}

fn role_from_wire(number: i32) -> Result<Role, FormatError> {
    match client::GroupRole::try_from(number) {
        Ok(client::GroupRole::Member) => Ok(Role::Member),
        Ok(client::GroupRole::Admin) => Ok(Role::Admin),
        Ok(client::GroupRole::Unspecified) | Err(_) => Err(FormatError::OutOfBounds("role")),
    }
}

fn accounts_to_wire(who: &[AccountId]) -> Vec<Bytes> {
    who.iter().map(|account| bytes_of(account.to_bytes())).collect()
}

fn accounts_from_wire(who: &[Bytes]) -> Result<Vec<AccountId>, FormatError> {
    who.iter().map(|bytes| Ok(AccountId::from_bytes(bytes)?)).collect()
}
