//! A model of Cassandra: three replicas, each with its own rows.
//!
//! A plain write reaches each replica at a time of its own, late, or never; it succeeds when two have
//! it, and one that failed may still arrive. A plain read asks two replicas, one after the other, and
//! merges by timestamp. A compare-and-swap is linearizable on its partition; one of unknown outcome has
//! happened, has not, or happens when somebody looks next, as an unfinished round of Paxos does.

mod replica;
mod rows;
mod swap;

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_core::id::{LaneId, ShardId};
use iris_core::seq::BlockSeq;
use iris_core::takeover::{EpochRow, Reading};

use crate::agenda::Agenda;
use crate::network::{Network, Node};
use crate::random::Random;

pub(crate) use replica::{Query, kept_items};
pub(crate) use rows::{Block, Key, Stored, Value};
pub(crate) use swap::Swap;

use replica::{Replica, merge};
use swap::Register;

/// How many replicas there are, and how many are a quorum.
pub(crate) const REPLICAS: usize = 3;
const QUORUM: usize = 2;
/// The driver gives a statement up after this time.
const TIMEOUT_US: u64 = 2_000_000;

/// What failed. A write or a swap that failed may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// What the store answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Written,
    Rows(Vec<Stored>),
    /// Whether the condition held.
    Swapped(bool),
    Epochs(Vec<EpochRow>),
    Sealed(Option<BlockSeq>),
}

/// What the store is in the middle of.
#[derive(Debug)]
pub(crate) enum Step {
    /// Rows reach a replica.
    Apply { op: u64, replica: usize, rows: Arc<Vec<Stored>>, tries: u32 },
    /// A replica has them.
    Applied { op: u64 },
    /// A query reaches a replica.
    Query { op: u64, replica: usize },
    /// Its rows are back.
    Read { op: u64, replica: usize, rows: Vec<Stored> },
    /// A swap, or a serial read, happens.
    Swap { op: u64 },
    /// Its answer is back.
    Swapped { op: u64, answer: Result<Answer, Failed> },
    /// A statement is given up.
    Timeout { op: u64 },
}

/// What one statement wants.
#[derive(Debug)]
enum Want {
    Write { acks: usize },
    Read { query: Query, first: Option<(usize, Vec<Stored>)> },
    Swap(Swap),
    Epochs { shard: ShardId, reading: Reading },
    Sealed(LaneId),
}

#[derive(Debug)]
struct Op<T> {
    pod: usize,
    want: Want,
    then: T,
}

/// What came of a statement.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) then: T,
    pub(crate) answer: Result<Answer, Failed>,
}

/// Counts of what the store went through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Plain writes that were given up and may have arrived.
    pub(crate) unknown_writes: u64,
    /// Rows that reached a replica more than a second late.
    pub(crate) late_rows: u64,
    /// Rows that never reached a replica.
    pub(crate) lost_rows: u64,
    /// Blocks that reached a replica at or above the seal of their lane.
    pub(crate) rows_behind_seal: u64,
    /// Swaps of unknown outcome that happened.
    pub(crate) unknown_swaps_done: u64,
    /// And that did not.
    pub(crate) unknown_swaps_undone: u64,
    /// Plain reads of ownerships that missed the last swap.
    pub(crate) old_reads: u64,
}

/// See the module. `T` says what goes on with an answer.
#[derive(Debug)]
pub(crate) struct Store<T> {
    replicas: [Replica; REPLICAS],
    ops: BTreeMap<u64, Op<T>>,
    count: u64,
    epochs: BTreeMap<ShardId, Register>,
    seals: BTreeMap<LaneId, Register>,
    /// Until when swaps have no known outcome.
    blurred_until: u64,
    /// Until when what a pod writes is slow.
    slow_writers: BTreeMap<usize, u64>,
    pub(crate) counts: Counts,
}

/// What a statement needs of the world.
pub(crate) struct Around<'a, E, P> {
    pub(crate) agenda: &'a mut Agenda<E>,
    pub(crate) network: &'a Network<P>,
    pub(crate) random: &'a mut Random,
}

impl<T> Store<T> {
    pub(crate) fn new() -> Self {
        Self {
            replicas: std::array::from_fn(|_| Replica::default()),
            ops: BTreeMap::new(),
            count: 0,
            epochs: BTreeMap::new(),
            seals: BTreeMap::new(),
            blurred_until: 0,
            slow_writers: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn stop_replica(&mut self, replica: usize, until: u64) {
        let known = &mut self.replicas[replica].down_until;
        *known = until.max(*known);
    }

    pub(crate) fn slow_replica(&mut self, replica: usize, until: u64) {
        self.replicas[replica].slow_until = until;
    }

    pub(crate) fn lose_writes(&mut self, replica: usize, until: u64) {
        self.replicas[replica].lossy_until = until;
    }

    pub(crate) fn slow_writer(&mut self, pod: usize, until: u64) {
        self.slow_writers.insert(pod, until);
    }

    pub(crate) fn blur_swaps(&mut self, until: u64) {
        self.blurred_until = until;
    }

    /// Everything that is broken is whole.
    pub(crate) fn heal(&mut self) {
        self.blurred_until = 0;
        self.slow_writers.clear();
        for replica in &mut self.replicas {
            (replica.down_until, replica.slow_until, replica.lossy_until) = (0, 0, 0);
        }
    }

    /// Writes rows at quorum.
    pub(crate) fn write<E: From<Step>, P>(
        &mut self,
        pod: usize,
        rows: Vec<Stored>,
        then: T,
        around: &mut Around<'_, E, P>,
    ) {
        let op = self.begin(pod, Want::Write { acks: 0 }, then, around);
        let rows = Arc::new(rows);
        for replica in 0..REPLICAS {
            self.send_rows(op, pod, replica, &rows, around);
        }
    }

    fn send_rows<E: From<Step>, P>(
        &mut self,
        op: u64,
        pod: usize,
        replica: usize,
        rows: &Arc<Vec<Stored>>,
        around: &mut Around<'_, E, P>,
    ) {
        let now = around.agenda.now();
        let cut = around.network.is_cut(Node::Pod(pod), Node::Replica(replica), now);
        let state = &self.replicas[replica];
        let way = around.network.delay(around.random);
        let mut us = state.latency(now, way, around.random);
        if state.is_lossy(now) && around.random.chance(500) {
            // Lost on the way; a hint may bring it later.
            us = around.random.between(100_000, 15_000_000);
            if around.random.chance(300) {
                self.counts.lost_rows += 1;
                return;
            }
        }
        if self.slow_writers.get(&pod).is_some_and(|until| *until > now) {
            us += around.random.around(60_000);
        }
        if cut {
            us += around.random.between(200_000, 10_000_000);
        }
        let rows = Arc::clone(rows);
        around.agenda.after(us, Step::Apply { op, replica, rows, tries: 0 }.into());
    }

    /// Reads at quorum.
    pub(crate) fn read<E: From<Step>, P>(
        &mut self,
        pod: usize,
        query: Query,
        then: T,
        around: &mut Around<'_, E, P>,
    ) {
        let op = self.begin(pod, Want::Read { query, first: None }, then, around);
        let now = around.agenda.now();
        for (replica, state) in self.replicas.iter().enumerate() {
            if !around.network.is_cut(Node::Pod(pod), Node::Replica(replica), now) {
                let way = around.network.delay(around.random);
                let us = state.latency(now, way, around.random);
                around.agenda.after(us, Step::Query { op, replica }.into());
            }
        }
    }

    /// Swaps.
    pub(crate) fn swap<E: From<Step>, P>(
        &mut self,
        pod: usize,
        swap: Swap,
        then: T,
        around: &mut Around<'_, E, P>,
    ) {
        let op = self.begin(pod, Want::Swap(swap), then, around);
        let us = 500 + around.random.around(2_000);
        around.agenda.after(us, Step::Swap { op }.into());
    }

    /// Reads every ownership of a shard; a plain reading may miss what was decided last.
    pub(crate) fn read_epochs<E: From<Step>, P>(
        &mut self,
        pod: usize,
        (shard, reading): (ShardId, Reading),
        then: T,
        around: &mut Around<'_, E, P>,
    ) {
        let op = self.begin(pod, Want::Epochs { shard, reading }, then, around);
        let us = 300 + around.random.around(1_000);
        around.agenda.after(us, Step::Swap { op }.into());
    }

    /// Reads where a lane ends, serially.
    pub(crate) fn read_seal<E: From<Step>, P>(
        &mut self,
        pod: usize,
        lane: LaneId,
        then: T,
        around: &mut Around<'_, E, P>,
    ) {
        let op = self.begin(pod, Want::Sealed(lane), then, around);
        let us = 300 + around.random.around(1_000);
        around.agenda.after(us, Step::Swap { op }.into());
    }

    fn begin<E: From<Step>, P>(
        &mut self,
        pod: usize,
        want: Want,
        then: T,
        around: &mut Around<'_, E, P>,
    ) -> u64 {
        self.count += 1;
        self.ops.insert(self.count, Op { pod, want, then });
        around.agenda.after(TIMEOUT_US, Step::Timeout { op: self.count }.into());
        self.count
    }

    /// Goes on with a step; answers a statement that ended by it.
    pub(crate) fn step<E: From<Step>, P>(
        &mut self,
        step: Step,
        around: &mut Around<'_, E, P>,
    ) -> Option<Done<T>> {
        match step {
            Step::Apply { op, replica, rows, tries } => {
                self.apply(op, replica, &rows, tries, around);
                None
            }
            Step::Applied { op } => {
                let Want::Write { acks } = &mut self.ops.get_mut(&op)?.want else { return None };
                *acks += 1;
                (*acks == QUORUM).then(|| self.end(op, Ok(Answer::Written)))?
            }
            Step::Query { op, replica } => {
                self.query(op, replica, around);
                None
            }
            Step::Read { op, replica, rows } => {
                let repairs = around.random.chance(500);
                self.merge(op, replica, rows, repairs)
            }
            Step::Swap { op } => {
                self.perform_swap(op, around);
                None
            }
            Step::Swapped { op, answer } => self.end(op, answer),
            Step::Timeout { op } => {
                if let Want::Write { .. } = self.ops.get(&op)?.want {
                    self.counts.unknown_writes += 1;
                }
                self.end(op, Err(Failed))
            }
        }
    }

    fn end(&mut self, op: u64, answer: Result<Answer, Failed>) -> Option<Done<T>> {
        self.ops.remove(&op).map(|op| Done { then: op.then, answer })
    }

    fn apply<E: From<Step>, P>(
        &mut self,
        op: u64,
        replica: usize,
        rows: &Arc<Vec<Stored>>,
        tries: u32,
        around: &mut Around<'_, E, P>,
    ) {
        let now = around.agenda.now();
        if self.replicas[replica].is_down(now) {
            // A hint is tried now and then, and given up at last.
            if tries < 8 {
                let us = around.random.between(300_000, 5_000_000);
                let step = Step::Apply { op, replica, rows: Arc::clone(rows), tries: tries + 1 };
                around.agenda.after(us, step.into());
            } else {
                self.counts.lost_rows += 1;
            }
            return;
        }
        if !self.ops.contains_key(&op) {
            self.counts.late_rows += 1;
        }
        for row in rows.iter() {
            if let Key::Block(lane, seq) = &row.key
                && self.seals.get(lane).and_then(Register::seal).is_some_and(|end| *seq >= end)
            {
                self.counts.rows_behind_seal += 1;
            }
            self.replicas[replica].put(row);
        }
        let us = around.network.delay(around.random);
        around.agenda.after(us, Step::Applied { op }.into());
    }

    fn query<E: From<Step>, P>(&self, op: u64, replica: usize, around: &mut Around<'_, E, P>) {
        let Some(Op { want: Want::Read { query, .. }, .. }) = self.ops.get(&op) else { return };
        let state = &self.replicas[replica];
        if state.is_down(around.agenda.now()) {
            return;
        }
        let rows = state.answer(query);
        let us = around.network.delay(around.random);
        around.agenda.after(us, Step::Read { op, replica, rows }.into());
    }

    /// Takes the rows of a replica; with those of a second one the read ends. What one of them lacks is
    /// written to it, or is not: nothing may depend on it.
    fn merge(
        &mut self,
        op: u64,
        replica: usize,
        rows: Vec<Stored>,
        repairs: bool,
    ) -> Option<Done<T>> {
        let Want::Read { query, first } = &mut self.ops.get_mut(&op)?.want else { return None };
        let Some((other, other_rows)) = first.take() else {
            *first = Some((replica, rows));
            return None;
        };
        let merged = merge(other_rows, rows, query);
        for row in merged.iter().filter(|_| repairs) {
            self.replicas[replica].put(row);
            self.replicas[other].put(row);
        }
        self.end(op, Ok(Answer::Rows(merged)))
    }

    /// The newest ownership of a shard, as the control plane reads it now and then.
    pub(crate) fn head(&self, shard: ShardId) -> Option<EpochRow> {
        self.epochs.get(&shard).and_then(Register::head)
    }

    /// Where each sealed lane ends.
    pub(crate) fn sealed_lanes(&self) -> Vec<(LaneId, BlockSeq)> {
        self.seals.iter().filter_map(|(lane, seal)| Some((*lane, seal.seal()?))).collect()
    }

    /// The rows of a query, as any two replicas would answer it now: for looking at the end.
    pub(crate) fn look(&self, query: &Query) -> Vec<Vec<Stored>> {
        let pairs = [(0, 1), (0, 2), (1, 2)];
        let answers: Vec<_> = self.replicas.iter().map(|replica| replica.answer(query)).collect();
        pairs.map(|(a, b)| merge(answers[a].clone(), answers[b].clone(), query)).into()
    }
}
