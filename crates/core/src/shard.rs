//! One shard: a deterministic state machine over its accounts and its outboxes.
//!
//! The owner feeds it inputs and performs its effects in order. It never decides twice: what a
//! decision changes is changed by [`Shard::apply`] alone, from the entry that records it, both when it
//! is made and when it is replayed. What it answers waits until the position it was computed at is
//! released (`decisions.md` 3), so that no unreleased state is ever seen outside.

mod apply;
mod attach;
mod damaged;
mod deliver;
mod devices;
mod effect;
mod erase;
mod fetch;
mod flush;
mod groups;
mod hot;
mod input;
mod marks;
mod members;
mod outbox;
mod presence;
mod pulls;
mod receipts;
mod receive;
mod release;
mod replay;
#[cfg(test)]
mod rig;
mod send;
mod suspect;
mod typing;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::account::Account;
use crate::clock::{Hlc, MonoUs, Now, WallMs};
use crate::entry::{Entry, Op, Progress};
use crate::group::Sizes;
use crate::id::{AccountId, DeviceNo, GroupId, ShardCount, ShardId};
use crate::limits;
use crate::message::Address;
use crate::rate::Rates;
use crate::seq::{Epoch, HomeGen, InboxSeq, OutboxSeq, ShardSeq};
use crate::signal::Signal;

pub use effect::{Attached, CallAnswer, DeviceSummary, DirectoryAnswer, Effect, ToConn};
pub use erase::Erasure;
pub use flush::{
    AccountRow, Flush, GroupRow, InboxRun, IndexRow, LogErasure, LogRow, MarkRow, OutboxRow,
    PeerRow,
};
pub use hot::Conn;
pub use input::{Attach, Fetch, HistoryPage, HistoryPoint, Input, LinkNo, MarksPage, Send, Token};
pub use outbox::{OutboxItem, Peer};
pub use pulls::LogFetch;
pub use replay::{Recovered, ReplayError};
pub use suspect::{Deciding, Numbered};

use groups::GroupSlot;
use hot::{Hot, Slot};
use presence::Watches;
use pulls::Pulls;
use receipts::Receipts;
use release::Awaiting;

/// Which shard, by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardKey {
    /// The shard.
    pub id: ShardId,
    /// How many its cluster has.
    pub count: ShardCount,
    /// Its home region, counted.
    pub home_gen: HomeGen,
    /// The ownership under which it appends.
    pub epoch: Epoch,
}

/// What people chose for all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether what every device has acknowledged is kept for later devices and for history.
    pub history: bool,
    /// How fast sends are taken.
    pub rates: Rates,
    /// How messages to groups reach their members.
    pub groups: Sizes,
}

/// A shard. See the module.
#[derive(Debug, Clone)]
pub struct Shard {
    key: ShardKey,
    policy: Policy,
    /// The position of the next entry.
    next_seq: ShardSeq,
    /// Positions below are released.
    released: ShardSeq,
    clock: Hlc,
    accounts: BTreeMap<AccountId, Slot>,
    groups: BTreeMap<GroupId, GroupSlot>,
    peers: BTreeMap<ShardId, Peer>,
    conns: BTreeMap<Conn, (AccountId, DeviceNo)>,
    /// What happens when a position is released, in order of positions.
    awaiting: VecDeque<(ShardSeq, Awaiting)>,
    /// Accounts with something to deliver since the last pump.
    to_pump: BTreeSet<AccountId>,
    /// Accounts whose inbox the store did not read: they are read again, though nothing else happens.
    unread: BTreeSet<AccountId>,
    /// Changes that no log entry records yet; see [`Progress`].
    progress: PendingProgress,
    receipts: Receipts,
    watches: Watches,
    pulls: Pulls,
    /// Accounts whose devices or memberships changed.
    regroup: BTreeSet<AccountId>,
    flushing: flush::FlushState,
    damaged: damaged::Damaged,
    /// False while a move drains the shard: sends are refused, everything else goes on.
    admitting: bool,
    /// What devices acknowledged meanwhile, and when: it counts if the shard stays after all. Where it
    /// leaves, its next owner is told.
    late_acks: BTreeMap<(AccountId, DeviceNo), (InboxSeq, MonoUs)>,
    /// What was read meanwhile.
    late_reads: BTreeMap<(AccountId, AccountId), receipts::LateRead>,
    /// Accounts of which the shard ended connections.
    gone: BTreeSet<AccountId>,
    refused_while_moving: u32,
    /// What is being decided.
    deciding: Option<Deciding>,
    /// Over what owners panicked, in words.
    suspects: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct PendingProgress {
    cursors: BTreeMap<(AccountId, DeviceNo), InboxSeq>,
    /// Those that wait for receipts, while a flush is captured.
    held_back: BTreeMap<(AccountId, DeviceNo), InboxSeq>,
    confirmations: BTreeMap<ShardId, OutboxSeq>,
    floors: BTreeMap<AccountId, InboxSeq>,
    seen: BTreeMap<AccountId, WallMs>,
}

impl PendingProgress {
    /// What is to be logged; what is held back stays.
    fn take(&mut self) -> Progress {
        let held_back = std::mem::take(&mut self.held_back);
        let taken = std::mem::replace(self, Self { held_back, ..Self::default() });
        Progress {
            cursors: taken.cursors.into_iter().map(|((a, d), seq)| (a, d, seq)).collect(),
            confirmations: taken.confirmations.into_iter().collect(),
            floors: taken.floors.into_iter().collect(),
            seen: taken.seen.into_iter().collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.cursors.is_empty()
            && self.confirmations.is_empty()
            && self.floors.is_empty()
            && self.seen.is_empty()
    }
}

impl Shard {
    /// Takes an input, whatever happened over it before; see [`Shard::step`].
    fn take_input(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Attach(attach) => self.attach(now, attach, out),
            Input::Detach { conn } => self.detach(now, conn),
            Input::Send { conn, send } => self.send(now, conn, send, out),
            Input::Ack { conn, seq } => self.acknowledge(now.mono, conn, seq, out),
            Input::Read { conn, conversation, upto, private } => {
                self.read(now, conn, (conversation, upto), private, out);
            }
            Input::Types { conn, to, kind } => self.types(now.mono, conn, (to, kind), out),
            Input::Away { conn, away } => self.set_away(now.mono, conn, away),
            Input::Subscribe { conn, corr, accounts, on } => {
                self.subscribe(conn, corr, (&accounts, on), out);
            }
            Input::Fetch { conn, corr, fetch } => self.fetch(conn, corr, fetch, out),
            Input::ListGroups { conn, corr } => self.list_groups(conn, corr),
            Input::Roster { conn, corr, group, after } => {
                self.roster(conn, corr, (group, after), out);
            }
            Input::FetchLog { conn, corr, fetch } => self.fetch_log(conn, corr, fetch, out),
            Input::Wish { conn, corr, wish } => self.wish(now, conn, corr, wish, out),
            Input::ListWishes { conn, corr } => self.list_wishes(conn, corr),
            Input::Signal(signal) => self.signal(now, signal, out),
            Input::Window { conn, messages, bytes } => self.widen(conn, messages, bytes),
            Input::Writable { conn } => self.writable(conn),
            Input::ListDevices { conn, corr } => self.list_devices(conn, corr),
            Input::AskUnknown { conn, corr } => self.answer_unknown(conn, corr),
            Input::RevokeDevice { conn, corr, device } => {
                self.revoke_device(now, conn, corr, device, out);
            }
            Input::LinkDevice { conn, corr, key, name } => {
                self.link_device(now, (conn, corr), (key, name), out);
            }
            Input::OpenLinked { token, account, key } => {
                self.open_linked(now.mono, token, (account, key), out);
            }
            Input::Open { token, account, key, name } => {
                self.open_device(now, token, account, (key, name), out);
            }
            Input::Refresh { token, account, device, generation } => {
                self.refresh(now, token, account, (device, generation), out);
            }
            Input::Loaded { account, state } => self.loaded(now, account, state, out),
            Input::LoadFailed { account } => self.load_failed(account, out),
            Input::AccountDamaged { account } => self.account_damaged(now, account, out),
            Input::InboxLoaded { account, asked, items } => {
                self.inbox_loaded(account, asked, items, out);
            }
            Input::ReceiptsRead { account, after, items } => {
                self.receipts_read(now.mono, account, after, items);
            }
            Input::MarksLoaded { account, conn, page } => {
                self.marks_loaded(account, conn, page, out);
            }
            Input::Fetched { account, conn, corr, fetch, page } => {
                self.fetched(now, (account, conn, corr), fetch, page, out);
            }
            Input::GroupLoaded { group, state } => {
                self.group_loaded(now, group, state.map(|state| *state), out);
            }
            Input::GroupLoadFailed { group } => self.group_load_failed(group),
            Input::GroupDamaged { group } => self.group_damaged(now, group, out),
            Input::RosterRead { account, conn, corr, group, page } => {
                self.roster_read((account, conn, corr), group, page, out);
            }
            Input::LogRead { account, conn, corr, fetch, messages } => {
                self.log_read(now, (account, conn, corr), fetch, messages, out);
            }
            Input::Parcel { link, from, seq, parcel } => {
                self.receive(now, (link, from), seq, parcel, out);
            }
            Input::PeerReady { to } => {
                self.peer_ready(now.mono, to, out);
                self.watch_again(to, out);
                self.watch_groups_again(to, out);
            }
            Input::Confirmed { to, upto } => self.confirmed(now.mono, to, upto, out),
            Input::Expected { to, next } => self.peer_expects(now.mono, to, next, out),
            Input::Released { upto } => self.on_released(now.mono, upto, out),
        }
        self.settle(now, out);
    }

    /// Another shard signals something.
    fn signal(&mut self, now: Now, signal: Signal, out: &mut Vec<Effect>) {
        match signal {
            Signal::Typing(typing) => match typing.to {
                Address::Account(to) => self.typed_to(to, typing, out),
                Address::Group(group) => self.typed_to_group(now.mono, (group, typing), out),
            },
            Signal::TypingInGroup { typing, to } => self.typed_to_members(typing, &to, out),
            Signal::WatchGroup { by, group, on } => {
                self.group_watched_by(now.mono, (by, group), on, out);
            }
            Signal::Head { group, head, items, .. } => self.head_is(group, (items, head)),
            Signal::Watch { by, of, on } => self.watched_by(now.mono, (by, of), on, out),
            Signal::Presence { of, to, presence } => self.presence_is(of, &to, presence),
        }
    }

    /// What time alone asks for: receipts that waited, presences that differ, reads and pushes that had
    /// no answer. Call it several times a second.
    pub fn look_after(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.noting(Deciding::Own("what time asks for"), |shard| shard.do_what_is_due(now, out));
    }

    fn do_what_is_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.admitting {
            self.tell_receipts(now, false, out);
        }
        self.note_gone(now);
        self.tell_presence(now.mono, out);
        self.renew_group_watches(now.mono, out);
        self.look_after_groups(now.mono);
        self.retry_peers(now.mono, out);
        self.to_pump.append(&mut self.unread);
        self.settle(now, out);
    }

    /// Answers that wait for no position leave at once, and accounts with news are pumped.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.regroup(out);
        if self.is_settled() {
            self.let_go(now.mono, out);
        }
        self.pump(now.wall, out);
    }

    /// Which shard this is, under which ownership.
    pub fn key(&self) -> ShardKey {
        self.key
    }

    /// Whether everything that was decided is released.
    pub fn is_settled(&self) -> bool {
        self.released == self.next_seq
    }

    /// Whether that is so, everyone who is attached was handed their whole inbox, and nothing is being
    /// read for that.
    pub fn is_handed_out(&self) -> bool {
        let handed_out = |slot: &Slot| match slot {
            Slot::Hot(hot) => {
                let mut attachments = hot.attachments.values();
                hot.page.asked.is_none() && attachments.all(|a| a.delivered >= hot.released_head)
            }
            Slot::Loading(_) => false,
        };
        self.is_settled() && self.accounts.values().all(handed_out)
    }

    /// Positions below are released.
    pub fn released(&self) -> ShardSeq {
        self.released
    }

    /// The position of the next entry.
    pub fn next_seq(&self) -> ShardSeq {
        self.next_seq
    }

    /// The newest clock.
    pub fn clock(&self) -> Hlc {
        self.clock
    }

    /// How many accounts are in memory, and how many connections are attached.
    pub fn census(&self) -> (usize, usize) {
        (self.accounts.len(), self.conns.len())
    }

    /// Stops or resumes the admission of whatever would be decided.
    pub fn set_admitting(&mut self, admitting: bool) {
        self.admitting = admitting;
        self.refused_while_moving = 0;
        if admitting {
            self.take_late_acks();
            // What came while nothing was taken waits for nobody any more: its sources push it again.
            for peer in self.peers.values_mut() {
                peer.inbound.clear();
            }
        }
    }

    /// How many sends were refused since the shard stopped.
    pub fn refused_while_moving(&self) -> u32 {
        self.refused_while_moving
    }

    /// The account behind an attached connection.
    pub fn account_of(&self, conn: Conn) -> Option<AccountId> {
        self.attached(conn).map(|(account, _)| account)
    }

    /// The accounts in memory that exist and are as their rows have them.
    pub fn clean_accounts(&self) -> impl Iterator<Item = (AccountId, &Account)> {
        self.accounts.iter().filter_map(|(id, slot)| match slot {
            Slot::Hot(hot) if !hot.dirty && !hot.flushing => Some((*id, hot.state.as_ref()?)),
            Slot::Hot(_) | Slot::Loading(_) => None,
        })
    }

    /// What is known of other shards.
    pub fn peers(&self) -> impl Iterator<Item = (ShardId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// Forgets the connections of a link that broke.
    pub fn drop_link(&mut self, now: Now, link: LinkNo) {
        let gone: Vec<_> = self.conns.keys().filter(|conn| conn.link == link).copied().collect();
        for conn in gone {
            self.detach(now, conn);
        }
    }

    /// Evicts accounts that are idle, clean and unattached. Answers how many left.
    pub fn evict(&mut self, now: Now) -> usize {
        let before = self.accounts.len();
        let crowded = before > limits::HOT_ACCOUNTS_MAX;
        let watches = &self.watches;
        self.accounts.retain(|account, slot| match slot {
            Slot::Loading(_) => true,
            Slot::Hot(hot) => watches.has(*account) || !hot.is_evictable(now.mono, crowded),
        });
        self.evict_groups(now.mono);
        before - self.accounts.len()
    }

    /// Records a decision: numbers it, applies it, and hands it to the lane.
    fn decide(&mut self, now: WallMs, op: Op, out: &mut Vec<Effect>) -> ShardSeq {
        self.clock = self.clock.tick(now);
        self.record(op, out)
    }

    /// As [`Shard::decide`], at the clock that was already taken for the message in it.
    fn record(&mut self, op: Op, out: &mut Vec<Effect>) -> ShardSeq {
        let entry = Entry {
            shard: self.key.id,
            epoch: self.key.epoch,
            seq: self.next_seq,
            clock: self.clock,
            op,
        };
        self.apply(&entry);
        out.push(Effect::Append(entry));
        self.next_seq.prev()
    }

    /// Puts off `what` until every position decided so far is released.
    fn after_all(&mut self, what: Awaiting) {
        self.awaiting.push_back((self.next_seq.prev(), what));
    }

    fn hot(&self, account: AccountId) -> Option<&Hot> {
        match self.accounts.get(&account) {
            Some(Slot::Hot(hot)) => Some(hot),
            Some(Slot::Loading(_)) | None => None,
        }
    }

    fn hot_mut(&mut self, account: AccountId) -> Option<&mut Hot> {
        match self.accounts.get_mut(&account) {
            Some(Slot::Hot(hot)) => Some(hot),
            Some(Slot::Loading(_)) | None => None,
        }
    }

    /// The account and device behind a connection, where both are still here.
    fn attached(&self, conn: Conn) -> Option<(AccountId, DeviceNo)> {
        self.conns.get(&conn).copied()
    }

    /// The durable state of an account in memory, for tests and tools.
    pub fn account(&self, account: AccountId) -> Option<&Account> {
        self.hot(account).and_then(|hot| hot.state.as_ref())
    }

    fn touch(&mut self, account: AccountId, at: MonoUs) {
        if let Some(hot) = self.hot_mut(account) {
            hot.used_at = at;
        }
    }
}
