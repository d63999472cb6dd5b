//! Presence: owned by each person's shard, told to those who watch.
//!
//! A watch is a lease: the watcher's shard renews it, and takes it anew when the watched shard has
//! another owner. Nothing of it is logged; a new owner learns it from the watchers, and says nothing of
//! who is not there until its people had time to come back to it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::MonoUs;
use crate::code::Code;
use crate::id::{AccountId, DeviceNo, ShardId};
use crate::limits;
use crate::signal::{Presence, Signal};

use super::Shard;
use super::effect::{CallAnswer, Effect, ToConn};
use super::hot::{Conn, Hot, Waiting};
use super::input::Input;
use super::release::Awaiting;

/// Who watches whom in this shard.
#[derive(Debug, Clone, Default)]
pub(super) struct Watches {
    watchers: BTreeMap<AccountId, BTreeMap<AccountId, Watcher>>,
    /// Accounts whose presence may not be what their watchers were told, and when to look.
    due: BTreeMap<AccountId, MonoUs>,
    /// When this ownership began to serve.
    since: MonoUs,
    renew_at: MonoUs,
}

#[derive(Debug, Clone, Copy)]
struct Watcher {
    until: MonoUs,
    told: Option<Presence>,
}

impl Watches {
    pub(super) fn new(now: MonoUs) -> Self {
        Self { since: now, renew_at: now, ..Self::default() }
    }

    /// A watched account that leaves memory would be loaded again at once.
    pub(super) fn has(&self, account: AccountId) -> bool {
        self.watchers.contains_key(&account)
    }

    fn look_at(&mut self, account: AccountId, at: MonoUs) {
        if self.watchers.contains_key(&account) {
            let due = self.due.entry(account).or_insert(at);
            *due = at.min(*due);
        }
    }
}

impl Hot {
    /// Whether a device is here whose person is, too.
    fn is_present(&self) -> bool {
        self.attachments.values().any(|attachment| !attachment.away)
    }

    fn presence(&self) -> Presence {
        let last_seen = self.state.as_ref().map(|state| state.last_seen).unwrap_or_default();
        if self.is_present() { Presence::Online } else { Presence::Offline(last_seen) }
    }
}

impl Shard {
    /// A device watches these accounts, or does not any more.
    pub(super) fn subscribe(
        &mut self,
        conn: Conn,
        corr: u32,
        (accounts, on): (&[AccountId], bool),
        out: &mut Vec<Effect>,
    ) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        let mut watching = attachment.watching.clone();
        for of in accounts.iter().filter(|of| of.tenant() == account.tenant()) {
            if on {
                watching.insert(*of)
            } else {
                watching.remove(of)
            };
        }
        let answer = if watching.len() > limits::WATCHED_MAX {
            CallAnswer::Refused(Code::Quota, "a device watches at most 256 accounts")
        } else {
            attachment.watching = watching;
            CallAnswer::Done
        };
        let done = answer == CallAnswer::Done;
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
        for of in accounts.iter().filter(|_| done) {
            self.watch(account, *of, on, out);
        }
    }

    /// Tells the shard of `of`, unless another device of the account still watches what one left.
    fn watch(&self, by: AccountId, of: AccountId, on: bool, out: &mut Vec<Effect>) {
        let watched = |hot: &Hot| hot.attachments.values().any(|a| a.watching.contains(&of));
        if !on && self.hot(by).is_some_and(watched) {
            return;
        }
        let to = of.shard(self.key.count);
        out.push(Effect::Signal { to, signal: Signal::Watch { by, of, on } });
    }

    /// Takes every watch into a shard anew: it has another owner.
    pub(super) fn watch_again(&self, to: ShardId, out: &mut Vec<Effect>) {
        for (by, of) in self.watched() {
            if of.shard(self.key.count) == to {
                out.push(Effect::Signal { to, signal: Signal::Watch { by, of, on: true } });
            }
        }
    }

    fn watched(&self) -> BTreeSet<(AccountId, AccountId)> {
        let attached = self.conns.values().collect::<BTreeSet<_>>();
        let watching = |(account, device): &(AccountId, DeviceNo)| {
            let attachment = self.hot(*account).and_then(|hot| hot.attachments.get(device));
            let watching = attachment.map(|attachment| attachment.watching.iter().copied());
            let account = *account;
            watching.into_iter().flatten().map(move |of| (account, of)).collect::<Vec<_>>()
        };
        attached.into_iter().flat_map(watching).collect()
    }

    /// The shards of accounts that devices here watch.
    pub(super) fn watched_shards(&self) -> BTreeSet<ShardId> {
        self.watched().into_iter().map(|(_, of)| of.shard(self.key.count)).collect()
    }

    /// Somebody watches an account of this shard.
    pub(super) fn watched_by(
        &mut self,
        now: MonoUs,
        (by, of): (AccountId, AccountId),
        on: bool,
        out: &mut Vec<Effect>,
    ) {
        if by.tenant() != of.tenant() {
            return;
        }
        if !on {
            if let Some(watchers) = self.watches.watchers.get_mut(&of) {
                watchers.remove(&by);
            }
            return;
        }
        let again = Input::Signal(Signal::Watch { by, of, on });
        if !self.is_loaded(of, Waiting::Input(Box::new(again)), out) {
            return;
        }
        if self.account(of).is_none() {
            return;
        }
        let watchers = self.watches.watchers.entry(of).or_default();
        let until = MonoUs(now.0 + limits::WATCH_LEASE_MS * 1000);
        if watchers.len() < limits::WATCHERS_MAX || watchers.contains_key(&by) {
            // Whoever asks again may have forgotten what it was told.
            watchers.insert(by, Watcher { until, told: None });
        }
        self.presence_may_differ(of, now);
    }

    /// Something changed on which an account's presence depends.
    pub(super) fn presence_may_differ(&mut self, account: AccountId, now: MonoUs) {
        let Some(hot) = self.hot(account) else { return };
        // Who leaves comes back at once, most of the time.
        let at =
            if hot.is_present() { now } else { MonoUs(now.0 + limits::LEAVE_DEBOUNCE_MS * 1000) };
        self.watches.look_at(account, at);
    }

    /// Tells watchers what changed, and renews the watches of devices here.
    pub(super) fn tell_presence(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        let due: Vec<_> = self
            .watches
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(account, _)| *account)
            .collect();
        for account in due {
            self.watches.due.remove(&account);
            self.tell_presence_of(account, now);
        }
        if now >= self.watches.renew_at {
            self.watches.renew_at = MonoUs(now.0 + limits::WATCH_RENEW_MS * 1000);
            self.drop_ended_watches(now);
            for (by, of) in self.watched() {
                let to = of.shard(self.key.count);
                out.push(Effect::Signal { to, signal: Signal::Watch { by, of, on: true } });
            }
        }
    }

    fn drop_ended_watches(&mut self, now: MonoUs) {
        self.watches.watchers.retain(|_, watchers| {
            watchers.retain(|_, watcher| watcher.until > now);
            !watchers.is_empty()
        });
    }

    fn tell_presence_of(&mut self, account: AccountId, now: MonoUs) {
        let Some(hot) = self.hot(account) else { return };
        let Some(state) = &hot.state else { return };
        let (presence, relations) = (hot.presence(), state.relations.clone());
        let known_at = self.watches.since.0 + limits::PRESENCE_GRACE_MS * 1000;
        if presence != Presence::Online && now.0 < known_at {
            return self.watches.look_at(account, MonoUs(known_at));
        }
        let count = self.key.count;
        let Some(watchers) = self.watches.watchers.get_mut(&account) else { return };
        let mut told: BTreeMap<(ShardId, bool), Vec<AccountId>> = BTreeMap::new();
        for (by, watcher) in watchers.iter_mut().filter(|(_, watcher)| watcher.until > now) {
            let shown = relations.shows_presence_to(*by);
            let presence = if shown { presence } else { Presence::Hidden };
            if watcher.told != Some(presence) {
                watcher.told = Some(presence);
                told.entry((by.shard(count), shown)).or_default().push(*by);
            }
        }
        for ((shard, shown), to) in told {
            let presence = if shown { presence } else { Presence::Hidden };
            let signal = Signal::Presence { of: account, to, presence };
            self.after_all(Awaiting::Signal { to: shard, signal });
        }
    }

    /// Accounts here watch `of`, and are told.
    pub(super) fn presence_is(&mut self, of: AccountId, to: &[AccountId], presence: Presence) {
        for account in to {
            let Some(hot) = self.hot_mut(*account) else { continue };
            let watching = hot.attachments.values_mut().filter(|a| a.watching.contains(&of));
            for attachment in watching {
                attachment.presences.insert(of, presence);
            }
            self.to_pump.insert(*account);
        }
    }

    /// A person looks away from a device, or at it.
    pub(super) fn set_away(&mut self, now: MonoUs, conn: Conn, away: bool) {
        let Some((account, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        if let Some(attachment) = hot.attachments.get_mut(&device) {
            attachment.away = away;
            self.presence_may_differ(account, now);
        }
    }
}

/// What a device is told of those it watches.
pub(super) fn next_presences(hot: &mut Hot, device: DeviceNo, out: &mut Vec<Effect>) {
    let Some(attachment) = hot.attachments.get_mut(&device) else { return };
    if attachment.blocked || !attachment.greeted {
        return;
    }
    let conn = attachment.conn;
    for (of, presence) in std::mem::take(&mut attachment.presences) {
        out.push(Effect::ToConn { conn, what: ToConn::Presence { of, presence } });
    }
}
