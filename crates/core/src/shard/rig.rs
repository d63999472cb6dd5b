//! What the tests of a shard's parts work with: one shard with its rows, and people of another shard who
//! write to those of this one. The test decides when something is released, written, or answered.

mod rows;

use std::sync::Arc;

use bytes::Bytes;

use crate::account::InboxItem;
use crate::clock::{Hlc, MonoUs, Now, WallMs};
use crate::entry::{Entry, Op, Received};
use crate::group::{Change, InGroup, Sizes};
use crate::id::{AccountId, DeviceNo, GroupId, MsgId, PublicKey, ShardCount, ShardId, TenantNo};
use crate::mark::{Mark, Receipt};
use crate::message::{About, Act, Address, Bodies, Message, Parcel};
use crate::relation::Wish;
use crate::seq::{ClientSeq, ConvSeq, Epoch, HomeGen, InboxSeq, OutboxSeq};

use rows::Rows;

use super::{
    Attach, Attached, Conn, Effect, Flush, Input, LinkNo, Peer, Policy, Recovered, Send, Shard,
    ShardKey, ToConn, Token,
};

/// The shard under test, and the one of everybody else.
pub(super) const HERE: ShardId = ShardId::new(0);
pub(super) const THERE: ShardId = ShardId::new(1);
pub(super) const PHONE: DeviceNo = DeviceNo(1);
pub(super) const TABLET: DeviceNo = DeviceNo(2);

/// See the module.
pub(super) struct Rig {
    pub(super) shard: Shard,
    pub(super) now: Now,
    pub(super) rows: Rows,
    /// Whether reads of accounts are answered at once.
    pub(super) loads: bool,
    epoch: Epoch,
    /// What was decided since the last checkpoint, and maybe before.
    log: Vec<Entry>,
    parcels: u64,
    conns: u64,
    /// The clock of the last message from elsewhere.
    clock: Hlc,
}

fn count() -> ShardCount {
    ShardCount::new(2).unwrap()
}

/// Somebody of the shard under test.
pub(super) fn local(n: u128) -> AccountId {
    AccountId::in_shard(HERE, count(), TenantNo(0), n)
}

/// Somebody of another shard.
pub(super) fn remote(n: u128) -> AccountId {
    AccountId::in_shard(THERE, count(), TenantNo(0), n)
}

/// A group of the shard under test.
pub(super) fn group(n: u128) -> GroupId {
    GroupId::in_shard(HERE, count(), TenantNo(0), n)
}

/// A group of another shard.
pub(super) fn remote_group(n: u128) -> GroupId {
    GroupId::in_shard(THERE, count(), TenantNo(0), n)
}

/// Somebody of another tenant.
pub(super) fn foreign(n: u128) -> AccountId {
    AccountId::in_shard(THERE, count(), TenantNo(7), n)
}

impl Rig {
    pub(super) fn new() -> Self {
        let now = Now { wall: WallMs(1_000_000), mono: MonoUs(1_000_000) };
        Self {
            shard: recover(Epoch(1), now, Recovered::default()),
            now,
            rows: Rows::default(),
            loads: true,
            epoch: Epoch(1),
            log: Vec::new(),
            parcels: 0,
            conns: 0,
            clock: Hlc::at(now.wall),
        }
    }

    /// The shard takes an input.
    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.shard.step(self.now, input, &mut out);
        self.perform(&mut out);
        out
    }

    fn perform(&mut self, out: &mut Vec<Effect>) {
        while let Some(at) = out.iter().position(|e| matches!(e, Effect::Load(_)) && self.loads) {
            let Effect::Load(account) = out.remove(at) else { return };
            let state = self.rows.account(account);
            self.shard.step(self.now, Input::Loaded { account, state }, out);
        }
        let asks = |e: &Effect| matches!(e, Effect::LoadGroup(_)) && self.loads;
        while let Some(at) = out.iter().position(asks) {
            let Effect::LoadGroup(group) = out.remove(at) else { return };
            let state = self.rows.groups.get(&group).cloned().map(Box::new);
            self.shard.step(self.now, Input::GroupLoaded { group, state }, out);
        }
        let entries = out.iter().filter_map(|effect| match effect {
            Effect::Append(entry) => Some(entry.clone()),
            _ => None,
        });
        self.log.extend(entries);
    }

    /// Everything that was decided is released.
    pub(super) fn release(&mut self) -> Vec<Effect> {
        let mut out = Vec::new();
        while !self.shard.is_settled() {
            let upto = self.shard.next_seq();
            out.extend(self.step(Input::Released { upto }));
        }
        out
    }

    /// As [`Rig::step`], and what it decides is released.
    pub(super) fn done(&mut self, input: Input) -> Vec<Effect> {
        let mut out = self.step(input);
        out.extend(self.release());
        out
    }

    /// Time passes, and the shard looks after what waits for it. Nothing is released.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now.wall.0 += ms;
        self.now.mono.0 += ms * 1000;
        let mut out = Vec::new();
        self.shard.look_after(self.now, &mut out);
        self.perform(&mut out);
        out
    }

    /// Up to how many members groups reach them how.
    pub(super) fn set_sizes(&mut self, inline_max: usize, pushed_max: usize) {
        self.shard.policy.groups = Sizes { inline_max, pushed_max };
    }

    /// Somebody opens a device of an account, which then exists.
    pub(super) fn open(&mut self, account: AccountId, device: DeviceNo) {
        let key = PublicKey([u8::try_from(device.0).unwrap(); 32]);
        let token = Token(1);
        self.done(Input::Open { token, account, key, name: device.to_string() });
        assert!(self.shard.account(account).unwrap().devices.contains_key(&device));
    }

    /// Somebody of this shard with one device.
    pub(super) fn person(&mut self, n: u128) -> AccountId {
        self.open(local(n), PHONE);
        local(n)
    }

    /// What a device says that has everything up to its cursor, and is to get what follows.
    pub(super) fn attach(&mut self, account: AccountId, device: DeviceNo, cursor: u64) -> Attach {
        self.conns += 1;
        Attach {
            conn: Conn { link: LinkNo(1), id: self.conns },
            account,
            device,
            cursor: InboxSeq(cursor),
            delivered: InboxSeq(cursor),
            stream_gen: 1,
            window_messages: 256,
            window_bytes: 256 * 1024,
            marks: 0,
            begun: self.now.wall,
        }
    }

    /// A device with everything up to its cursor is attached.
    pub(super) fn connect(&mut self, account: AccountId, device: DeviceNo, cursor: u64) -> Conn {
        let attach = self.attach(account, device, cursor);
        let conn = attach.conn;
        let out = self.done(Input::Attach(attach));
        assert!(attached(&out, conn).is_some(), "{out:?}");
        conn
    }

    /// Another shard's item arrives.
    pub(super) fn parcel(&mut self, parcel: Parcel) -> Vec<Effect> {
        self.parcels += 1;
        let seq = OutboxSeq(self.parcels);
        self.step(Input::Parcel { link: Some(LinkNo(9)), from: THERE, seq, parcel })
    }

    /// A message as somebody of another shard writes it.
    pub(super) fn message(&mut self, from: AccountId, to: AccountId) -> Message {
        self.clock = self.clock.tick(self.now.wall);
        let name = self.clock.0.to_be_bytes();
        Message {
            sender: from,
            sender_device: PHONE,
            client_seq: ClientSeq(1),
            msg_id: MsgId([name, name].concat().try_into().unwrap()),
            to: Address::Account(to),
            bodies: Bodies::Shared(Bytes::from_static(b"text")),
            expires_at_ms: 0,
            clock: self.clock,
            about: None,
            group: None,
        }
    }

    /// A message to a group as somebody of another shard writes it.
    pub(super) fn group_message(
        &mut self,
        from: AccountId,
        to: GroupId,
        change: Option<Change>,
    ) -> Message {
        let message = self.message(from, from);
        let group = InGroup { change, ..InGroup::default() };
        Message { to: Address::Group(to), group: Some(Box::new(group)), ..message }
    }

    /// Somebody of another shard writes to somebody of this one: its clock, once it is released.
    pub(super) fn write(&mut self, from: AccountId, to: AccountId) -> Message {
        let message = self.message(from, to);
        self.parcel(Parcel::Message(Arc::new(message.clone())));
        self.release();
        message
    }

    /// Somebody of another shard received and read.
    pub(super) fn receipt(&mut self, from: AccountId, to: AccountId, upto: (u64, u64)) -> Receipt {
        let receipt = Receipt { from, to, delivered: Hlc(upto.0), read: Hlc(upto.1) };
        self.parcel(Parcel::Receipt(receipt));
        receipt
    }

    /// A device of this shard sends.
    pub(super) fn send(&mut self, conn: Conn, seq: u64, to: AccountId) -> Vec<Effect> {
        self.send_about(conn, seq, to, None)
    }

    pub(super) fn send_about(
        &mut self,
        conn: Conn,
        seq: u64,
        to: AccountId,
        about: Option<About>,
    ) -> Vec<Effect> {
        let send = self.group_send(seq, remote_group(0), None);
        let send = Send { to: Address::Account(to), about, ..send };
        self.step(Input::Send { conn, send })
    }

    /// A device of this shard writes to a group.
    pub(super) fn send_to_group(
        &mut self,
        conn: Conn,
        seq: u64,
        to: GroupId,
        change: Option<Change>,
    ) -> Vec<Effect> {
        let send = self.group_send(seq, to, change);
        self.step(Input::Send { conn, send })
    }

    /// What a device sends that writes to a group.
    pub(super) fn group_send(&self, seq: u64, to: GroupId, change: Option<Change>) -> Send {
        Send {
            client_seq: ClientSeq(seq),
            msg_id: MsgId([u8::try_from(seq).unwrap(); 16]),
            to: Address::Group(to),
            bodies: Bodies::Shared(Bytes::from_static(b"text")),
            expires_at_ms: 0,
            about: None,
            change,
            roster: ConvSeq(0),
        }
    }

    /// Wishes something; it is in force.
    pub(super) fn wish(&mut self, conn: Conn, wish: Wish) -> Vec<Effect> {
        self.done(Input::Wish { conn, corr: 1, wish })
    }

    /// A flush, captured and released, but not written.
    pub(super) fn capture(&mut self, everything: bool) -> (Option<Flush>, Vec<Effect>) {
        let mut out = Vec::new();
        let flush = self.shard.capture(self.now, everything, &mut out);
        self.perform(&mut out);
        out.extend(self.release());
        (flush, out)
    }

    pub(super) fn written(&mut self, flush: Flush) {
        self.rows.write(flush);
        self.shard.flushed();
    }

    /// Whatever changed is written.
    pub(super) fn flush(&mut self) -> Vec<Effect> {
        let (flush, out) = self.capture(true);
        flush.into_iter().for_each(|flush| self.written(flush));
        out
    }

    /// The store's part of what [`Effect::ReadForReceipts`] and [`Effect::LoadInbox`] ask for.
    pub(super) fn places(&self, account: AccountId, after: u64, upto: u64) -> Vec<InboxItem> {
        let range = (account, InboxSeq(after + 1))..=(account, InboxSeq(upto));
        self.rows.places.range(range).map(|(_, item)| item.clone()).collect()
    }

    /// The marks of an account that have rows, with versions above one.
    pub(super) fn marks(&self, account: AccountId, above: u64) -> Vec<(AccountId, Mark)> {
        let of = self.rows.marks.iter().filter(|((who, _), _)| *who == account);
        let newer = of.filter(|(_, mark)| mark.version > above);
        newer.map(|((_, with), mark)| (*with, *mark)).collect()
    }

    /// Another owner takes the shard, after everything was written.
    pub(super) fn next_owner(&mut self) {
        self.flush();
        self.crash();
    }

    /// The owner dies. The next one has the rows, and of the log what was released.
    pub(super) fn crash(&mut self) {
        self.epoch = self.epoch.next();
        let checkpoint = self.rows.checkpoint;
        let released = self.shard.released();
        self.log.retain(|entry| entry.seq > checkpoint && entry.seq < released);
        let tail = self.log.clone();
        let accounts = Recovered::accounts_of_tail(&tail);
        let accounts = accounts.into_iter().map(|id| (id, self.rows.account(id))).collect();
        let peers = self.rows.peers.iter().map(|(id, row)| {
            let numbers = (row.out_next, row.out_confirmed, row.in_next);
            (*id, Peer::recovered(numbers, row.pos, Vec::new()))
        });
        let clock = self.rows.clock;
        let groups = Recovered::groups_of_tail(&tail).into_iter();
        let groups = groups.map(|id| (id, self.rows.groups.get(&id).cloned())).collect();
        let peers = peers.collect();
        let recovered = Recovered { checkpoint, clock, peers, tail, accounts, groups };
        self.shard = recover(self.epoch, self.now, recovered);
        self.parcels = self.shard.peers.get(&THERE).map_or(0, |peer| peer.in_next.prev().0);
    }
}

fn recover(epoch: Epoch, now: Now, recovered: Recovered) -> Shard {
    let key = ShardKey { id: HERE, count: count(), home_gen: HomeGen(0), epoch };
    Shard::recover(
        key,
        Policy { history: true, rates: crate::rate::Rates::default(), groups: Sizes::default() },
        now.mono,
        recovered,
    )
    .unwrap()
}

/// The deletion of a message by its author.
pub(super) fn deletes(message: &Message) -> About {
    let place = message.place().map_or(ConvSeq(0), |place| place.seq);
    let Message { sender: author, msg_id, clock, .. } = *message;
    About { act: Act::Delete, author, msg_id, clock, place }
}

/// What was decided.
pub(super) fn ops(out: &[Effect]) -> Vec<Op> {
    let op = |effect: &Effect| match effect {
        Effect::Append(entry) => Some(entry.op.clone()),
        _ => None,
    };
    out.iter().filter_map(op).collect()
}

/// What became of items from elsewhere.
pub(super) fn outcomes(out: &[Effect]) -> Vec<Received> {
    let outcome = |op| match op {
        Op::Received { outcome, .. } => Some(outcome),
        _ => None,
    };
    ops(out).into_iter().filter_map(outcome).collect()
}

/// The receipts that were decided to be told.
pub(super) fn receipts(out: &[Effect]) -> Vec<Receipt> {
    let receipt = |op| match op {
        Op::Marked { receipt, .. } => receipt.map(|(receipt, _)| receipt),
        _ => None,
    };
    ops(out).into_iter().filter_map(receipt).collect()
}

/// What a connection was told.
pub(super) fn told(out: &[Effect], to: Conn) -> Vec<ToConn> {
    let what = |effect: &Effect| match effect {
        Effect::ToConn { conn, what } if *conn == to => Some(what.clone()),
        _ => None,
    };
    out.iter().filter_map(what).collect()
}

/// The greeting of a connection.
pub(super) fn attached(out: &[Effect], conn: Conn) -> Option<Attached> {
    told(out, conn).into_iter().find_map(|what| match what {
        ToConn::Attached(attached) => Some(attached),
        _ => None,
    })
}

/// The places that a connection was given.
pub(super) fn delivered(out: &[Effect], conn: Conn) -> Vec<InboxItem> {
    let items = told(out, conn).into_iter().filter_map(|what| match what {
        ToConn::Deliver { items, .. } => Some(items),
        _ => None,
    });
    items.flatten().collect()
}

/// The places that receipts were to be made of.
pub(super) fn read_for_receipts(out: &[Effect]) -> Vec<(AccountId, u64, u64)> {
    let asked = |effect: &Effect| match effect {
        Effect::ReadForReceipts { account, after, upto } => Some((*account, after.0, upto.0)),
        _ => None,
    };
    out.iter().filter_map(asked).collect()
}
