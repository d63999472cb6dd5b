//! A group: its roster, its settings, its one order. What it takes and what that changes is decided
//! here, without a shard.
//!
//! A group lives on the shard of its id. Members are in it from the place in its order at which they
//! were added to the one at which they left, and get what was said between.

mod membership;
pub mod stamp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::code::Code;
use crate::id::{AccountId, GroupId, ShardCount, ShardId};
use crate::limits;
use crate::mutation::{self, Mutation};
use crate::seq::{ConvSeq, ShardSeq};

pub use membership::Membership;

/// The durable state of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The last position of its shard that changed it.
    pub pos: ShardSeq,
    /// The newest place in its order.
    pub head: ConvSeq,
    /// The place of the newest change: which roster this is.
    pub version: ConvSeq,
    /// How messages reach the members.
    pub reach: Reach,
    /// What its admins chose.
    pub settings: Settings,
    /// Who is in it.
    pub members: BTreeMap<AccountId, Member>,
}

/// Somebody in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// What they may do.
    pub role: Role,
    /// The place at which they came.
    pub since: ConvSeq,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Role {
    /// What the settings leave to everybody.
    #[default]
    Member,
    /// Everything.
    Admin,
}

/// What the admins of a group chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Who writes to it.
    pub writers: Who,
    /// Who adds members.
    pub adders: Who,
    /// Its name and what else the clients put there; the servers do not look into it.
    pub info: Bytes,
}

/// Some of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Who {
    /// All of them.
    #[default]
    Members,
    /// Those who are admins.
    Admins,
}

/// How a group's messages reach its members. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reach {
    /// Each inbox holds each message.
    #[default]
    Inline,
    /// Each inbox holds each message; in rows the body is kept once, under the group.
    Apart,
    /// Inboxes hold changes of their own membership only; members are told the newest place, and read
    /// the rest from the group's log.
    Pull,
}

/// A change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It comes to be, with whoever makes it as its admin, and these.
    Create(Vec<AccountId>, Settings),
    /// These come in.
    Add(Vec<AccountId>),
    /// These go out.
    Remove(Vec<AccountId>),
    /// Whoever says so goes out.
    Leave,
    /// Somebody may do more, or less.
    Promote(AccountId, Role),
    /// Other settings.
    Set(Settings),
}

/// What a message to a group carries besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InGroup {
    /// What it changes.
    pub change: Option<Change>,
    /// The roster that it was written for; 0 for any.
    pub roster: ConvSeq,
    /// Its place, once the group's shard gave it one.
    pub place: Option<Place>,
}

/// A message's place in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Dense, from 1.
    pub seq: ConvSeq,
    /// How messages behind this one reach the members.
    pub reach: Reach,
}

/// What becomes of a message that a group took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The message's place.
    pub place: Place,
    /// In whose inboxes it is put.
    pub to: Vec<AccountId>,
    /// Who becomes an admin by it.
    pub heir: Heir,
}

/// Who becomes an admin because the last one left.
///
/// It is a part of what is decided: rows of a group may be newer than the checkpoint from which it is
/// recovered, and in those somebody else may be in it longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Heir {
    /// An entry of versions before does not say it: whoever is in it longest, where it has no admin.
    #[default]
    Unsaid,
    /// It has an admin, or no members.
    Nobody,
    /// This member.
    Named(AccountId),
}

/// Up to how many members messages reach them how. A world of few people has other sizes than the
/// real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Inboxes hold messages in full.
    pub inline_max: usize,
    /// Inboxes hold messages.
    pub pushed_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            inline_max: limits::GROUP_INLINE_MEMBERS_MAX,
            pushed_max: limits::GROUP_PUSHED_MEMBERS_MAX,
        }
    }
}

impl Reach {
    /// How messages reach so many members.
    fn of(members: usize, sizes: Sizes) -> Self {
        if members <= sizes.inline_max {
            Self::Inline
        } else if members <= sizes.pushed_max {
            Self::Apart
        } else {
            Self::Pull
        }
    }
}

impl Change {
    /// Whether every bound of [`limits`] holds, and nobody is of another tenant than the group.
    pub fn check(&self, group: GroupId) -> Result<(), Code> {
        let settings = match self {
            Self::Create(_, settings) | Self::Set(settings) => Some(settings),
            Self::Add(_) | Self::Remove(_) | Self::Leave | Self::Promote(..) => None,
        };
        let long = settings.is_some_and(|s| s.info.len() > limits::GROUP_INFO_BYTES_MAX);
        if long || self.about().len() > limits::GROUP_CHANGE_MEMBERS_MAX {
            return Err(Code::TooLarge);
        }
        let foreign = self.about().iter().any(|who| who.tenant() != group.tenant());
        if foreign { Err(Code::NoConversation) } else { Ok(()) }
    }

    /// Those whom it names.
    pub fn about(&self) -> &[AccountId] {
        match self {
            Self::Create(who, _) | Self::Add(who) | Self::Remove(who) => who,
            Self::Promote(who, _) => std::slice::from_ref(who),
            Self::Leave | Self::Set(_) => &[],
        }
    }

    /// Roughly what it weighs.
    pub fn weight(&self) -> usize {
        let info = match self {
            Self::Create(_, settings) | Self::Set(settings) => settings.info.len(),
            Self::Add(_) | Self::Remove(_) | Self::Leave | Self::Promote(..) => 0,
        };
        32 + 18 * self.about().len() + info
    }
}

impl InGroup {
    /// Roughly what it weighs.
    pub fn weight(&self) -> usize {
        24 + self.change.as_ref().map_or(0, Change::weight)
    }
}

impl Group {
    /// A group before its first change.
    pub fn empty() -> Self {
        Self {
            pos: ShardSeq(0),
            head: ConvSeq(0),
            version: ConvSeq(0),
            reach: Reach::Inline,
            settings: Settings::default(),
            members: BTreeMap::new(),
        }
    }

    /// Whether `sender` may do this to a group, or to none; and what becomes of it.
    pub fn judge(
        group: Option<&Self>,
        sender: AccountId,
        carried: &InGroup,
        sizes: Sizes,
    ) -> Result<Ruling, Code> {
        match (group, &carried.change) {
            (None, Some(change @ Change::Create(..))) => {
                let fresh = Self::empty();
                fresh.rule(sender, Some(change), sizes)
            }
            (None, _) => Err(Code::NoConversation),
            (Some(_), Some(Change::Create(..))) => Err(Code::Forbidden),
            (Some(group), change) => {
                if !mutation::is_on(Mutation::G1) {
                    group.may(sender, change.as_ref())?;
                }
                let stale = carried.roster != ConvSeq(0) && carried.roster != group.version;
                if stale {
                    return Err(Code::StaleRoster);
                }
                group.rule(sender, change.as_ref(), sizes)
            }
        }
    }

    fn may(&self, sender: AccountId, change: Option<&Change>) -> Result<(), Code> {
        let role = self.members.get(&sender).ok_or(Code::NotMember)?.role;
        let wanted = match change {
            None => self.settings.writers,
            Some(Change::Add(_)) => self.settings.adders,
            Some(Change::Leave) => Who::Members,
            // To put an admin back to what others are is for admins, as everything else is.
            Some(Change::Create(..) | Change::Remove(_) | Change::Promote(..) | Change::Set(_)) => {
                Who::Admins
            }
        };
        let allowed = wanted == Who::Members || role == Role::Admin;
        if allowed { Ok(()) } else { Err(Code::Forbidden) }
    }

    /// Where a message that is allowed goes.
    pub(crate) fn rule(
        &self,
        sender: AccountId,
        change: Option<&Change>,
        sizes: Sizes,
    ) -> Result<Ruling, Code> {
        let members = self.members_after(sender, change);
        if members > limits::GROUP_MEMBERS_MAX {
            return Err(Code::Quota);
        }
        let reach = self.reach.max(Reach::of(members, sizes));
        let place = Place { seq: self.head.next(), reach };
        let to = self.recipients(sender, change);
        Ok(Ruling { place, to, heir: self.heir_after(sender, change) })
    }

    fn members_after(&self, sender: AccountId, change: Option<&Change>) -> usize {
        let is_in = |who: &&AccountId| self.members.contains_key(who);
        let distinct = |who: &[AccountId]| who.iter().copied().collect::<BTreeSet<_>>();
        let (come, go) = match change {
            Some(Change::Create(who, _)) => {
                let mut come = distinct(who);
                come.insert(sender);
                (come.len(), 0)
            }
            Some(Change::Add(who)) => (distinct(who).iter().filter(|who| !is_in(who)).count(), 0),
            Some(Change::Remove(who)) => (0, distinct(who).iter().filter(is_in).count()),
            Some(Change::Leave) => (0, 1),
            Some(Change::Promote(..) | Change::Set(_)) | None => (0, 0),
        };
        self.members.len() + come - go
    }

    /// Who gets a message: the members before it, and those whom it brings in. Who pulls gets what
    /// concerns them.
    fn recipients(&self, sender: AccountId, change: Option<&Change>) -> Vec<AccountId> {
        let come: &[AccountId] = match change {
            Some(Change::Create(who, _) | Change::Add(who)) => who,
            _ => &[],
        };
        let mut to: Vec<_> = match (self.reach, change) {
            (Reach::Pull, None) => Vec::new(),
            (Reach::Pull, Some(Change::Leave)) => vec![sender],
            (Reach::Pull, Some(change)) => change.about().to_vec(),
            (Reach::Inline | Reach::Apart, _) => self.members.keys().chain(come).copied().collect(),
        };
        if matches!(change, Some(Change::Create(..))) {
            to.push(sender);
        }
        if mutation::is_on(Mutation::G2) {
            match change {
                Some(Change::Remove(who)) => to.retain(|member| !who.contains(member)),
                Some(Change::Leave) => to.retain(|member| *member != sender),
                Some(
                    Change::Create(..) | Change::Add(_) | Change::Promote(..) | Change::Set(_),
                )
                | None => {}
            }
        }
        to.sort_unstable();
        to.dedup();
        to
    }

    /// What a message at `place` changes. Answers whose membership may be another one.
    pub fn take(
        &mut self,
        sender: AccountId,
        change: Option<&Change>,
        place: Place,
        heir: Heir,
    ) -> BTreeSet<AccountId> {
        self.head = place.seq;
        self.reach = place.reach;
        let Some(change) = change else { return BTreeSet::new() };
        self.change(sender, change, place.seq);
        let heir = match heir {
            Heir::Unsaid => self.oldest_without_admin(|_, role| Some(role)),
            Heir::Nobody => None,
            Heir::Named(heir) => Some(heir),
        };
        if let Some(member) = heir.and_then(|heir| self.members.get_mut(&heir)) {
            member.role = Role::Admin;
        }
        change.about().iter().copied().chain([sender]).chain(heir).collect()
    }

    fn change(&mut self, sender: AccountId, change: &Change, at: ConvSeq) {
        self.version = at;
        let member = Member { role: Role::Member, since: at };
        match change {
            Change::Create(members, settings) => {
                self.settings = settings.clone();
                self.members = members.iter().map(|who| (*who, member)).collect();
                self.members.insert(sender, Member { role: Role::Admin, since: at });
            }
            Change::Add(who) => {
                for who in who {
                    self.members.entry(*who).or_insert(member);
                }
            }
            Change::Remove(who) => self.members.retain(|member, _| !who.contains(member)),
            Change::Leave => drop(self.members.remove(&sender)),
            Change::Promote(who, role) => {
                if let Some(member) = self.members.get_mut(who) {
                    member.role = *role;
                }
            }
            Change::Set(settings) => self.settings = settings.clone(),
        }
    }

    /// A group whose last admin left goes to whoever is in it longest. Whom a change brings in does not
    /// count: whoever brought them stays.
    fn heir_after(&self, sender: AccountId, change: Option<&Change>) -> Heir {
        let heir = match change {
            None | Some(Change::Create(..)) => None,
            Some(Change::Add(_) | Change::Set(_)) => {
                self.oldest_without_admin(|_, role| Some(role))
            }
            Some(Change::Remove(who)) => {
                let gone: BTreeSet<_> = who.iter().collect();
                self.oldest_without_admin(|id, role| (!gone.contains(&id)).then_some(role))
            }
            Some(Change::Leave) => {
                self.oldest_without_admin(|id, role| (id != sender).then_some(role))
            }
            Some(Change::Promote(who, new)) => {
                self.oldest_without_admin(|id, role| Some(if id == *who { *new } else { role }))
            }
        };
        heir.map_or(Heir::Nobody, Heir::Named)
    }

    /// Who is in it longest, where nobody is an admin: of those who stay, with the roles that they get.
    fn oldest_without_admin(
        &self,
        after: impl Fn(AccountId, Role) -> Option<Role>,
    ) -> Option<AccountId> {
        let mut oldest: Option<(ConvSeq, AccountId)> = None;
        for (id, member) in &self.members {
            match after(*id, member.role) {
                Some(Role::Admin) => return None,
                Some(Role::Member) => {
                    let this = (member.since, *id);
                    oldest = Some(oldest.map_or(this, |known| known.min(this)));
                }
                None => {}
            }
        }
        oldest.map(|(_, id)| id)
    }

    /// Those of `who` whom a place brought in and who are in it since.
    pub fn came_at(&self, who: &[AccountId], place: ConvSeq) -> Vec<AccountId> {
        let came = |who: &&AccountId| self.members.get(who).is_some_and(|m| m.since == place);
        who.iter().filter(came).copied().collect()
    }
}

/// Members by the shards that hold their inboxes.
pub fn by_shard(who: &[AccountId], count: ShardCount) -> BTreeMap<ShardId, Vec<AccountId>> {
    let mut shards: BTreeMap<ShardId, Vec<AccountId>> = BTreeMap::new();
    for account in who {
        shards.entry(account.shard(count)).or_default().push(*account);
    }
    shards
}

/// A part of a group's roster, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterPage {
    /// The newest place when it was written.
    pub head: ConvSeq,
    /// Which roster it is.
    pub version: ConvSeq,
    /// How messages reach the members.
    pub reach: Reach,
    /// What its admins chose.
    pub settings: Settings,
    /// In the order of their ids.
    pub members: Vec<(AccountId, Member)>,
    /// Behind whom the next part begins; nothing when this was the last one.
    pub next: Option<AccountId>,
}
