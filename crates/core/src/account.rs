//! An account: its devices and its inbox, as far as they follow from the log.
//!
//! What only the present process knows (connections, credit, what is cached) is in `shard::hot`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::clock::{Hlc, WallMs};
use crate::code::Code;
use crate::group::Membership;
use crate::id::{DeviceNo, GroupId, PublicKey};
use crate::limits;
use crate::message::{Message, Notice};
use crate::relation::Relations;
use crate::seq::{ClientSeq, InboxSeq, ShardSeq};

/// The durable state of an account: a derived row holds exactly this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The last position of the shard that changed it.
    pub pos: ShardSeq,
    /// Which stream the inbox numbers count in; a forced move of the region starts a new one.
    pub stream_gen: u32,
    /// The newest place in the inbox.
    pub head: InboxSeq,
    /// Places up to this one are past their retention.
    pub floor: InboxSeq,
    /// The devices, revoked ones too: a number is never used again.
    pub devices: BTreeMap<DeviceNo, Device>,
    /// The version of the newest change of a mark; see [`crate::mark`].
    pub marks: u64,
    /// When its last device left; 0 where none ever was there.
    pub last_seen: WallMs,
    /// What its owner wishes of others.
    pub relations: Relations,
    /// The groups that it is in, and those that it left of late.
    pub groups: BTreeMap<GroupId, Membership>,
}

/// The durable state of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The key that it proves itself by.
    pub key: PublicKey,
    /// What its owner calls it.
    pub name: String,
    /// When it joined.
    pub added_at: WallMs,
    /// Whether its access was taken for ever.
    pub revoked: bool,
    /// Everything up to here is on its own disk.
    pub cursor: InboxSeq,
    /// The number that its next send must carry.
    pub next_client_seq: ClientSeq,
    /// Refusals among the last [`limits::OUTCOMES_KEPT`] decided sends, ascending.
    pub refusals: VecDeque<(ClientSeq, Code)>,
    /// The generation of the newest refresh token.
    pub refresh_current: u32,
    /// The generation that asked for it, good until the newest is used.
    pub refresh_previous: u32,
}

/// One place in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// Which place.
    pub seq: InboxSeq,
    /// The shard's clock when it was taken.
    pub clock: Hlc,
    /// What is there.
    pub content: InboxContent,
}

/// What is at a place in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxContent {
    /// A message to the account, or one that the account sent itself.
    Message(Arc<Message>),
    /// A message of the account was refused at its destination.
    Notice(Notice),
    /// What was here was erased or has expired; the number stays.
    Hole,
}

impl InboxItem {
    /// Takes out a message that nobody needs any more.
    pub fn expire(&mut self, now: WallMs) {
        if let InboxContent::Message(message) = &self.content
            && message.is_expired(now)
        {
            self.content = InboxContent::Hole;
        }
    }

    /// Roughly what it weighs in memory and on the wire.
    pub fn weight(&self) -> usize {
        32 + match &self.content {
            InboxContent::Message(message) => message.weight(),
            InboxContent::Notice(_) => 64,
            InboxContent::Hole => 0,
        }
    }
}

impl Account {
    /// An account without devices.
    pub fn new(pos: ShardSeq) -> Self {
        Self {
            pos,
            stream_gen: 1,
            head: InboxSeq(0),
            floor: InboxSeq(0),
            devices: BTreeMap::new(),
            marks: 0,
            last_seen: WallMs(0),
            relations: Relations::default(),
            groups: BTreeMap::new(),
        }
    }

    /// The devices that still have access.
    pub fn active_devices(&self) -> impl Iterator<Item = (DeviceNo, &Device)> {
        self.devices.iter().filter(|(_, device)| !device.revoked).map(|(no, device)| (*no, device))
    }

    /// Everything up to here is on the disk of every device that still has access.
    pub fn acknowledged(&self) -> InboxSeq {
        self.active_devices().map(|(_, device)| device.cursor).min().unwrap_or_default()
    }

    /// Whether it may come into another group.
    pub fn takes_memberships(&self) -> bool {
        let active = self.groups.values().filter(|membership| membership.until.is_none());
        active.count() < limits::MEMBERSHIPS_MAX
    }

    /// It is in a group, or left it. Those that it left first are forgotten first.
    pub fn note_membership(&mut self, group: GroupId, membership: Membership) {
        self.groups.insert(group, membership);
        while self.groups.len() > 2 * limits::MEMBERSHIPS_MAX {
            let left = self.groups.iter().filter(|(_, known)| known.until.is_some());
            let Some(first) = left.min_by_key(|(_, known)| known.left_at).map(|(id, _)| *id) else {
                return;
            };
            self.groups.remove(&first);
        }
    }

    /// The device with this key, revoked or not.
    pub fn device_of(&self, key: &PublicKey) -> Option<(DeviceNo, &Device)> {
        self.devices.iter().find(|(_, device)| device.key == *key).map(|(no, device)| (*no, device))
    }

    /// Forgets revoked devices, the lowest numbers first, where there are too many records. The newest
    /// one stays, so no number is given twice.
    pub fn forget_revoked_devices(&mut self) {
        while self.devices.len() > limits::DEVICE_RECORDS_MAX {
            let revoked = self.devices.iter().find(|(_, device)| device.revoked);
            let Some(revoked) = revoked.map(|(no, _)| *no) else { return };
            self.devices.remove(&revoked);
        }
    }

    /// The number of the next device.
    pub fn next_device(&self) -> DeviceNo {
        DeviceNo(self.devices.keys().next_back().map_or(1, |last| last.0 + 1))
    }
}

impl Device {
    /// A device that has neither sent nor received; it begins at `cursor`.
    pub fn new(key: PublicKey, name: String, added_at: WallMs, cursor: InboxSeq) -> Self {
        Self {
            key,
            name,
            added_at,
            revoked: false,
            cursor,
            next_client_seq: ClientSeq(1),
            refusals: VecDeque::new(),
            refresh_current: 1,
            refresh_previous: 0,
        }
    }

    /// The number was decided: the next one is expected, and old outcomes are forgotten.
    pub fn decided(&mut self, client_seq: ClientSeq, refusal: Option<Code>) {
        self.next_client_seq = client_seq.next();
        if let Some(code) = refusal {
            self.refusals.push_back((client_seq, code));
        }
        let oldest = self.next_client_seq.0.saturating_sub(limits::OUTCOMES_KEPT);
        while self.refusals.front().is_some_and(|(seq, _)| seq.0 < oldest) {
            self.refusals.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::ConvSeq;

    #[test]
    fn the_groups_that_were_left_first_are_forgotten_first() {
        let mut account = Account::new(ShardSeq(1));
        let most = u64::try_from(2 * limits::MEMBERSHIPS_MAX).unwrap();
        let group = |n: u64| GroupId::from_bytes(&u128::from(n).to_be_bytes()).unwrap();
        for n in 0..=most {
            // The later it was left, the fewer were its messages.
            let (until, left_at) = (Some(ConvSeq(1 + most - n)), WallMs(1000 + n));
            let left = Membership { since: ConvSeq(1), until, pulls: None, left_at };
            account.note_membership(group(n), left);
        }
        let kept: Vec<_> = account.groups.keys().copied().collect();
        assert_eq!(kept, (1..=most).map(group).collect::<Vec<_>>());
    }
}
