//! Takeovers of dead sessions: what [`Takeover`] wants, performed.

use std::collections::{BTreeMap, BTreeSet};

use iris_check::history::What;
use iris_core::block::{ChainHash, TailBlock};
use iris_core::id::{LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::BlockSeq;
use iris_core::takeover::{self, Ask, Takeover};

use crate::store::{Answer, Failed, Key, Query, Stored, Swap, Value};
use crate::world::World;

use super::{AcquireStep, Again, Next};

/// One takeover, for all shards that wait for it.
#[derive(Debug)]
pub(crate) struct TakeoverJob {
    machine: Takeover,
    under_way: usize,
    /// Blocks that were read, in case they are to be written back.
    read: BTreeMap<(LaneNo, BlockSeq), Stored>,
    waiting: BTreeSet<ShardId>,
}

impl World {
    /// Takes over a dead session for a shard, unless that is under way.
    pub(super) fn take_over(
        &mut self,
        owner: usize,
        dead: SessionId,
        shard: ShardId,
        promised: BTreeMap<LaneNo, BlockSeq>,
    ) {
        if let Some(job) = self.owners[owner].takeovers.get_mut(&dead) {
            job.waiting.insert(shard);
            return;
        }
        self.book.sometimes.takeovers += 1;
        let mut machine = Takeover::begin(promised);
        let asks = machine.wanted();
        let job = TakeoverJob {
            machine,
            under_way: asks.len(),
            read: BTreeMap::new(),
            waiting: BTreeSet::from([shard]),
        };
        self.owners[owner].takeovers.insert(dead, job);
        for ask in asks {
            self.ask_for_takeover(owner, dead, ask);
        }
    }

    pub(super) fn ask_for_takeover(&mut self, owner: usize, dead: SessionId, ask: Ask) {
        let next = Next::TakeOver { dead, ask };
        let of = |lane| LaneId { session: dead, lane };
        match ask {
            Ask::Fence => {
                let me = self.owners[owner].id;
                let row = Stored::new(Key::Fence(dead), 0, Value::Fence(me));
                self.write(owner, vec![row], next);
            }
            Ask::Lanes => self.read(owner, Query::Lanes(dead), next),
            Ask::Sealed(lane) => self.read_seal(owner, of(lane), next),
            Ask::Tail { lane, blocks } => self.read(owner, Query::Tail(of(lane), blocks), next),
            Ask::WriteBack { lane, block } => {
                let Some(job) = self.owners[owner].takeovers.get(&dead) else { return };
                let row = job.read.get(&(lane, block)).cloned().expect("it was read");
                self.write(owner, vec![row], next);
            }
            Ask::Seal { lane, end } => self.swap(owner, Swap::Seal(of(lane), end), next),
        }
    }

    pub(super) fn takeover_answered(
        &mut self,
        owner: usize,
        dead: SessionId,
        ask: Ask,
        answer: Result<Answer, Failed>,
    ) {
        let Ok(answer) = answer else {
            // A swap of unknown outcome is read before anything is believed.
            let ask = match ask {
                Ask::Seal { lane, .. } => Ask::Sealed(lane),
                other => other,
            };
            return self.later(owner, Again::TakeOver { dead, ask }, 100_000);
        };
        let answer = self.for_takeover(owner, dead, ask, answer);
        let Some(job) = self.owners[owner].takeovers.get_mut(&dead) else { return };
        let answered = job.machine.answer(answer);
        let asks = job.machine.wanted();
        job.under_way = job.under_way - 1 + asks.len();
        let ended = job.under_way == 0;
        if let Err(error) = answered {
            let now = self.now();
            self.book.unreadable.push((now, error.to_string()));
            return;
        }
        for ask in asks {
            self.ask_for_takeover(owner, dead, ask);
        }
        if ended {
            let job = self.owners[owner].takeovers.remove(&dead).expect("it is under way");
            for shard in job.waiting {
                self.acquire_step(owner, shard, AcquireStep::Head);
            }
        }
    }

    /// The store's answer, as the machine takes it.
    fn for_takeover(
        &mut self,
        owner: usize,
        dead: SessionId,
        ask: Ask,
        answer: Answer,
    ) -> takeover::Answer {
        match ask {
            Ask::Fence => {
                let session = self.book.session(dead);
                self.note(What::Fenced { session });
                takeover::Answer::Fenced
            }
            Ask::Lanes => {
                let rows = Self::rows_of(answer);
                takeover::Answer::Lanes(rows.into_iter().find_map(|row| match row.cell.value {
                    Value::Lanes(lanes) => Some(lanes),
                    _ => None,
                }))
            }
            Ask::Sealed(lane) => takeover::Answer::Sealed(lane, self.sealed(dead, lane, &answer)),
            Ask::Seal { lane, end } => {
                let sealed = self.sealed(dead, lane, &answer);
                self.note_tail(dead, lane, end);
                takeover::Answer::Sealed(lane, sealed)
            }
            Ask::Tail { lane, .. } => {
                let rows = Self::rows_of(answer);
                let tail = rows.iter().filter_map(tail_block).collect();
                if let Some(job) = self.owners[owner].takeovers.get_mut(&dead) {
                    for row in rows {
                        if let Key::Block(_, seq) = row.key {
                            job.read.insert((lane, seq), row);
                        }
                    }
                }
                takeover::Answer::Tail(lane, tail)
            }
            Ask::WriteBack { lane, block } => takeover::Answer::WrittenBack(lane, block),
        }
    }

    /// Writes down where a lane ends, if that is decided.
    pub(super) fn sealed(
        &mut self,
        session: SessionId,
        lane: LaneNo,
        answer: &Answer,
    ) -> Option<BlockSeq> {
        let Answer::Sealed(end) = answer else { unreachable!("a seal is answered with one") };
        if let Some(end) = end {
            let lane = self.book.lane(LaneId { session, lane });
            self.note(What::Sealed { lane, end: end.0 });
        }
        *end
    }

    /// Whether a lane was sealed above what its session released: then somebody's send of unknown
    /// outcome was kept.
    fn note_tail(&mut self, dead: SessionId, lane: LaneNo, end: BlockSeq) {
        let id = self.book.lane(LaneId { session: dead, lane });
        let released = self.book.history.iter().rev().find_map(|event| match &event.what {
            What::LetGo { lane, upto, .. } if *lane == id => Some(*upto),
            _ => None,
        });
        if end.0 > released.unwrap_or_default() {
            self.book.sometimes.unacknowledged_tails += 1;
        }
    }
}

/// The hash of the last of the blocks below `end`, or which of them is missing.
pub(crate) fn chain_of(rows: &[Stored], end: BlockSeq) -> String {
    let (mut next, mut hash) = (BlockSeq(0), ChainHash::START);
    for row in rows {
        let Some(block) = tail_block(row) else { continue };
        if block.seq != next || block.prev != hash {
            break;
        }
        (next, hash) = (next.next(), block.hash);
    }
    if next < end { format!("without block {next}") } else { format!("{hash:?}") }
}

/// A block as a recoverer sees it.
pub(super) fn tail_block(row: &Stored) -> Option<TailBlock> {
    match (&row.key, &row.cell.value) {
        (Key::Block(_, seq), Value::Block(block)) => Some(block.in_tail(*seq)),
        _ => None,
    }
}
