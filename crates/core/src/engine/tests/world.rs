//! The world of the engine's tests.

mod clients;
mod disk;

use std::collections::{BTreeMap, VecDeque};

use crate::clock::{MonoUs, Now, WallMs};
use crate::engine::{Action, Drained, Engine};
use crate::entry::Entry;
use crate::id::{AccountId, PublicKey, ShardCount, ShardId, TenantNo};
use crate::limits;
use crate::rate::Rates;
use crate::seq::{Epoch, HomeGen, OutboxSeq, ShardSeq};
use crate::shard::{Conn, Flush, Input, Peer, Policy, Recovered, Shard, ShardKey, ToConn, Token};

use clients::Person;
use disk::{Disk, Load};

/// One event. The world answers what the engine asked for at the time that the schedule chooses.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(usize, usize),
    WriteOne,
    WriteLast,
    ReadFence,
    LoadOne,
    FailLoad,
    Network,
    Reconnect(usize),
    FlushOne(bool),
    Time(u64),
    Crash,
    Move,
}

pub(super) struct World {
    count: ShardCount,
    history: bool,
    handed_max: usize,
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
    /// Moves that handed entries over.
    pub(super) handed_over: usize,
}

impl World {
    pub(super) fn new(people: usize, history: bool) -> Self {
        let count = ShardCount::new(4).unwrap();
        let mut world = Self {
            count,
            history,
            handed_max: limits::HANDED_READS_MAX,
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
            handed_over: 0,
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
        self.people.push(Person::new(account));
        self.run_quietly();
    }

    /// The same, but moves hand over only what is replayed with so many rows.
    pub(super) fn handing_over_at_most(mut self, handed_max: usize) -> Self {
        self.handed_max = handed_max;
        self.engine = self.engine.handing_over_at_most(handed_max);
        self
    }

    /// A new session that takes over whatever the disk has.
    fn start_session(&mut self) {
        self.engine = Engine::new(1).handing_over_at_most(self.handed_max);
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

    /// What the log has of a shard behind a position.
    fn tail_of(&self, id: ShardId, checkpoint: ShardSeq) -> Vec<Entry> {
        let of_shard = |entry: &&Entry| entry.shard == id && entry.seq > checkpoint;
        let current = self.disk.blocks.values().flatten();
        self.disk.sealed.iter().chain(current).filter(of_shard).cloned().collect()
    }

    fn claim(&mut self, id: ShardId) {
        let key = ShardKey { id, count: self.count, home_gen: HomeGen(0), epoch: self.epoch };
        let (checkpoint, clock) = self.disk.checkpoints.get(&id).copied().unwrap_or_default();
        let tail = self.tail_of(id, checkpoint);
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
        let (accounts, groups) = (accounts.collect(), BTreeMap::new());
        let recovered = Recovered { checkpoint, clock, peers, accounts, groups, tail };
        let policy = Policy {
            history: self.history,
            rates: Rates::default(),
            groups: crate::group::Sizes::default(),
        };
        let shard = Shard::recover(key, policy, self.now.mono, recovered).unwrap();
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
            Step::FailLoad => self.fail_load(),
            Step::Network => self.network(),
            Step::Reconnect(n) => self.reconnect(n),
            Step::FlushOne(written) => self.flush_one(written),
            Step::Time(ms) => self.pass(ms),
            Step::Crash => self.crash(),
            Step::Move => self.move_shards(),
        }
        self.tick();
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
                Action::ReadForReceipts { shard, account, after, upto } => {
                    self.loads.push_back((shard, Load::Receipts(account, after, upto)));
                }
                Action::LoadMarks { shard, account, conn, .. } => {
                    self.loads.push_back((shard, Load::Marks(account, conn)));
                }
                // These clients fetch nothing, watch nobody, and are in no group.
                Action::Fetch { .. }
                | Action::Signal { .. }
                | Action::LoadGroup { .. }
                | Action::ReadRoster { .. }
                | Action::ReadLog { .. } => {}
                Action::ToConn { conn, what, .. } => self.to_clients.push_back((conn, what)),
                Action::Answer { .. } => {}
                // The other shard is not served at the moment: it is pushed to again later.
                Action::Push { .. } | Action::Confirm { .. } | Action::Expect { .. } => {}
                Action::Drained(drained) => {
                    assert!(self.engine.remove(drained.shard).is_some());
                    self.epoch = self.epoch.next();
                    self.claim_after_release(&drained);
                }
            }
        }
    }

    fn claim_after_release(&mut self, drained: &Drained) {
        let shard = drained.shard;
        let later = self.disk.blocks.range(drained.end_block..).flat_map(|(_, entries)| entries);
        assert!(later.clone().all(|entry| entry.shard != shard), "an entry after the release");
        let tail = self.tail_of(shard, drained.checkpoint);
        assert_eq!(drained.tail, tail, "what is handed over is what the log has");
        let reads = Recovered::accounts_of_tail(&tail).len();
        assert!(reads <= self.handed_max, "{reads} accounts are to be read");
        let stored = self.disk.checkpoints.get(&shard).map_or(ShardSeq(0), |(pos, _)| *pos);
        assert!(stored >= drained.checkpoint, "rows end at {stored}, not {}", drained.checkpoint);
        self.handed_over += usize::from(!drained.tail.is_empty());
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
}
