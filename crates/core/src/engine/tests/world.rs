//! The world of the engine's tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::account::{Account, InboxContent, InboxItem};
use crate::clock::{Hlc, MonoUs, Now, WallMs};
use crate::engine::{Action, Engine};
use crate::entry::Entry;
use crate::id::{AccountId, DeviceNo, MsgId, PublicKey, ShardCount, ShardId, TenantNo};
use crate::message::{Address, Bodies};
use crate::seq::{BlockSeq, ClientSeq, Epoch, HomeGen, InboxSeq, OutboxSeq, ShardSeq};
use crate::shard::{
    Attach, Conn, Flush, Input, LinkNo, OutboxItem, Peer, Recovered, Retention, Send, Shard,
    ShardKey, ToConn, Token,
};

/// One event. The world answers what the engine asked for at the time that the schedule chooses.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(usize, usize),
    WriteOne,
    WriteLast,
    ReadFence,
    LoadOne,
    Network,
    Reconnect(usize),
    FlushOne(bool),
    Time(u64),
    Crash,
    Move,
}

/// What the store holds: only what was acknowledged as written.
#[derive(Default)]
struct Disk {
    /// The entries of earlier sessions, up to their seals, then of this one by block.
    sealed: Vec<Entry>,
    blocks: BTreeMap<BlockSeq, Vec<Entry>>,
    accounts: BTreeMap<AccountId, Account>,
    inbox: BTreeMap<(AccountId, InboxSeq), InboxItem>,
    peers: BTreeMap<(ShardId, ShardId), (OutboxSeq, OutboxSeq, OutboxSeq, ShardSeq)>,
    outbox: BTreeMap<(ShardId, ShardId, OutboxSeq), OutboxItem>,
    checkpoints: BTreeMap<ShardId, (ShardSeq, Hlc)>,
}

struct Person {
    account: AccountId,
    conn: Option<Conn>,
    cursor: InboxSeq,
    stream_gen: u32,
    next: u64,
    /// Sends without ack, as the client's own disk has them.
    unacked: VecDeque<(u64, Address)>,
    acked: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    received: Vec<(usize, u64)>,
    own: Vec<u64>,
    notices: usize,
    delivered: usize,
    reading: bool,
    to_server: VecDeque<Input>,
}

pub(super) struct World {
    count: ShardCount,
    history: bool,
    now: Now,
    epoch: Epoch,
    engine: Engine,
    disk: Disk,
    writes: VecDeque<crate::lane::Formed>,
    flushes: VecDeque<(ShardId, Flush)>,
    loads: VecDeque<(ShardId, Load)>,
    to_clients: VecDeque<(Conn, ToConn)>,
    people: Vec<Person>,
    conns: u64,
    written: usize,
}

enum Load {
    Account(AccountId),
    Inbox(AccountId, InboxSeq, InboxSeq),
}

impl World {
    pub(super) fn new(people: usize, history: bool) -> Self {
        let count = ShardCount::new(4).unwrap();
        let mut world = Self {
            count,
            history,
            now: Now { wall: WallMs(1_000_000), mono: MonoUs(1_000_000) },
            epoch: Epoch(0),
            engine: Engine::new(1),
            disk: Disk::default(),
            writes: VecDeque::new(),
            flushes: VecDeque::new(),
            loads: VecDeque::new(),
            to_clients: VecDeque::new(),
            people: Vec::new(),
            conns: 0,
            written: 0,
        };
        world.start_session();
        for n in 0..people {
            world.register(n);
        }
        world
    }

    fn register(&mut self, n: usize) {
        let shard = ShardId::new(u16::try_from(n % 4).unwrap());
        let account =
            AccountId::in_shard(shard, self.count, TenantNo(0), u128::try_from(n).unwrap() * 7 + 1);
        let (token, key) =
            (Token(u64::try_from(n).unwrap()), PublicKey([u8::try_from(n).unwrap(); 32]));
        let input = Input::Open { token, account, key, name: "phone".to_owned() };
        self.feed(shard, input);
        self.people.push(Person {
            account,
            conn: None,
            cursor: InboxSeq(0),
            stream_gen: 0,
            next: 1,
            unacked: VecDeque::new(),
            acked: BTreeSet::new(),
            refused: BTreeSet::new(),
            received: Vec::new(),
            own: Vec::new(),
            notices: 0,
            delivered: 0,
            reading: true,
            to_server: VecDeque::new(),
        });
        self.run_quietly();
    }

    /// A new session that takes over whatever the disk has.
    fn start_session(&mut self) {
        self.engine = Engine::new(1);
        self.epoch = self.epoch.next();
        self.writes.clear();
        self.flushes.clear();
        self.loads.clear();
        self.to_clients.clear();
        for person in &mut self.people {
            person.conn = None;
            person.to_server.clear();
        }
        for shard in self.count.shards() {
            self.claim(shard);
        }
    }

    fn claim(&mut self, id: ShardId) {
        let key = ShardKey { id, count: self.count, home_gen: HomeGen(0), epoch: self.epoch };
        let (checkpoint, clock) = self.disk.checkpoints.get(&id).copied().unwrap_or_default();
        let of_shard = |entry: &&Entry| entry.shard == id && entry.seq > checkpoint;
        let mut tail: Vec<Entry> = self.disk.sealed.iter().filter(of_shard).cloned().collect();
        let current = self.disk.blocks.values().flatten();
        tail.extend(current.filter(of_shard).cloned());
        let accounts = Recovered::accounts_of_tail(&tail);
        let accounts = accounts.into_iter().map(|a| (a, self.disk.accounts.get(&a).cloned()));
        let mut peers = BTreeMap::new();
        for ((shard, peer), (out_next, out_confirmed, in_next, pos)) in &self.disk.peers {
            if *shard == id {
                let items = self.disk.outbox.range((id, *peer, OutboxSeq(0))..);
                let items = items.take_while(|((s, p, _), _)| (*s, *p) == (id, *peer));
                let items = items.map(|(_, item)| item.clone()).collect();
                let numbers = (*out_next, *out_confirmed, *in_next);
                peers.insert(*peer, Peer::recovered(numbers, *pos, items));
            }
        }
        let recovered = Recovered { checkpoint, clock, peers, accounts: accounts.collect(), tail };
        let retention = Retention { history: self.history };
        let shard = Shard::recover(key, retention, self.now.mono, recovered).unwrap();
        let mut out = Vec::new();
        let block = self.engine.next_block();
        self.engine.serve(self.now, shard, block, &mut out);
        self.take(out);
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Send(from, to) => self.send(from, to),
            Step::WriteOne => self.write(0),
            Step::WriteLast => self.write(self.writes.len().saturating_sub(1)),
            Step::ReadFence => self.read_fence(),
            Step::LoadOne => self.load_one(),
            Step::Network => self.network(),
            Step::Reconnect(n) => self.reconnect(n),
            Step::FlushOne(written) => self.flush_one(written),
            Step::Time(ms) => self.pass(ms),
            Step::Crash => self.crash(),
            Step::Move => self.move_shards(),
        }
        self.tick();
    }

    pub(super) fn send(&mut self, from: usize, to: usize) {
        let to = Address::Account(self.people[to].account);
        self.send_address(from, to);
    }

    pub(super) fn send_to_nobody(&mut self, from: usize) {
        let nobody = AccountId::in_shard(ShardId::new(3), self.count, TenantNo(0), u128::MAX);
        self.send_address(from, Address::Account(nobody));
    }

    fn send_address(&mut self, from: usize, to: Address) {
        self.ensure_connected(from);
        let person = &mut self.people[from];
        let seq = person.next;
        person.next += 1;
        person.unacked.push_back((seq, to));
        self.transmit(from, seq, to);
    }

    fn transmit(&mut self, from: usize, seq: u64, to: Address) {
        let person = &mut self.people[from];
        let Some(conn) = person.conn else { return };
        let mut id = [0; 16];
        id[0] = u8::try_from(from).unwrap();
        id[8..].copy_from_slice(&seq.to_be_bytes());
        let send = Send {
            client_seq: ClientSeq(seq),
            msg_id: MsgId(id),
            to,
            bodies: Bodies::Shared(Bytes::copy_from_slice(&id)),
            expires_at_ms: 0,
        };
        person.to_server.push_back(Input::Send { conn, send });
    }

    fn ensure_connected(&mut self, n: usize) {
        if self.people[n].conn.is_none() {
            self.reconnect(n);
        }
    }

    fn reconnect(&mut self, n: usize) {
        self.conns += 1;
        let conn = Conn { link: LinkNo(1), id: self.conns };
        let person = &mut self.people[n];
        person.conn = Some(conn);
        person.to_server.clear();
        person.to_server.push_back(Input::Attach(Attach {
            conn,
            account: person.account,
            device: DeviceNo(1),
            cursor: person.cursor,
            delivered: person.cursor,
            stream_gen: person.stream_gen,
            window_messages: 256,
            window_bytes: 256 * 1024,
        }));
    }

    /// Everything under way between clients and the owner arrives.
    fn network(&mut self) {
        for n in 0..self.people.len() {
            while let Some(input) = self.people[n].to_server.pop_front() {
                let shard = self.people[n].account.shard(self.count);
                self.feed(shard, input);
            }
        }
        while let Some((conn, what)) = self.to_clients.pop_front() {
            if let Some(n) = self.people.iter().position(|p| p.conn == Some(conn)) {
                self.client(n, conn, what);
            }
        }
    }

    fn client(&mut self, n: usize, conn: Conn, what: ToConn) {
        let person = &mut self.people[n];
        match what {
            ToConn::Attached(attached) => {
                assert!(!attached.snapshot_needed, "no cursor is ever too old here");
                person.stream_gen = attached.stream_gen;
                let unacked: Vec<_> = person.unacked.iter().copied().collect();
                for (seq, to) in unacked {
                    self.transmit(n, seq, to);
                }
            }
            ToConn::SendAck { client_seq, refusals } => {
                while person.unacked.front().is_some_and(|(seq, _)| *seq <= client_seq.0) {
                    let (seq, _) = person.unacked.pop_front().unwrap();
                    person.acked.insert(seq);
                }
                for (seq, _) in refusals {
                    person.acked.remove(&seq.0);
                    person.refused.insert(seq.0);
                }
            }
            ToConn::SendNack { client_seq, .. } => {
                let again: Vec<_> = person
                    .unacked
                    .iter()
                    .filter(|(seq, _)| *seq >= client_seq.0)
                    .copied()
                    .collect();
                for (seq, to) in again {
                    self.transmit(n, seq, to);
                }
            }
            ToConn::Deliver { items, .. } => {
                person.delivered += items.len();
                for item in items {
                    let expected = self.people[n].cursor.next();
                    assert!(item.seq <= expected, "a gap in the stream");
                    if item.seq == expected {
                        self.people[n].cursor = item.seq;
                        self.apply(n, &item);
                    }
                }
                let person = &mut self.people[n];
                if person.reading {
                    person.to_server.push_back(Input::Ack { conn, seq: person.cursor });
                }
            }
            ToConn::Closed { .. } => person.conn = None,
            ToConn::Result { .. } => {}
        }
    }

    fn apply(&mut self, n: usize, item: &InboxItem) {
        match &item.content {
            InboxContent::Message(message) => {
                let sender = self.people.iter().position(|p| p.account == message.sender).unwrap();
                let to_me = message.to == Address::Account(self.people[n].account);
                let own_copies = self.people[n].own.iter().filter(|s| **s == message.client_seq.0);
                // A message to oneself has two places: the sender's and the recipient's.
                if sender == n && own_copies.count() == 0 {
                    self.people[n].own.push(message.client_seq.0);
                } else if to_me {
                    self.people[n].received.push((sender, message.client_seq.0));
                }
            }
            InboxContent::Notice(_) => self.people[n].notices += 1,
            InboxContent::Hole => panic!("nothing expires here"),
        }
    }

    fn feed(&mut self, shard: ShardId, input: Input) {
        let mut out = Vec::new();
        self.engine.input(self.now, shard, input, &mut out);
        self.take(out);
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Write(formed) => self.writes.push_back(formed),
                Action::Materialize { shard, flush, .. } => self.flushes.push_back((shard, flush)),
                Action::Load { shard, account } => {
                    self.loads.push_back((shard, Load::Account(account)));
                }
                Action::LoadInbox { shard, account, after, upto } => {
                    self.loads.push_back((shard, Load::Inbox(account, after, upto)));
                }
                Action::ToConn { conn, what, .. } => self.to_clients.push_back((conn, what)),
                Action::Answer { .. } => {}
                // The other shard is not served at the moment: it is pushed to again later.
                Action::Push { .. } | Action::Confirm { .. } | Action::Expect { .. } => {}
                Action::Drained(drained) => {
                    assert!(self.engine.remove(drained.shard).is_some());
                    self.epoch = self.epoch.next();
                    self.claim_after_release(drained.shard, drained.end_block);
                }
            }
        }
    }

    fn claim_after_release(&mut self, shard: ShardId, end_block: BlockSeq) {
        let later = self.disk.blocks.range(end_block..).flat_map(|(_, entries)| entries);
        assert!(later.clone().all(|entry| entry.shard != shard), "an entry after the release");
        self.claim(shard);
        let account_of = |person: &Person| person.account.shard(self.count);
        let moved: Vec<_> =
            (0..self.people.len()).filter(|n| account_of(&self.people[*n]) == shard).collect();
        for n in moved {
            if self.people[n].conn.is_some() {
                self.reconnect(n);
            }
        }
    }

    fn write(&mut self, index: usize) {
        if let Some(formed) = self.writes.remove(index) {
            self.written += 1;
            self.disk.blocks.insert(formed.seq, formed.entries);
            self.engine.written(formed.seq);
        }
    }

    fn read_fence(&mut self) {
        let (begun, cover) = (self.now.mono, self.engine.fence_cover());
        let mut out = Vec::new();
        self.engine.fence_read(self.now, begun, cover, &mut out);
        self.take(out);
    }

    fn load_one(&mut self) {
        let Some((shard, load)) = self.loads.pop_front() else { return };
        let input = match load {
            Load::Account(account) => {
                Input::Loaded { account, state: self.disk.accounts.get(&account).cloned() }
            }
            Load::Inbox(account, asked, upto) => {
                let range = (account, asked.next())..=(account, upto);
                let items = self.disk.inbox.range(range).take(40).map(|(_, i)| i.clone()).collect();
                Input::InboxLoaded { account, asked, items: Some(items) }
            }
        };
        self.feed(shard, input);
    }

    fn flush_one(&mut self, written: bool) {
        let Some((shard, flush)) = self.flushes.pop_front() else { return };
        if written {
            self.write_rows(shard, flush);
        }
        let mut out = Vec::new();
        self.engine.flushed(self.now, shard, written, &mut out);
        self.take(out);
    }

    fn write_rows(&mut self, shard: ShardId, flush: Flush) {
        for run in flush.inbox {
            for item in run.items {
                self.disk.inbox.insert((run.account, item.seq), item);
            }
        }
        for row in flush.outbox {
            self.disk.outbox.insert((shard, row.to, row.item.seq), row.item);
        }
        for row in flush.accounts {
            let before = self.disk.accounts.insert(row.account, row.state.clone());
            assert!(before.is_none_or(|b| b.pos <= row.state.pos), "a row went back");
        }
        for row in flush.peers {
            let numbers = (row.out_next, row.out_confirmed, row.in_next, row.pos);
            self.disk.peers.insert((shard, row.peer), numbers);
            if row.forget_items {
                self.disk.outbox.retain(|(s, p, seq), _| {
                    (*s, *p) != (shard, row.peer) || *seq > row.out_confirmed
                });
            }
        }
        self.disk.checkpoints.insert(shard, (flush.checkpoint, flush.clock));
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.wall.0 += ms;
        self.now.mono.0 += ms * 1000;
    }

    /// What is under way to the owner arrives, and every block that is due is written.
    pub(super) fn commit(&mut self) {
        self.network();
        self.tick();
        while !self.writes.is_empty() {
            self.write(0);
        }
        self.read_fence();
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        self.engine.tick(self.now, &mut out);
        self.take(out);
    }

    /// The process dies. Its successor finds the contiguous durable prefix, at least what was
    /// released; unacknowledged blocks may or may not be part of it.
    pub(super) fn crash(&mut self) {
        let mut end = self.engine.fence_cover();
        while self.disk.blocks.contains_key(&end) {
            end = end.next();
        }
        let blocks = std::mem::take(&mut self.disk.blocks);
        let sealed = blocks.into_iter().take_while(|(seq, _)| *seq < end);
        self.disk.sealed.extend(sealed.flat_map(|(_, entries)| entries));
        self.start_session();
    }

    pub(super) fn move_shards(&mut self) {
        for shard in self.count.shards() {
            let mut out = Vec::new();
            self.engine.drain(self.now, shard, &mut out);
            self.take(out);
        }
    }

    /// Everything that was asked for is answered, until nothing is left to do.
    pub(super) fn run_quietly(&mut self) {
        for _ in 0..40 {
            for n in 0..self.people.len() {
                self.ensure_connected(n);
            }
            for _ in 0..12 {
                self.network();
                self.tick();
                while !self.writes.is_empty() {
                    self.write(0);
                }
                self.read_fence();
                while !self.loads.is_empty() {
                    self.load_one();
                }
                while !self.flushes.is_empty() {
                    self.flush_one(true);
                }
            }
            self.pass(200);
        }
    }

    pub(super) fn received(&self, n: usize) -> Vec<(usize, u64)> {
        self.people[n].received.clone()
    }

    pub(super) fn notices(&self, n: usize) -> usize {
        self.people[n].notices
    }

    pub(super) fn delivered(&self, n: usize) -> usize {
        self.people[n].delivered
    }

    pub(super) fn blocks_written(&self) -> usize {
        self.written
    }

    pub(super) fn set_reading(&mut self, n: usize, reading: bool) {
        self.people[n].reading = reading;
    }

    /// The promise.
    pub(super) fn check(&self) {
        for (n, person) in self.people.iter().enumerate() {
            assert!(person.unacked.is_empty(), "{n}: sends without an answer");
            assert!(person.refused.is_empty(), "{n}: refused {:?}", person.refused);
            assert_eq!(person.acked.len() as u64, person.next - 1, "{n}: acknowledged once each");
            assert_eq!(person.own.len() as u64, person.next - 1, "{n}: own copies");
            for sender in 0..self.people.len() {
                let seqs: Vec<_> =
                    person.received.iter().filter(|r| r.0 == sender).map(|r| r.1).collect();
                assert!(seqs.windows(2).all(|w| w[0] < w[1]), "{sender} to {n}: {seqs:?}");
            }
        }
        let received: usize = self.people.iter().map(|p| p.received.len() + p.notices).sum();
        let sent: u64 = self.people.iter().map(|p| p.next - 1).sum();
        let notices: usize = self.people.iter().map(|p| p.notices).sum();
        assert_eq!((received - notices + notices) as u64, sent, "every message arrived once");
    }
}
