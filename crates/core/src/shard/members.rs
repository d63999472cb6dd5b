//! Members of groups, on the shards of their inboxes: what they are handed, and which groups they are in.

#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use crate::account::{InboxContent, InboxItem};
use crate::code::Code;
use crate::entry::{Entry, Received, Slot};
use crate::group::{Change, Membership, RosterPage};
use crate::id::{AccountId, DeviceNo, GroupId};
use crate::limits;
use crate::message::{Address, Message};
use crate::seq::InboxSeq;
use crate::signal::Typing;

use super::Shard;
use super::apply::{next_place, push_item};
use super::effect::{CallAnswer, Effect, ToConn};
use super::hot::Conn;
use super::pulls::UNHEARD;
use super::release::Awaiting;

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
        group: GroupId,
        page: Option<Option<RosterPage>>,
        out: &mut Vec<Effect>,
    ) {
        if !self.is_asked((account, conn), corr) {
            return;
        }
        // Of a large group it says no more than its log: see `fetch_log`.
        let pulled = self.membership(account, group).is_some_and(|known| known.pulls.is_some());
        let is_ahead = |page: &RosterPage| Some(page.version) > self.readable(group);
        match page {
            Some(Some(page)) if pulled && is_ahead(&page) => {
                refuse(conn, corr, Code::OwnerMoving, UNHEARD, out);
            }
            None => refuse(conn, corr, Code::StoreUnavailable, "the store did not answer", out),
            Some(None) => refuse(conn, corr, Code::NoConversation, "no such group yet", out),
            Some(Some(page)) => {
                let answer = CallAnswer::Roster(Box::new(page));
                out.push(Effect::ToConn { conn, what: ToConn::Result { corr, answer } });
            }
        }
    }

    pub(super) fn membership(&self, account: AccountId, group: GroupId) -> Option<Membership> {
        self.account(account)?.groups.get(&group).copied()
    }

    /// Whether a device may ask the store for one more page; then it does.
    pub(super) fn asks(&mut self, (account, device): (AccountId, DeviceNo), corr: u32) -> bool {
        let attachment = self.hot_mut(account).and_then(|hot| hot.attachments.get_mut(&device));
        let Some(attachment) = attachment else { return false };
        let fits = attachment.fetching.len() < limits::FETCHES_MAX;
        fits && attachment.fetching.insert(corr, Vec::new()).is_none()
    }

    /// Whether a device still waits for this answer; then it does not any more.
    pub(super) fn is_asked(&mut self, (account, conn): (AccountId, Conn), corr: u32) -> bool {
        let Some((_, device)) = self.attached(conn).filter(|(known, _)| *known == account) else {
            return false;
        };
        let attachment = self.hot_mut(account).and_then(|hot| hot.attachments.get_mut(&device));
        attachment.is_some_and(|attachment| attachment.fetching.remove(&corr).is_some())
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

fn is_in(state: &crate::account::Account, message: &Message) -> bool {
    let Address::Group(group) = message.to else { return false };
    state.groups.get(&group).is_some_and(|known| known.until.is_none())
}

pub(super) fn refuse(conn: Conn, corr: u32, code: Code, text: &'static str, out: &mut Vec<Effect>) {
    let answer = CallAnswer::Refused(code, text);
    out.push(Effect::ToConn { conn, what: ToConn::Result { corr, answer } });
}
