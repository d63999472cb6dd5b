//! The logs of large groups: who is there is told how far they go, and reads them from rows.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::group::Membership;
use crate::id::{AccountId, DeviceNo, GroupId, ShardId};
use crate::limits;
use crate::message::Message;
use crate::mutation::{self, Mutation};
use crate::seq::{ConvSeq, OutboxSeq};
use crate::signal::Signal;

use super::Shard;
use super::effect::{Effect, ToConn};
use super::hot::{Conn, Hot};
use super::members::refuse;

pub(super) const UNHEARD: &str =
    "how far the group's log goes is not known here yet: ask again in a moment";

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
    heads: BTreeMap<GroupId, Heads>,
    /// Groups of each shard with a head that waits for items of it.
    waiting: BTreeMap<ShardId, BTreeSet<GroupId>>,
    renew_at: MonoUs,
    ask_again_at: MonoUs,
}

/// How far the log of a group goes, as its shard told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Heads {
    /// Up to here members may read.
    readable: Option<ConvSeq>,
    /// The next one, and the newest: each may be read once the items of the group's shard before the
    /// number are taken here. Two are enough: while the next one waits, newer ones take the other's
    /// place, so that a group that never rests holds nobody up.
    next: Option<(OutboxSeq, ConvSeq)>,
    newest: Option<(OutboxSeq, ConvSeq)>,
}

impl Heads {
    /// Notes one that was told; told out of order or twice, they only grow.
    fn note(&mut self, told: (OutboxSeq, ConvSeq)) {
        if self.next.is_none() {
            self.next = Some(told);
        } else {
            let (items, head) = self.newest.unwrap_or_default();
            self.newest = Some((items.max(told.0), head.max(told.1)));
        }
    }

    /// Items below `taken` are taken here; whether members may read on.
    fn take(&mut self, taken: OutboxSeq) -> bool {
        let before = self.readable;
        while let Some((_, head)) = self.next.take_if(|(items, _)| *items <= taken) {
            self.readable = self.readable.max(Some(head));
            self.next = self.newest.take();
        }
        self.readable > before
    }
}

impl Shard {
    /// A device reads the log of a large group.
    pub(super) fn fetch_log(
        &mut self,
        conn: Conn,
        corr: u32,
        fetch: LogFetch,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, _)) = self.attached(conn) else { return };
        let Some(known) = self.membership(account, fetch.group) else {
            return refuse(conn, corr, Code::NotMember, "not a member of this group", out);
        };
        // Up to where it left; and while it has not, only as far as it would be known here if it had.
        let upto = match known.until {
            None if known.pulls.is_some() && !mutation::is_on(Mutation::G5) => {
                match self.readable(fetch.group) {
                    Some(head) => Some(head),
                    None => return refuse(conn, corr, Code::OwnerMoving, UNHEARD, out),
                }
            }
            until => until,
        };
        let places = Membership { until: upto, ..known }.readable(fetch.after);
        self.read_log((conn, corr), places, fetch, out);
    }

    /// Up to where members of a large group may read; nothing while that is not known here.
    pub(super) fn readable(&self, group: GroupId) -> Option<ConvSeq> {
        self.pulls.heads.get(&group)?.readable
    }

    fn read_log(
        &mut self,
        (conn, corr): (Conn, u32),
        places: Option<(ConvSeq, Option<ConvSeq>)>,
        fetch: LogFetch,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some((after, upto)) = places else {
            let what = ToConn::LogPage { corr, device, messages: Vec::new(), more: false };
            return out.push(Effect::ToConn { conn, what });
        };
        if !self.asks((account, device), corr) {
            return refuse(conn, corr, Code::RateLimited, "too many pages at once", out);
        }
        let limit = fetch.limit.clamp(1, limits::PAGE_MESSAGES_MAX);
        let fetch = LogFetch { after, upto, limit, ..fetch };
        out.push(Effect::ReadLog { account, conn, corr, fetch });
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
            } else if let Some(head) = self.readable(*group) {
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

    /// Renews what is watched. Whoever was asked and told nothing may not have heard it.
    pub(super) fn renew_group_watches(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        let all = now >= self.pulls.renew_at;
        if !all && now < self.pulls.ask_again_at {
            return;
        }
        let Pulls { members, heads, .. } = &self.pulls;
        let is_told = |group| heads.get(group).is_some_and(|heads| *heads != Heads::default());
        for group in members.keys().filter(|group| all || !is_told(*group)) {
            self.watch_group(*group, true, out);
        }
        self.pulls.ask_again_at = MonoUs(now.0 + limits::WATCH_ASK_AGAIN_MS * 1000);
        if all {
            self.pulls.renew_at = MonoUs(now.0 + limits::WATCH_RENEW_MS * 1000);
        }
    }

    /// A large group has news. Somebody who was put out of it hears so by an item of its shard's outbox, and
    /// until that is taken here would read what is said later: so a head counts behind those items.
    pub(super) fn head_is(&mut self, group: GroupId, told: (OutboxSeq, ConvSeq)) {
        if self.pulls.members.contains_key(&group) {
            self.pulls.heads.entry(group).or_default().note(told);
            self.read_on(group);
        }
    }

    /// Items of a shard were taken: members may read what was told behind them.
    pub(super) fn read_on_from(&mut self, from: ShardId) {
        for group in self.pulls.waiting.remove(&from).unwrap_or_default() {
            self.read_on(group);
        }
    }

    fn read_on(&mut self, group: GroupId) {
        let from = group.shard(self.key.count);
        let taken = self.peers.get(&from).map_or(OutboxSeq(1), |peer| peer.in_next);
        let taken = if mutation::is_on(Mutation::G5) { OutboxSeq(u64::MAX) } else { taken };
        let Some(heads) = self.pulls.heads.get_mut(&group) else { return };
        let reads_on = heads.take(taken);
        let (head, waits) = (heads.readable, heads.next.is_some());
        if waits {
            self.pulls.waiting.entry(from).or_default().insert(group);
        }
        let Some(head) = head.filter(|_| reads_on) else { return };
        let members = self.pulls.members.get(&group).cloned().unwrap_or_default();
        for account in members {
            if self.membership(account, group).is_some_and(|known| known.until.is_none()) {
                self.tell_head_to(account, group, head);
            }
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
