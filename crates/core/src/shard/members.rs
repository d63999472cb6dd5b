//! Members of groups, on the shards of their inboxes: what they are handed, which groups they are in,
//! and what they read of a large one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::account::{InboxContent, InboxItem};
use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::entry::{Entry, Received, Slot};
use crate::group::{Change, Membership, RosterPage};
use crate::id::{AccountId, DeviceNo, GroupId, ShardId};
use crate::limits;
use crate::message::{Address, Message};
use crate::seq::{ConvSeq, InboxSeq};
use crate::signal::{Signal, Typing};

use super::Shard;
use super::apply::{next_place, push_item};
use super::effect::{CallAnswer, Effect, ToConn};
use super::hot::{Conn, Hot};
use super::release::Awaiting;

/// A page of a group's log, as a device asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFetch {
    /// Which group.
    pub group: GroupId,
    /// Only places behind this one.
    pub after: ConvSeq,
    /// Only places up to this one, where there is one.
    pub upto: Option<ConvSeq>,
    /// At most so many.
    pub limit: u32,
}

/// The large groups of those who are there.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulls {
    members: BTreeMap<GroupId, BTreeSet<AccountId>>,
    /// The newest place of each that is known here.
    heads: BTreeMap<GroupId, ConvSeq>,
    renew_at: MonoUs,
}

impl Shard {
    /// Members here get a message of their group.
    pub(super) fn share(&mut self, message: Arc<Message>, members: Vec<AccountId>) -> Received {
        self.clock = self.clock.merge(message.clock);
        let comes = match message.change() {
            Some(Change::Create(who, _) | Change::Add(who)) => who.as_slice(),
            _ => &[],
        };
        let created = matches!(message.change(), Some(Change::Create(..)));
        let mut places = Vec::with_capacity(members.len());
        let mut declined = Vec::new();
        for account in members {
            let hot = self.hot(account);
            let state = hot.and_then(|hot| hot.state.as_ref());
            let comes = comes.contains(&account) || (created && account == message.sender);
            let may = state.is_some_and(|state| {
                is_in(state, &message) || (comes && state.takes_memberships())
            });
            match hot.and_then(next_place).filter(|_| may) {
                Some(place) => places.push((account, place)),
                None if comes => declined.push(account),
                // It was declined, and its group does not know it yet.
                None => {}
            }
        }
        let to = message.to.shard(self.key.count);
        let declined = (!declined.is_empty()).then(|| {
            let seq = self.peers.entry(to).or_default().out_next;
            (declined, Slot { to, seq })
        });
        Received::Shared { message, places, declined }
    }

    /// Called while an entry is applied: members get a message.
    pub(super) fn apply_shared(
        &mut self,
        (message, places): (&Arc<Message>, &[(AccountId, InboxSeq)]),
        entry: &Entry,
    ) {
        let (Address::Group(group), Some(place)) = (message.to, message.place()) else { return };
        let (at, now) = (entry.seq, entry.clock.wall());
        if message.is_kept_apart() && !places.is_empty() {
            self.keep_apart(group, message, at);
        }
        for (account, inbox_seq) in places {
            let content = InboxContent::Message(Arc::clone(message));
            let item = InboxItem { seq: *inbox_seq, clock: entry.clock, content };
            let mut changed = None;
            self.change(*account, at, |hot| {
                push_item(hot, item);
                let Some(state) = &mut hot.state else { return };
                let known = state.groups.get(&group).copied();
                let (sender, change) = (message.sender, message.change());
                changed = Membership::after(known, *account, sender, change, (place, now));
                if let Some(membership) = changed {
                    state.note_membership(group, membership);
                }
            });
            if changed.is_some() {
                self.flushing.dirty_memberships(*account);
                self.regroup.insert(*account);
            }
            if let Some(about) = message.erases() {
                self.erase((*account, *inbox_seq), message.to, about, at);
            }
        }
    }

    /// The groups of the account, as it knows them.
    pub(super) fn list_groups(&mut self, conn: Conn, corr: u32) {
        let Some((account, _)) = self.attached(conn) else { return };
        let Some(state) = self.account(account) else { return };
        let groups = state.groups.iter().map(|(group, known)| (*group, *known)).collect();
        let what = ToConn::Result { corr, answer: CallAnswer::Groups(groups) };
        self.after_all(Awaiting::ToConn { conn, what });
    }

    /// A device asks who is in a group: those who are in it may know.
    pub(super) fn roster(
        &mut self,
        conn: Conn,
        corr: u32,
        (group, after): (GroupId, Option<AccountId>),
        out: &mut Vec<Effect>,
    ) {
        let Some((account, device)) = self.attached(conn) else { return };
        if self.membership(account, group).is_none_or(|known| known.until.is_some()) {
            return refuse(conn, corr, Code::NotMember, "not a member of this group", out);
        }
        if self.asks((account, device), corr) {
            out.push(Effect::ReadRoster { account, conn, corr, group, after });
        } else {
            refuse(conn, corr, Code::RateLimited, "too many questions at once", out);
        }
    }

    /// The store's answer to [`Effect::ReadRoster`].
    pub(super) fn roster_read(
        &mut self,
        (account, conn, corr): (AccountId, Conn, u32),
        page: Option<Option<RosterPage>>,
        out: &mut Vec<Effect>,
    ) {
        if !self.is_asked((account, conn), corr) {
            return;
        }
        match page {
            None => refuse(conn, corr, Code::StoreUnavailable, "the store did not answer", out),
            Some(None) => refuse(conn, corr, Code::NoConversation, "no such group yet", out),
            Some(Some(page)) => {
                let answer = CallAnswer::Roster(Box::new(page));
                out.push(Effect::ToConn { conn, what: ToConn::Result { corr, answer } });
            }
        }
    }

    /// A device reads the log of a large group.
    pub(super) fn fetch_log(
        &mut self,
        conn: Conn,
        corr: u32,
        fetch: LogFetch,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, device)) = self.attached(conn) else { return };
        let known = self.membership(account, fetch.group);
        let Some(known) = known else {
            return refuse(conn, corr, Code::NotMember, "not a member of this group", out);
        };
        if !self.asks((account, device), corr) {
            return refuse(conn, corr, Code::RateLimited, "too many pages at once", out);
        }
        let limit = fetch.limit.clamp(1, limits::PAGE_MESSAGES_MAX);
        match known.readable(fetch.after) {
            None => {
                self.is_asked((account, conn), corr);
                let what = ToConn::LogPage { corr, device, messages: Vec::new(), more: false };
                out.push(Effect::ToConn { conn, what });
            }
            Some((after, upto)) => {
                let fetch = LogFetch { after, upto, limit, ..fetch };
                out.push(Effect::ReadLog { account, conn, corr, fetch });
            }
        }
    }

    /// The store's answer to [`Effect::ReadLog`].
    pub(super) fn log_read(
        &mut self,
        now: Now,
        (account, conn, corr): (AccountId, Conn, u32),
        fetch: LogFetch,
        messages: Option<Vec<Arc<Message>>>,
        out: &mut Vec<Effect>,
    ) {
        if !self.is_asked((account, conn), corr) {
            return;
        }
        let Some((_, device)) = self.attached(conn) else { return };
        let Some(messages) = messages else {
            return refuse(conn, corr, Code::StoreUnavailable, "the store did not answer", out);
        };
        let mut bytes = 0;
        let read = messages.len();
        let fits = messages.iter().take_while(|message| {
            bytes += message.weight();
            bytes <= limits::PAGE_BYTES_MAX
        });
        let count = fits.count().max(1).min(read);
        let more = count < read || read >= usize::try_from(fetch.limit).unwrap_or(usize::MAX);
        let shown = messages.into_iter().take(count).map(|message| {
            if message.is_expired(now.wall) { Arc::new(message.without_body()) } else { message }
        });
        let what = ToConn::LogPage { corr, device, messages: shown.collect(), more };
        out.push(Effect::ToConn { conn, what });
    }

    fn membership(&self, account: AccountId, group: GroupId) -> Option<Membership> {
        self.account(account)?.groups.get(&group).copied()
    }

    /// Whether a device may ask the store for one more page; then it does.
    fn asks(&mut self, (account, device): (AccountId, DeviceNo), corr: u32) -> bool {
        let attachment = self.hot_mut(account).and_then(|hot| hot.attachments.get_mut(&device));
        let Some(attachment) = attachment else { return false };
        let fits = attachment.fetching.len() < limits::FETCHES_MAX;
        fits && attachment.fetching.insert(corr, Vec::new()).is_none()
    }

    /// Whether a device still waits for this answer; then it does not any more.
    fn is_asked(&mut self, (account, conn): (AccountId, Conn), corr: u32) -> bool {
        let Some((_, device)) = self.attached(conn).filter(|(known, _)| *known == account) else {
            return false;
        };
        let attachment = self.hot_mut(account).and_then(|hot| hot.attachments.get_mut(&device));
        attachment.is_some_and(|attachment| attachment.fetching.remove(&corr).is_some())
    }

    /// Which large groups are to be watched changes with who is there, and with memberships.
    pub(super) fn regroup(&mut self, out: &mut Vec<Effect>) {
        while let Some(account) = self.regroup.pop_first() {
            self.watch_groups_of(account, out);
        }
    }

    fn watch_groups_of(&mut self, account: AccountId, out: &mut Vec<Effect>) {
        let Some(hot) = self.hot(account) else { return };
        let there = !hot.attachments.is_empty();
        let wanted: BTreeSet<_> = hot.state.iter().flat_map(pulled).filter(|_| there).collect();
        let known = self.pulls.members.iter().filter(|(_, who)| who.contains(&account));
        let known: BTreeSet<_> = known.map(|(group, _)| *group).collect();
        for group in known.difference(&wanted) {
            let Some(members) = self.pulls.members.get_mut(group) else { continue };
            members.remove(&account);
            if members.is_empty() {
                self.pulls.members.remove(group);
                self.pulls.heads.remove(group);
                self.watch_group(*group, false, out);
            }
        }
        for group in &wanted {
            let members = self.pulls.members.entry(*group).or_default();
            let first = members.is_empty();
            members.insert(account);
            if first {
                self.watch_group(*group, true, out);
            } else if let Some(head) = self.pulls.heads.get(group).copied() {
                self.tell_head_to(account, *group, head);
            }
        }
    }

    fn watch_group(&self, group: GroupId, on: bool, out: &mut Vec<Effect>) {
        let signal = Signal::WatchGroup { by: self.key.id, group, on };
        out.push(Effect::Signal { to: group.shard(self.key.count), signal });
    }

    /// Takes every watch of a group on a shard anew: it has another owner.
    pub(super) fn watch_groups_again(&self, of: ShardId, out: &mut Vec<Effect>) {
        for group in self.pulls.members.keys().filter(|g| g.shard(self.key.count) == of) {
            self.watch_group(*group, true, out);
        }
    }

    /// The shards of the large groups of those who are there.
    pub(super) fn group_shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.pulls.members.keys().map(|group| group.shard(self.key.count))
    }

    /// Renews what is watched.
    pub(super) fn renew_group_watches(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        if now >= self.pulls.renew_at {
            self.pulls.renew_at = MonoUs(now.0 + limits::WATCH_RENEW_MS * 1000);
            for group in self.pulls.members.keys() {
                self.watch_group(*group, true, out);
            }
        }
    }

    /// A large group has news: those who are there are told.
    pub(super) fn head_is(&mut self, group: GroupId, head: ConvSeq) {
        let Some(members) = self.pulls.members.get(&group) else { return };
        let members = members.clone();
        let known = self.pulls.heads.entry(group).or_default();
        *known = head.max(*known);
        let head = *known;
        for account in members {
            self.tell_head_to(account, group, head);
        }
    }

    fn tell_head_to(&mut self, account: AccountId, group: GroupId, head: ConvSeq) {
        let Some(hot) = self.hot_mut(account) else { return };
        for attachment in hot.attachments.values_mut() {
            let told = attachment.heads_told.get(&group).copied().unwrap_or_default();
            if head > told {
                attachment.heads.insert(group, head);
            }
        }
        self.to_pump.insert(account);
    }

    /// Somebody writes something to a group of members here.
    pub(super) fn typed_to_members(
        &self,
        typing: Typing,
        members: &[AccountId],
        out: &mut Vec<Effect>,
    ) {
        for account in members {
            self.typed_to(*account, typing, out);
        }
    }
}

/// What a device is told of large groups.
pub(super) fn next_heads(hot: &mut Hot, device: DeviceNo, out: &mut Vec<Effect>) {
    let Some(attachment) = hot.attachments.get_mut(&device) else { return };
    if attachment.blocked || !attachment.greeted {
        return;
    }
    let conn = attachment.conn;
    for (group, head) in std::mem::take(&mut attachment.heads) {
        attachment.heads_told.insert(group, head);
        out.push(Effect::ToConn { conn, what: ToConn::Head { group, head } });
    }
}

/// The large groups that an account is in.
fn pulled(state: &crate::account::Account) -> impl Iterator<Item = GroupId> + '_ {
    let pulls = |known: &Membership| known.until.is_none() && known.pulls.is_some();
    state.groups.iter().filter(move |(_, known)| pulls(known)).map(|(group, _)| *group)
}

fn is_in(state: &crate::account::Account, message: &Message) -> bool {
    let Address::Group(group) = message.to else { return false };
    state.groups.get(&group).is_some_and(|known| known.until.is_none())
}

fn refuse(conn: Conn, corr: u32, code: Code, text: &'static str, out: &mut Vec<Effect>) {
    let answer = CallAnswer::Refused(code, text);
    out.push(Effect::ToConn { conn, what: ToConn::Result { corr, answer } });
}
