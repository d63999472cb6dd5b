//! Groups, as stored: what messages to them carry, their rows, and which groups an account is in.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use iris_core::clock::WallMs;
use iris_core::entry::{Received, Target};
use iris_core::group::{
    Change, Group, Heir, InGroup, Member, Membership, Place, Reach, Role, Settings, Who,
};
use iris_core::id::{AccountId, GroupId};
use iris_core::message::{Message, Parcel};
use iris_core::seq::{ConvSeq, InboxSeq, ShardSeq};
use prost::Message as _;

use crate::stored_entries::{account, account_bytes, message_from_stored, message_to_stored, slot};
use crate::{FormatError, stored};

/// A group's row, without its members: they have rows of their own.
pub fn encode_group(group: &Group) -> Bytes {
    let state = stored::GroupState {
        pos: group.pos.0,
        head: group.head.0,
        version: group.version.0,
        reach: reach_to_stored(group.reach).into(),
        settings: Some(settings_to_stored(&group.settings)),
    };
    state.encode_to_vec().into()
}

/// A group's row, still without its members.
pub fn decode_group(bytes: Bytes) -> Result<Group, FormatError> {
    let state = stored::GroupState::decode(bytes)?;
    Ok(Group {
        pos: ShardSeq(state.pos),
        head: ConvSeq(state.head),
        version: ConvSeq(state.version),
        reach: reach_from_stored(state.reach)?,
        settings: settings_from_stored(state.settings)?,
        members: BTreeMap::new(),
    })
}

/// The role of a member's row, from 1: 0 is the role of who is not in the group.
pub const fn role_number(role: Role) -> u8 {
    match role {
        Role::Member => 1,
        Role::Admin => 2,
    }
}

/// A member's row; nothing for who is not in the group any more.
pub fn member_of(role: u8, since: u64) -> Result<Option<Member>, FormatError> {
    let role = match role {
        0 => return Ok(None),
        1 => Role::Member,
        2 => Role::Admin,
        _ => return Err(FormatError::OutOfBounds("role")),
    };
    Ok(Some(Member { role, since: ConvSeq(since) }))
}

/// A row of a group's log.
pub fn encode_log_message(message: &Message) -> Bytes {
    message_to_stored(message).encode_to_vec().into()
}

/// A row of a group's log: a message with its place.
pub fn decode_log_message(bytes: Bytes) -> Result<Arc<Message>, FormatError> {
    let message = message_from_stored(Some(stored::Message::decode(bytes)?))?;
    message.place().is_some().then_some(message).ok_or(FormatError::Missing("place"))
}

/// The memberships of an account's row.
pub fn encode_memberships(groups: &BTreeMap<GroupId, Membership>) -> Bytes {
    memberships_to_stored(groups).encode_to_vec().into()
}

/// The memberships of an account's row.
pub fn decode_memberships(bytes: Bytes) -> Result<BTreeMap<GroupId, Membership>, FormatError> {
    memberships_from_stored(stored::Memberships::decode(bytes)?)
}

/// The memberships of an account, as another pod gets them.
pub fn memberships_to_stored(groups: &BTreeMap<GroupId, Membership>) -> stored::Memberships {
    let membership = |(group, known): (&GroupId, &Membership)| stored::Membership {
        group: group_bytes(*group),
        since: known.since.0,
        until: known.until.map_or(0, |until| until.0),
        pulls: known.pulls.map_or(0, |pulls| pulls.0),
        left_at_ms: known.left_at.0,
    };
    stored::Memberships { memberships: groups.iter().map(membership).collect() }
}

/// The memberships of an account, as another pod sent them.
pub fn memberships_from_stored(
    memberships: stored::Memberships,
) -> Result<BTreeMap<GroupId, Membership>, FormatError> {
    let place = |number: u64| (number != 0).then_some(ConvSeq(number));
    let membership = |known: stored::Membership| {
        let (until, pulls) = (place(known.until), place(known.pulls));
        let left_at = WallMs(known.left_at_ms);
        let membership = Membership { since: ConvSeq(known.since), until, pulls, left_at };
        Ok((GroupId::from_bytes(&known.group)?, membership))
    };
    memberships.memberships.into_iter().map(membership).collect()
}

pub(crate) fn in_group_to_stored(carried: &InGroup) -> stored::InGroup {
    stored::InGroup {
        change: carried.change.as_ref().map(change_to_stored),
        roster: carried.roster.0,
        place: carried.place.map_or(0, |place| place.seq.0),
        reach: carried.place.map_or(0, |place| reach_to_stored(place.reach).into()),
    }
}

pub(crate) fn in_group_from_stored(carried: stored::InGroup) -> Result<InGroup, FormatError> {
    let place = if carried.place == 0 {
        None
    } else {
        let reach = reach_from_stored(carried.reach)?;
        Some(Place { seq: ConvSeq(carried.place), reach })
    };
    let change = carried.change.map(change_from_stored).transpose()?;
    Ok(InGroup { change, roster: ConvSeq(carried.roster), place })
}

fn change_to_stored(change: &Change) -> stored::GroupChange {
    use stored::group_change::Kind;
    let named = |who: &[AccountId]| stored::Accounts { accounts: list_to_stored(who) };
    let kind = match change {
        Change::Create(who, settings) => Kind::Create(stored::GroupCreated {
            members: list_to_stored(who),
            settings: Some(settings_to_stored(settings)),
        }),
        Change::Add(who) => Kind::Add(named(who)),
        Change::Remove(who) => Kind::Remove(named(who)),
        Change::Leave => Kind::Leave(stored::GroupLeft {}),
        Change::Promote(who, role) => Kind::Promote(stored::Promotion {
            account: account_bytes(*who),
            role: role_to_stored(*role).into(),
        }),
        Change::Set(settings) => Kind::Set(settings_to_stored(settings)),
    };
    stored::GroupChange { kind: Some(kind) }
}

fn change_from_stored(change: stored::GroupChange) -> Result<Change, FormatError> {
    use stored::group_change::Kind;
    Ok(match change.kind.ok_or(FormatError::Missing("change"))? {
        Kind::Create(create) => Change::Create(
            list_from_stored(&create.members)?,
            settings_from_stored(create.settings)?,
        ),
        Kind::Add(who) => Change::Add(list_from_stored(&who.accounts)?),
        Kind::Remove(who) => Change::Remove(list_from_stored(&who.accounts)?),
        Kind::Leave(stored::GroupLeft {}) => Change::Leave,
        Kind::Promote(promotion) => {
            Change::Promote(account(&promotion.account)?, role_from_stored(promotion.role)?)
        }
        Kind::Set(settings) => Change::Set(settings_from_stored(Some(settings))?),
    })
}

fn settings_to_stored(settings: &Settings) -> stored::GroupSettings {
    stored::GroupSettings {
        only_admins_write: settings.writers == Who::Admins,
        only_admins_add: settings.adders == Who::Admins,
        info: settings.info.clone(),
    }
}

fn settings_from_stored(settings: Option<stored::GroupSettings>) -> Result<Settings, FormatError> {
    let settings = settings.ok_or(FormatError::Missing("settings"))?;
    let who = |only_admins| if only_admins { Who::Admins } else { Who::Members };
    Ok(Settings {
        writers: who(settings.only_admins_write),
        adders: who(settings.only_admins_add),
        info: settings.info,
    })
}

fn role_to_stored(role: Role) -> stored::GroupRole {
    match role {
        Role::Member => stored::GroupRole::Member,
        Role::Admin => stored::GroupRole::Admin,
    }
}

fn role_from_stored(number: i32) -> Result<Role, FormatError> {
    match stored::GroupRole::try_from(number) {
        Ok(stored::GroupRole::Member) => Ok(Role::Member),
        Ok(stored::GroupRole::Admin) => Ok(Role::Admin),
        Ok(stored::GroupRole::Unspecified) | Err(_) => Err(FormatError::OutOfBounds("role")),
    }
}

fn reach_to_stored(reach: Reach) -> stored::Reach {
    match reach {
        Reach::Inline => stored::Reach::Inline,
        Reach::Apart => stored::Reach::Apart,
        Reach::Pull => stored::Reach::Pull,
    }
}

fn reach_from_stored(number: i32) -> Result<Reach, FormatError> {
    match stored::Reach::try_from(number) {
        Ok(stored::Reach::Inline) => Ok(Reach::Inline),
        Ok(stored::Reach::Apart) => Ok(Reach::Apart),
        Ok(stored::Reach::Pull) => Ok(Reach::Pull),
        Ok(stored::Reach::Unspecified) | Err(_) => Err(FormatError::OutOfBounds("reach")),
    }
}

/// What became of an item for a group, or for members of one.
pub(crate) fn ordered_to_stored(
    message: &Message,
    targets: &[Target],
    heir: Heir,
) -> stored::Ordered {
    let target = |target: &Target| stored::Target {
        to_shard: target.slot.to.into(),
        outbox_seq: target.slot.seq.0,
        members: list_to_stored(&target.members),
    };
    stored::Ordered {
        message: Some(message_to_stored(message)),
        targets: targets.iter().map(target).collect(),
        heir: match heir {
            Heir::Unsaid => None,
            Heir::Nobody => Some(Bytes::new()),
            Heir::Named(heir) => Some(account_bytes(heir)),
        },
    }
}

pub(crate) fn ordered_from_stored(op: stored::Ordered) -> Result<Received, FormatError> {
    let target = |target: stored::Target| {
        let slot = slot(target.to_shard, target.outbox_seq)?;
        Ok(Target { slot, members: list_from_stored(&target.members)? })
    };
    let targets = op.targets.into_iter().map(target).collect::<Result<_, FormatError>>()?;
    let heir = match op.heir {
        None => Heir::Unsaid,
        Some(heir) if heir.is_empty() => Heir::Nobody,
        Some(heir) => Heir::Named(account(&heir)?),
    };
    Ok(Received::Ordered { message: message_from_stored(op.message)?, targets, heir })
}

pub(crate) fn shared_to_stored(
    message: &Message,
    places: &[(AccountId, InboxSeq)],
    declined: Option<&(Vec<AccountId>, iris_core::entry::Slot)>,
) -> stored::Shared {
    let place = |(account, place): &(AccountId, InboxSeq)| stored::InboxPlace {
        account: account_bytes(*account),
        inbox_seq: place.0,
    };
    let slot = declined.map(|(_, slot)| slot);
    stored::Shared {
        message: Some(message_to_stored(message)),
        places: places.iter().map(place).collect(),
        declined: declined.map_or_else(Vec::new, |(who, _)| list_to_stored(who)),
        to_shard: slot.map_or(0, |slot| slot.to.into()),
        outbox_seq: slot.map_or(0, |slot| slot.seq.0),
    }
}

pub(crate) fn shared_from_stored(op: stored::Shared) -> Result<Received, FormatError> {
    let place =
        |place: stored::InboxPlace| Ok((account(&place.account)?, InboxSeq(place.inbox_seq)));
    let declined = if op.declined.is_empty() {
        None
    } else {
        Some((list_from_stored(&op.declined)?, slot(op.to_shard, op.outbox_seq)?))
    };
    let places = op.places.into_iter().map(place).collect::<Result<_, FormatError>>()?;
    Ok(Received::Shared { message: message_from_stored(op.message)?, places, declined })
}

pub(crate) fn for_members_to_stored(message: &Message, who: &[AccountId]) -> stored::ForMembers {
    stored::ForMembers { message: Some(message_to_stored(message)), members: list_to_stored(who) }
}

pub(crate) fn for_members_from_stored(item: stored::ForMembers) -> Result<Parcel, FormatError> {
    let message = message_from_stored(item.message)?;
    Ok(Parcel::ForMembers(message, list_from_stored(&item.members)?))
}

pub(crate) fn declined_to_stored(
    group: GroupId,
    place: ConvSeq,
    who: &[AccountId],
) -> stored::Declined {
    stored::Declined { group: group_bytes(group), place: place.0, accounts: list_to_stored(who) }
}

pub(crate) fn declined_from_stored(item: stored::Declined) -> Result<Parcel, FormatError> {
    let group = GroupId::from_bytes(&item.group)?;
    Ok(Parcel::Declined(group, ConvSeq(item.place), list_from_stored(&item.accounts)?))
}

pub(crate) fn group_bytes(group: GroupId) -> Bytes {
    Bytes::copy_from_slice(&group.to_bytes())
}

fn list_to_stored(who: &[AccountId]) -> Vec<Bytes> {
    who.iter().copied().map(account_bytes).collect()
}

fn list_from_stored(who: &[Bytes]) -> Result<Vec<AccountId>, FormatError> {
    who.iter().map(|bytes| account(bytes)).collect()
}
