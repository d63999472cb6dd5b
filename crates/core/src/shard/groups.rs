//! The groups of a shard: each message gets its place in its group's one order, and goes to the shards
//! of the members by their outboxes, once for each shard.
//!
//! Of a large group nothing goes out: its messages are rows of the group's log, and the shards of
//! members who are there are told the newest place that has a row. Such a watch is a lease, as that of
//! a presence is; one that is lost costs a moment, and no message.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::entry::{Received, Slot, Target};
use crate::group::{Change, Group, Heir, InGroup, Reach, Ruling, by_shard, stamp};
use crate::id::{AccountId, DeviceNo, GroupId, MsgId, ShardId};
use crate::limits;
use crate::message::{About, Address, Bodies, Message};
use crate::mutation::{self, Mutation};
use crate::seq::{ClientSeq, ConvSeq, OutboxSeq, ShardSeq};
use crate::signal::{Signal, Typing};

use super::Shard;
use super::damaged::Rows;
use super::effect::Effect;
use super::flush::{LogErasure, LogRow};
use super::release::Awaiting;

/// A group in memory, or on its way there.
#[derive(Debug, Clone)]
pub(super) enum GroupSlot {
    /// Asked of the store.
    Loading(Waiting),
    /// Here.
    Hot(Box<HotGroup>),
}

/// What waits for a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    /// The items of these sources.
    sources: BTreeSet<ShardId>,
    /// Shards that watch it.
    watching: BTreeSet<ShardId>,
}

impl Waiting {
    /// Those whose items wait.
    pub(super) fn into_sources(self) -> BTreeSet<ShardId> {
        self.sources
    }
}

/// A group in memory: its durable state and what only this process knows.
#[derive(Debug, Clone)]
pub(super) struct HotGroup {
    /// Nothing for a group that does not exist.
    pub(super) state: Option<Group>,
    /// Members of whom a row says something else.
    pub(super) changed: BTreeSet<AccountId>,
    pub(super) dirty: bool,
    /// A flush that holds it is being written.
    pub(super) flushing: bool,
    /// Messages of a large group up to here are rows.
    pub(super) logged: ConvSeq,
    /// Shards whose members are there, and until when they care.
    watchers: BTreeMap<ShardId, MonoUs>,
    pub(super) used_at: MonoUs,
}

impl HotGroup {
    pub(super) fn new(state: Option<Group>, now: MonoUs) -> Self {
        Self {
            logged: state.as_ref().map_or(ConvSeq(0), |group| group.head),
            state,
            changed: BTreeSet::new(),
            dirty: false,
            flushing: false,
            watchers: BTreeMap::new(),
            used_at: now,
        }
    }

    fn is_evictable(&self, now: MonoUs, crowded: bool) -> bool {
        let idle = now.ms_since(self.used_at) >= limits::ACCOUNT_IDLE_MS || crowded;
        idle && !self.dirty && !self.flushing && self.watchers.is_empty()
    }
}

impl Shard {
    /// Whether a group is in memory; otherwise it is asked for, and the items of `from` wait for it.
    pub(super) fn is_group_loaded(
        &mut self,
        group: GroupId,
        from: ShardId,
        out: &mut Vec<Effect>,
    ) -> bool {
        match self.group_slot(group, out) {
            GroupSlot::Hot(_) => true,
            GroupSlot::Loading(waiting) => {
                waiting.sources.insert(from);
                false
            }
        }
    }

    fn group_slot(&mut self, group: GroupId, out: &mut Vec<Effect>) -> &mut GroupSlot {
        self.groups.entry(group).or_insert_with(|| {
            out.push(Effect::LoadGroup(group));
            GroupSlot::Loading(Waiting::default())
        })
    }

    /// A group arrived from the store: what waited for it goes on.
    pub(super) fn group_loaded(
        &mut self,
        now: Now,
        group: GroupId,
        state: Option<Group>,
        out: &mut Vec<Effect>,
    ) {
        self.damaged.forget(Rows::Group(group));
        let Some(slot) = self.groups.get_mut(&group) else { return };
        let GroupSlot::Loading(waiting) = slot else { return };
        let waiting = std::mem::take(waiting);
        *slot = GroupSlot::Hot(Box::new(HotGroup::new(state, now.mono)));
        for from in waiting.sources {
            self.drain_inbound(now, from, out);
        }
        for by in waiting.watching {
            self.group_watched_by(now.mono, (by, group), true, out);
        }
    }

    /// The store did not answer: sources push again.
    pub(super) fn group_load_failed(&mut self, group: GroupId) {
        if let Some(GroupSlot::Loading(waiting)) = self.groups.get(&group) {
            let sources = waiting.sources.clone();
            self.groups.remove(&group);
            for from in sources {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.inbound.clear();
                }
            }
        }
    }

    pub(super) fn hot_group(&self, group: GroupId) -> Option<&HotGroup> {
        match self.groups.get(&group) {
            Some(GroupSlot::Hot(hot)) => Some(hot),
            Some(GroupSlot::Loading(_)) | None => None,
        }
    }

    pub(super) fn hot_group_mut(&mut self, group: GroupId) -> Option<&mut HotGroup> {
        match self.groups.get_mut(&group) {
            Some(GroupSlot::Hot(hot)) => Some(hot),
            Some(GroupSlot::Loading(_)) | None => None,
        }
    }

    /// The state of a group in memory, for tests and tools.
    pub fn group(&self, group: GroupId) -> Option<&Group> {
        self.hot_group(group).and_then(|hot| hot.state.as_ref())
    }

    /// A group takes a message, or refuses it with a notice to its sender.
    pub(super) fn take_for_group(
        &mut self,
        now: MonoUs,
        group: GroupId,
        message: Arc<Message>,
    ) -> Received {
        let carried = message.group.as_deref().cloned().unwrap_or_default();
        let sizes = self.policy.groups;
        let Some(hot) = self.hot_group_mut(group) else {
            return self.refuse(&message, self.damaged.why(Rows::Group(group)));
        };
        hot.used_at = now;
        match Group::judge(hot.state.as_ref(), message.sender, &carried, sizes) {
            // Nobody is put off here, where a sender was told that it is accepted: who cannot be reached
            // for so long that an outbox is full has the sender told.
            Ok(ruling) if self.is_crowded(&ruling) => self.refuse(&message, Code::Quota),
            Ok(ruling) => self.order(message, carried, ruling),
            Err(code) => self.refuse(&message, code),
        }
    }

    /// Whether an outbox by which a message goes out is full.
    fn is_crowded(&self, ruling: &Ruling) -> bool {
        let full = |to: &ShardId| {
            let peer = self.peers.get(to);
            peer.is_some_and(|peer| peer.backlog() >= 2 * limits::OUTBOX_ITEMS_MAX)
        };
        by_shard(&ruling.to, self.key.count).keys().any(full)
    }

    /// A message that was judged gets its place.
    fn order(&mut self, message: Arc<Message>, carried: InGroup, ruling: Ruling) -> Received {
        let Ruling { place, to, heir } = ruling;
        self.clock = self.clock.merge(message.clock);
        self.clock = self.clock.tick(self.clock.wall());
        let targets = by_shard(&to, self.key.count).into_iter().map(|(to, members)| {
            let seq = self.peers.entry(to).or_default().out_next;
            Target { slot: Slot { to, seq }, members }
        });
        let targets = targets.collect();
        // What orders the group is its own shard's clock: it grows with the places.
        let carried = InGroup { place: Some(place), ..carried };
        let message = Message {
            clock: self.clock,
            group: Some(Box::new(carried)),
            ..Arc::unwrap_or_clone(message)
        };
        Received::Ordered { message: Arc::new(message), targets, heir }
    }

    /// A shard says that these cannot be members: the group takes them out again, however full an outbox
    /// is. Nobody would say it twice, and to wait could be to wait for each other. Each such answer follows
    /// from an addition that found room: one for each of its members' shards at most.
    pub(super) fn take_declined(
        &mut self,
        now: MonoUs,
        (group, place): (GroupId, ConvSeq),
        who: &[AccountId],
        (from, number): (ShardId, OutboxSeq),
    ) -> Received {
        let sizes = self.policy.groups;
        let Some(hot) = self.hot_group_mut(group) else { return Received::Dropped };
        hot.used_at = now;
        let Some(state) = &hot.state else { return Received::Dropped };
        let who = state.came_at(who, place);
        // In the name of an admin, if there is another one.
        let others = state.members.iter().filter(|(id, _)| !who.contains(id));
        let first = others.min_by_key(|(_, m)| (std::cmp::Reverse(m.role), m.since));
        // Named by what it follows from, which comes once.
        let mut msg_id = [0; 16];
        msg_id[..4].copy_from_slice(&u32::from(from).to_be_bytes());
        msg_id[8..].copy_from_slice(&number.0.to_be_bytes());
        let Some(first) = first.map(|(id, _)| *id).filter(|_| !who.is_empty()) else {
            return Received::Dropped;
        };
        let change = Change::Remove(who);
        let Ok(ruling) = state.rule(first, Some(&change), sizes) else {
            return Received::Dropped;
        };
        let carried = InGroup { change: Some(change), ..InGroup::default() };
        let message = Message {
            sender: first,
            sender_device: DeviceNo(0),
            client_seq: ClientSeq(0),
            msg_id: MsgId(msg_id),
            to: Address::Group(group),
            bodies: Bodies::Shared(bytes::Bytes::new()),
            expires_at_ms: 0,
            clock: self.clock,
            about: None,
            group: Some(Box::new(carried.clone())),
        };
        self.order(Arc::new(message), carried, ruling)
    }

    /// Called while an entry is applied: a group takes a message.
    pub(super) fn apply_ordered(&mut self, message: &Arc<Message>, heir: Heir, at: ShardSeq) {
        let (Address::Group(group), Some(place)) = (message.to, message.place()) else { return };
        // Whoever puts it into inboxes keeps it, too. This row is here so that a deletion, which may come
        // when inboxes hold nothing any more, finds it whatever those have written by then.
        if message.is_kept_apart() {
            self.keep_apart(group, message, at);
        }
        let Some(hot) = self.hot_group_mut(group) else {
            unreachable!("a decision or a replay about a group that is not in memory");
        };
        if hot.state.as_ref().is_some_and(|state| state.pos >= at) {
            return;
        }
        let state = hot.state.get_or_insert_with(Group::empty);
        hot.changed.extend(state.take(message.sender, message.change(), place, heir));
        state.pos = at;
        hot.dirty = true;
        // Members read a roster from its rows.
        let changes = message.change().is_some();
        let awaited = changes || (place.reach == Reach::Pull && !hot.watchers.is_empty());
        self.flushing.dirty_group(group, at);
        if awaited {
            self.flushing.hurry();
        }
    }

    /// A message whose body inboxes refer to, or that members read from the group's log, becomes a row
    /// of that.
    pub(super) fn keep_apart(&mut self, group: GroupId, message: &Arc<Message>, at: ShardSeq) {
        let home = self.key.home_gen;
        let (timestamp, erased) = if mutation::is_on(Mutation::G4) {
            (self.timestamp(at), self.timestamp(at))
        } else {
            (stamp::whole(home), stamp::erased(home))
        };
        self.flushing.log(LogRow { group, message: Arc::clone(message), timestamp });
        if let Some(about) = message.erases() {
            let About { author, msg_id, place, .. } = *about;
            let timestamp = erased;
            self.flushing.unlog(LogErasure { group, place, author, msg_id, timestamp });
        }
    }

    /// The rows of a large group's messages up to here are written: whoever is there may read them.
    pub(super) fn logged(&mut self, group: GroupId, upto: ConvSeq) {
        let Some(hot) = self.hot_group_mut(group) else { return };
        hot.logged = hot.logged.max(upto);
        let (head, watchers) = (hot.logged, hot.watchers.keys().copied().collect::<Vec<_>>());
        for to in watchers {
            self.tell_head(group, to, head);
        }
    }

    /// Members of a large group are there, on another shard.
    pub(super) fn group_watched_by(
        &mut self,
        now: MonoUs,
        (by, group): (ShardId, GroupId),
        on: bool,
        out: &mut Vec<Effect>,
    ) {
        if !on {
            if let Some(hot) = self.hot_group_mut(group) {
                hot.watchers.remove(&by);
            }
            return;
        }
        let hot = match self.group_slot(group, out) {
            GroupSlot::Hot(hot) => hot,
            GroupSlot::Loading(waiting) => {
                waiting.watching.insert(by);
                return;
            }
        };
        if hot.state.is_none() {
            return;
        }
        hot.used_at = now;
        let until = MonoUs(now.0 + limits::WATCH_LEASE_MS * 1000);
        hot.watchers.insert(by, until);
        let head = hot.logged;
        self.tell_head(group, by, head);
    }

    fn tell_head(&mut self, group: GroupId, to: ShardId, head: ConvSeq) {
        let items = self.peers.get(&to).map_or(OutboxSeq(1), |peer| peer.behind_changes_of(group));
        let signal = Signal::Head { group, to, head, items };
        self.after_all(Awaiting::Signal { to, signal });
    }

    /// Somebody writes something to a small group: its members are told.
    pub(super) fn typed_to_group(
        &mut self,
        now: MonoUs,
        (group, typing): (GroupId, Typing),
        out: &mut Vec<Effect>,
    ) {
        let GroupSlot::Hot(hot) = self.group_slot(group, out) else { return };
        let Some(state) = &hot.state else { return };
        let is_in = state.members.contains_key(&typing.from);
        if !is_in || state.members.len() > limits::TYPING_MEMBERS_MAX {
            return;
        }
        let others = state.members.keys().filter(|who| **who != typing.from);
        let others: Vec<_> = others.copied().collect();
        hot.used_at = now;
        for (to, members) in by_shard(&others, self.key.count) {
            self.after_all(Awaiting::Signal {
                to,
                signal: Signal::TypingInGroup { typing, to: members },
            });
        }
    }

    /// Watches that ended, and groups that may leave memory.
    pub(super) fn look_after_groups(&mut self, now: MonoUs) {
        for slot in self.groups.values_mut() {
            if let GroupSlot::Hot(hot) = slot {
                hot.watchers.retain(|_, until| *until > now);
            }
        }
    }

    /// Groups that are idle and clean leave memory.
    pub(super) fn evict_groups(&mut self, now: MonoUs) {
        let crowded = self.groups.len() > limits::HOT_GROUPS_MAX;
        self.groups.retain(|_, slot| match slot {
            GroupSlot::Loading(_) => true,
            GroupSlot::Hot(hot) => !hot.is_evictable(now, crowded),
        });
    }
}
