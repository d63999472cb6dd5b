//! What is written down of a run: its history, its counts, its trace.

use std::collections::BTreeMap;

use iris_check::history::{
    AccountNo, Device, Event, GroupNo, Item, Lane, Message, MessageNo, Outcome, SessionNo, Target,
    What,
};
use iris_core::account::{InboxContent, InboxItem};
use iris_core::id::{AccountId, GroupId, LaneId, MsgId, SessionId};
use iris_core::message::{Address, Bodies, Message as CoreMessage};

/// Things that must have happened in some runs, or the simulator looks in the wrong place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sometimes {
    /// Sessions that were taken over.
    pub takeovers: u64,
    /// Lanes that were sealed above what their session had released: somebody's send of unknown outcome
    /// was kept.
    pub unacknowledged_tails: u64,
    /// Sessions that found their fence.
    pub fenced: u64,
    /// Blocks of a sealed lane that reached a replica at or above the seal.
    pub late_blocks: u64,
    /// Sends without an answer that turned out to be decided.
    pub unknown_sends_done: u64,
    /// And that turned out not to be.
    pub unknown_sends_undone: u64,
    /// Swaps without an answer that had happened.
    pub unknown_swaps_done: u64,
    /// And that had not.
    pub unknown_swaps_undone: u64,
    /// Plain reads of ownerships that missed the last swap.
    pub old_reads: u64,
    /// Plain writes that were given up.
    pub unknown_writes: u64,
    /// Moves that handed their shard over.
    pub moves: u64,
    /// Moves whose source handed over entries that were in no rows.
    pub handed_tails: u64,
    /// Moves that were given up before a release.
    pub cancelled_moves: u64,
    /// Releases after which the target did not claim in its time.
    pub unclaimed: u64,
    /// Shards that were claimed with entries to replay.
    pub replays: u64,
    /// Claims that somebody else won.
    pub lost_claims: u64,
    /// Connections that were attached to another owner without their client's doing.
    pub reattached: u64,
    /// Places that a device got from the store.
    pub read_back: u64,
    /// Devices that learned that something of theirs arrived or was read.
    pub receipts: u64,
    /// Sends that came faster than they may.
    pub sends_too_fast: u64,
    /// Devices that were told whether somebody is there.
    pub presences: u64,
    /// Devices that learned that something was erased.
    pub erasures: u64,
    /// Messages that their author wrote anew.
    pub edits: u64,
    /// Reactions to something, as a device learned of them.
    pub reactions: u64,
    /// Sends that were refused because their sender may not do that.
    pub forbidden: u64,
    /// What was read in private, as a device of the reader's learned.
    pub private_reads: u64,
    /// Pages of history with something on them.
    pub pages: u64,
    /// Places of groups in inboxes.
    pub in_groups: u64,
    /// Changes of groups that a device learned of.
    pub group_changes: u64,
    /// Members whom their shards declined, as a device learned of it.
    pub declined: u64,
    /// Messages that were refused at their destination.
    pub notices: u64,
    /// Devices that learned that something was erased in a group.
    pub erasures_in_groups: u64,
    /// Pages of logs with something on them.
    pub pulled_pages: u64,
    /// Groups that ended with their bodies apart.
    pub apart: u64,
    /// Groups that ended so large that their logs are read.
    pub pulled: u64,
    /// Bodies that were put together with their inbox again.
    pub bodies_apart: u64,
    /// Devices that were told that somebody writes something to a group.
    pub typed_in_groups: u64,
    /// Rosters and lists of groups that a device was told.
    pub rosters: u64,
    /// Claims with entries of groups to replay.
    pub replays_of_groups: u64,
}

impl Sometimes {
    /// Each with its name.
    pub fn all(&self) -> [(&'static str, u64); 39] {
        [
            ("takeovers", self.takeovers),
            ("takeovers with an unacknowledged tail", self.unacknowledged_tails),
            ("fenced owners", self.fenced),
            ("late writes of fenced owners", self.late_blocks),
            ("unknown sends that had happened", self.unknown_sends_done),
            ("unknown sends that had not", self.unknown_sends_undone),
            ("unknown swaps that had happened", self.unknown_swaps_done),
            ("unknown swaps that had not", self.unknown_swaps_undone),
            ("ownerships read that were old", self.old_reads),
            ("unknown writes", self.unknown_writes),
            ("moves", self.moves),
            ("moves with a tail", self.handed_tails),
            ("moves given up", self.cancelled_moves),
            ("releases that the target did not claim", self.unclaimed),
            ("claims with entries to replay", self.replays),
            ("lost claims", self.lost_claims),
            ("connections attached again", self.reattached),
            ("pages read from the store", self.read_back),
            ("receipts", self.receipts),
            ("sends put off as too fast", self.sends_too_fast),
            ("presences", self.presences),
            ("erasures", self.erasures),
            ("edits", self.edits),
            ("reactions", self.reactions),
            ("sends that were forbidden", self.forbidden),
            ("private reads", self.private_reads),
            ("pages of history", self.pages),
            ("places of groups in inboxes", self.in_groups),
            ("changes of groups", self.group_changes),
            ("declined members", self.declined),
            ("messages refused at their destination", self.notices),
            ("erasures in groups", self.erasures_in_groups),
            ("pages of logs", self.pulled_pages),
            ("groups with their bodies apart", self.apart),
            ("groups whose logs are read", self.pulled),
            ("bodies read apart", self.bodies_apart),
            ("typing in groups", self.typed_in_groups),
            ("rosters and lists of groups", self.rosters),
            ("claims with entries of groups to replay", self.replays_of_groups),
        ]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.takeovers += other.takeovers;
        self.unacknowledged_tails += other.unacknowledged_tails;
        self.fenced += other.fenced;
        self.late_blocks += other.late_blocks;
        self.unknown_sends_done += other.unknown_sends_done;
        self.unknown_sends_undone += other.unknown_sends_undone;
        self.unknown_swaps_done += other.unknown_swaps_done;
        self.unknown_swaps_undone += other.unknown_swaps_undone;
        self.old_reads += other.old_reads;
        self.unknown_writes += other.unknown_writes;
        self.moves += other.moves;
        self.handed_tails += other.handed_tails;
        self.cancelled_moves += other.cancelled_moves;
        self.unclaimed += other.unclaimed;
        self.replays += other.replays;
        self.lost_claims += other.lost_claims;
        self.reattached += other.reattached;
        self.read_back += other.read_back;
        self.receipts += other.receipts;
        self.sends_too_fast += other.sends_too_fast;
        self.presences += other.presences;
        self.erasures += other.erasures;
        self.edits += other.edits;
        self.reactions += other.reactions;
        self.forbidden += other.forbidden;
        self.private_reads += other.private_reads;
        self.pages += other.pages;
        self.in_groups += other.in_groups;
        self.group_changes += other.group_changes;
        self.declined += other.declined;
        self.notices += other.notices;
        self.erasures_in_groups += other.erasures_in_groups;
        self.pulled_pages += other.pulled_pages;
        self.apart += other.apart;
        self.pulled += other.pulled;
        self.bodies_apart += other.bodies_apart;
        self.typed_in_groups += other.typed_in_groups;
        self.rosters += other.rosters;
        self.replays_of_groups += other.replays_of_groups;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) history: Vec<Event>,
    pub(crate) sometimes: Sometimes,
    /// How often each kind of fault was made.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Shards that somebody could not recover, and why: a defect, whatever else is found.
    pub(crate) unreadable: Vec<(u64, String)>,
    accounts: BTreeMap<AccountId, AccountNo>,
    groups: BTreeMap<GroupId, GroupNo>,
    sessions: BTreeMap<SessionId, SessionNo>,
}

impl Book {
    pub(crate) fn note(&mut self, at: u64, what: What) {
        self.history.push(Event { at, what });
    }

    pub(crate) fn account(&mut self, account: AccountId) -> AccountNo {
        let next = u32::try_from(self.accounts.len()).expect("few accounts");
        *self.accounts.entry(account).or_insert(AccountNo(next))
    }

    pub(crate) fn session(&mut self, session: SessionId) -> SessionNo {
        let next = u32::try_from(self.sessions.len()).expect("few sessions");
        *self.sessions.entry(session).or_insert(SessionNo(next))
    }

    pub(crate) fn lane(&mut self, lane: LaneId) -> Lane {
        Lane { session: self.session(lane.session), lane: lane.lane.0 }
    }

    pub(crate) fn device(&mut self, account: AccountId, device: u32) -> Device {
        Device { account: self.account(account), device }
    }

    pub(crate) fn target(&mut self, to: Address) -> Target {
        match to {
            Address::Account(account) => Target::Account(self.account(account)),
            Address::Group(group) => Target::Group(self.group(group)),
        }
    }

    pub(crate) fn group(&mut self, group: GroupId) -> GroupNo {
        let next = u32::try_from(self.groups.len()).expect("few groups");
        *self.groups.entry(group).or_insert(GroupNo(next))
    }

    /// The number of a message. What a group says itself is named by its place there.
    pub(crate) fn name_of(&mut self, message: &CoreMessage) -> MessageNo {
        match (message.to, message.place()) {
            (Address::Group(group), Some(place)) if message.sender_device.0 == 0 => {
                let group = u64::from(self.group(group).0);
                MessageNo((1 << 62) | (group << 40) | place.seq.0)
            }
            (Address::Group(_), _) => MessageNo(message_no(message.msg_id)),
            (Address::Account(_), _) => MessageNo(number_of(&message.bodies)),
        }
    }

    /// A message, as a device has it.
    pub(crate) fn message(&mut self, message: &CoreMessage) -> Message {
        let name = self.name_of(message);
        let is_told = !message.bodies.is_empty();
        if message.sender_device.0 == 0 {
            self.sometimes.declined += 1;
        }
        if message.change().is_some() && message.place().is_some() {
            self.sometimes.group_changes += 1;
        }
        Message {
            message: name,
            from: self.device(message.sender, message.sender_device.0),
            to: self.target(message.to),
            clock: message.clock.0,
            conv_seq: message.place().map(|place| place.seq.0),
            body: if is_told { number_of(&message.bodies) } else { 0 },
        }
    }

    pub(crate) fn decided(&mut self, at: u64, by: Device, number: u64, outcome: Outcome) {
        self.note(at, What::Decided { by, number, outcome });
    }

    /// A place of an inbox, as the device of `account` that was given it has it.
    pub(crate) fn item(&mut self, account: AccountId, item: &InboxItem, twice: bool) -> Item {
        match &item.content {
            InboxContent::Message(message) => {
                let noted = self.message(message);
                // A message to oneself has two places: first the sender's, then the recipient's.
                let to_self = message.to == Address::Account(account);
                // What went to a group has its own place first, too.
                let placed = message.place().is_some();
                let own = message.sender == account && !(to_self && twice) && !placed;
                if own { Item::Own(noted) } else { Item::Message(noted) }
            }
            InboxContent::Notice(notice) => Item::Notice {
                message: MessageNo(message_no(notice.msg_id)),
                code: notice.code.number().into(),
            },
            InboxContent::Hole => Item::Hole,
        }
    }
}

/// The number that a sender put into its bodies.
pub(crate) fn number_of(bodies: &Bodies) -> u64 {
    let bytes = match bodies {
        Bodies::Shared(bytes) => bytes.as_ref(),
        Bodies::PerDevice(bodies) => bodies.first().map(|(_, b)| b.as_ref()).unwrap_or_default(),
    };
    bytes.get(..8).and_then(|b| b.try_into().ok()).map_or(u64::MAX, u64::from_be_bytes)
}

/// The number of a message, by its name.
pub(crate) fn message_no(id: MsgId) -> u64 {
    u64::from_be_bytes(id.0[8..].try_into().expect("half of sixteen"))
}
