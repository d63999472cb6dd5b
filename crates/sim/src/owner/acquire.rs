//! Acquiring a shard: claim its next epoch, recover its state, serve.

use std::collections::BTreeMap;

use iris_check::history::What;
use iris_core::entry::{Entry, Op, Received};
use iris_core::group::Sizes;
use iris_core::id::{LaneId, LaneNo, ShardId};
use iris_core::rate::Rates;
use iris_core::seq::{BlockSeq, Epoch, HomeGen};
use iris_core::shard::{Policy, Recovered, Shard, ShardKey};
use iris_core::takeover::{Claimable, EpochRow, Reading, claimable};

use crate::network::Node;
use crate::store::{Answer, Failed, Swap};
use crate::world::World;

use super::recover::{Hot, Recovery};
use super::{Again, Call, Holding, Next};

/// Claims that may be lost to others before giving up.
const CLAIMS_MAX: u32 = 5;

/// A shard on its way here.
#[derive(Debug)]
pub(crate) struct Acquire {
    claims: u32,
    /// The newest ownership, as read last, and how.
    reading: Reading,
    pub(super) head: Option<EpochRow>,
    /// Every ownership, as read last.
    pub(super) rows: Vec<EpochRow>,
    /// What is claimed.
    pub(super) epoch: Epoch,
    pub(super) first_block: BlockSeq,
    pub(super) recovery: Recovery,
    /// Which source handed it over and waits for an answer, and whether it is claimed.
    handed: Option<Handed>,
}

#[derive(Debug, Clone, Copy)]
struct Handed {
    source: usize,
    turn: u64,
    claimed: bool,
}

/// What is asked of the store next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AcquireStep {
    /// The newest ownership, which may be old: it is good for a claim, and for nothing else.
    Head,
    HeadSerially,
    Seal,
    Claim,
    HeadAfterClaim,
    Recover(super::recover::RecoverStep),
}

impl World {
    pub(super) fn acquire(&mut self, owner: usize, shard: ShardId) {
        self.owners[owner].acquires.insert(shard, Acquire::new(None));
        self.acquire_step(owner, shard, AcquireStep::Head);
    }

    /// A source released a shard to this session, with everything that it would read otherwise.
    pub(super) fn claim_released(
        &mut self,
        owner: usize,
        shard: ShardId,
        released: Epoch,
        hot: Option<Hot>,
        (source, turn): (usize, u64),
    ) {
        match self.owners[owner].held.get(&shard) {
            Some(Holding::Serving(epoch)) if *epoch > released => {
                let epoch = *epoch;
                return self.answer_source(owner, source, shard, (Some(epoch), turn));
            }
            Some(_) => return self.answer_source(owner, source, shard, (None, turn)),
            None => {}
        }
        self.owners[owner].held.insert(shard, Holding::Acquiring);
        let mut acquire = Acquire::new(Some(Handed { source, turn, claimed: false }));
        acquire.epoch = released.next();
        self.owners[owner].acquires.insert(shard, acquire);
        match hot {
            // An owner reads while it claims. What is read first is the oldest that it may have read.
            Some(hot) => self.begin_recovery(owner, shard, Some(hot)),
            // It was too much for a message, or of another version: the log has it.
            None => self.acquire_step(owner, shard, AcquireStep::Head),
        }
    }

    fn answer_source(
        &mut self,
        owner: usize,
        source: usize,
        shard: ShardId,
        (epoch, turn): (Option<Epoch>, u64),
    ) {
        let from = Node::Pod(self.owners[owner].pod);
        self.call_from(from, source, Call::Claimed { shard, epoch, turn });
    }

    pub(super) fn acquire_step(&mut self, owner: usize, shard: ShardId, step: AcquireStep) {
        let Some(acquire) = self.owners[owner].acquires.get(&shard) else { return };
        let next = Next::Acquire { shard, step: step.clone() };
        match step {
            AcquireStep::Head | AcquireStep::HeadSerially | AcquireStep::HeadAfterClaim => {
                let reading = match step {
                    AcquireStep::Head => Reading::Plain,
                    _ => Reading::Serial,
                };
                let wanted = self.owners[owner].wanted.shards.contains(&shard);
                if acquire.handed.is_none() && !wanted {
                    return self.give_up_acquiring(owner, shard);
                }
                if let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) {
                    acquire.reading = reading;
                }
                self.read_epochs(owner, (shard, reading), next);
            }
            AcquireStep::Seal => {
                let Some(row) = acquire.head else { return };
                self.read_seal(owner, LaneId { session: row.session, lane: row.lane }, next);
            }
            AcquireStep::Claim => {
                let epoch = acquire.epoch;
                let lane = self.owners[owner].lane_of(shard);
                let engine = &self.owners[owner].lanes[usize::from(lane)].engine;
                let first_block = engine.next_block();
                let session = self.owners[owner].id;
                let row = EpochRow {
                    epoch,
                    session,
                    lane: LaneNo(lane),
                    first_block,
                    released_block: None,
                };
                if let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) {
                    acquire.first_block = first_block;
                }
                self.swap(owner, Swap::Claim(shard, row), next);
            }
            AcquireStep::Recover(step) => self.recover_step(owner, shard, step),
        }
    }

    pub(super) fn acquire_answered(
        &mut self,
        owner: usize,
        shard: ShardId,
        step: AcquireStep,
        answer: Result<Answer, Failed>,
    ) {
        if !self.owners[owner].acquires.contains_key(&shard) {
            return;
        }
        match (step, answer) {
            (AcquireStep::Claim, Err(Failed)) => {
                // A swap of unknown outcome is read before anything is believed.
                self.acquire_step(owner, shard, AcquireStep::HeadAfterClaim);
            }
            (step, Err(Failed)) => self.later(owner, Again::Acquire { shard, step }, 150_000),
            (AcquireStep::Head | AcquireStep::HeadSerially, Ok(answer)) => {
                self.head_read(owner, shard, answer)
            }
            (AcquireStep::HeadAfterClaim, Ok(answer)) => {
                self.read_after_claim(owner, shard, answer);
            }
            (AcquireStep::Seal, Ok(answer)) => {
                let head = self.owners[owner].acquires.get(&shard).and_then(|a| a.head);
                let Some(row) = head else { return };
                let seal = self.sealed(row.session, row.lane, &answer);
                self.decide_claim(owner, shard, seal);
            }
            (AcquireStep::Claim, Ok(Answer::Swapped(true))) => self.claimed(owner, shard),
            (AcquireStep::Claim, Ok(_)) => self.claim_lost(owner, shard),
            (AcquireStep::Recover(step), Ok(answer)) => {
                self.recovered(owner, shard, step, answer);
            }
        }
    }

    fn head_read(&mut self, owner: usize, shard: ShardId, answer: Answer) {
        let Answer::Epochs(rows) = answer else { unreachable!("epochs were read") };
        let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) else { return };
        acquire.head = rows.last().copied();
        acquire.rows = rows;
        match acquire.head {
            Some(row) if row.released_block.is_none() => {
                self.acquire_step(owner, shard, AcquireStep::Seal);
            }
            Some(row) => {
                // Whoever reads that it was released may know it before the source does.
                self.note(What::Released { shard: shard.into(), epoch: row.epoch.0 });
                self.decide_claim(owner, shard, None);
            }
            None => self.decide_claim(owner, shard, None),
        }
    }

    fn decide_claim(&mut self, owner: usize, shard: ShardId, seal: Option<BlockSeq>) {
        let state = &self.owners[owner];
        let (me, wanted) = (state.id, &state.wanted);
        let Some(acquire) = state.acquires.get(&shard) else { return };
        let head = acquire.head;
        if let Some(row) = head
            && row.released_block.is_none()
            && seal.is_none()
            && row.session != me
            && wanted.dead.contains(&row.session)
        {
            let promised = promised(&acquire.rows, &row);
            return self.take_over(owner, row.session, shard, promised);
        }
        match claimable(me, (head.as_ref(), acquire.reading), seal) {
            Claimable::Yes { epoch, .. } => {
                if let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) {
                    acquire.epoch = epoch;
                }
                self.acquire_step(owner, shard, AcquireStep::Claim);
            }
            Claimable::Unclear => {
                self.acquire_step(owner, shard, AcquireStep::HeadSerially);
            }
            Claimable::Mine(epoch) => {
                let first_block = head.map_or(BlockSeq(0), |row| row.first_block);
                self.is_mine(owner, shard, (epoch, first_block));
            }
            Claimable::Held(_) if acquire.handed.is_some() => self.give_up_acquiring(owner, shard),
            Claimable::Held(_) => {
                let step = AcquireStep::Head;
                self.later(owner, Again::Acquire { shard, step }, 200_000);
            }
        }
    }

    fn read_after_claim(&mut self, owner: usize, shard: ShardId, answer: Answer) {
        let Answer::Epochs(rows) = answer else { unreachable!("epochs were read") };
        let me = self.owners[owner].id;
        let Some(acquire) = self.owners[owner].acquires.get(&shard) else { return };
        let ours = rows.last().filter(|row| row.session == me && row.epoch == acquire.epoch);
        match ours.map(|row| (row.epoch, row.first_block)) {
            Some(mine) => self.is_mine(owner, shard, mine),
            None => self.claim_lost(owner, shard),
        }
    }

    fn is_mine(&mut self, owner: usize, shard: ShardId, (epoch, first): (Epoch, BlockSeq)) {
        if let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) {
            (acquire.epoch, acquire.first_block) = (epoch, first);
        }
        self.claimed(owner, shard);
    }

    fn claim_lost(&mut self, owner: usize, shard: ShardId) {
        self.book.sometimes.lost_claims += 1;
        let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) else { return };
        acquire.claims += 1;
        if acquire.handed.is_some() || acquire.claims == CLAIMS_MAX {
            return self.give_up_acquiring(owner, shard);
        }
        self.acquire_step(owner, shard, AcquireStep::HeadSerially);
    }

    /// The shard does not come here.
    fn give_up_acquiring(&mut self, owner: usize, shard: ShardId) {
        let acquire = self.owners[owner].acquires.remove(&shard);
        self.owners[owner].held.remove(&shard);
        if let Some(Handed { source, turn, .. }) = acquire.and_then(|acquire| acquire.handed) {
            self.answer_source(owner, source, shard, (None, turn));
        }
    }

    fn claimed(&mut self, owner: usize, shard: ShardId) {
        let session = self.book.session(self.owners[owner].id);
        let Some(acquire) = self.owners[owner].acquires.get_mut(&shard) else { return };
        let (epoch, id) = (acquire.epoch.0, u32::from(shard));
        if let Some(handed) = &mut acquire.handed {
            handed.claimed = true;
        }
        let was_read = acquire.recovery.was_handed();
        self.note(What::Claimed { shard: id, epoch, session });
        if was_read {
            self.finish_recovery(owner, shard);
        } else {
            self.begin_recovery(owner, shard, None);
        }
    }

    /// Everything was read: the shard is served.
    pub(super) fn serve(&mut self, owner: usize, shard: ShardId, recovered: Recovered) {
        let Some(acquire) = self.owners[owner].acquires.remove(&shard) else { return };
        let pod = self.owners[owner].pod;
        let now = self.now_at(pod);
        let key =
            ShardKey { id: shard, count: self.count, home_gen: HomeGen(0), epoch: acquire.epoch };
        let policy = Policy {
            history: self.plan.history,
            rates: Rates::of_devices(self.plan.sends_per_second),
            groups: Sizes {
                inline_max: self.plan.inline_members,
                pushed_max: self.plan.pushed_members,
            },
        };
        let of_groups = |entry: &&Entry| {
            matches!(&entry.op, Op::Received { outcome, .. }
            if matches!(outcome, Received::Ordered { .. } | Received::Shared { .. }))
        };
        let tail_of_groups = recovered.tail.iter().filter(of_groups).count();
        self.book.sometimes.replays_of_groups += u64::from(tail_of_groups > 0);
        self.book.sometimes.replays += u64::from(!recovered.tail.is_empty());
        let state = match Shard::recover(key, policy, now.mono, recovered) {
            Ok(state) => state,
            Err(error) => {
                let at = self.now();
                self.book.unreadable.push((at, error.to_string()));
                return;
            }
        };
        let lane = self.owners[owner].lane_of(shard);
        let mut actions = Vec::new();
        let engine = &mut self.owners[owner].lanes[usize::from(lane)].engine;
        engine.serve(now, state, acquire.first_block, &mut actions);
        let owner_state = &mut self.owners[owner];
        owner_state.moved.remove(&shard);
        owner_state.held.insert(shard, Holding::Serving(acquire.epoch));
        self.perform(owner, lane, actions);
        self.kick(owner, lane);
        self.say(owner);
        if let Some(Handed { source, turn, .. }) = acquire.handed {
            self.answer_source(owner, source, shard, (Some(acquire.epoch), turn));
        }
    }
}

impl Acquire {
    /// Everything that was handed over is read, and the claim is still to come.
    pub(super) fn is_to_be_claimed(&self) -> bool {
        self.handed.is_some_and(|handed| !handed.claimed)
    }

    fn new(handed: Option<Handed>) -> Self {
        Self {
            claims: 0,
            reading: Reading::Plain,
            head: None,
            rows: Vec::new(),
            epoch: Epoch(0),
            first_block: BlockSeq(0),
            recovery: Recovery::default(),
            handed,
        }
    }
}

/// What a dead session released of a shard earlier: its lane did not end below that.
fn promised(rows: &[EpochRow], dead: &EpochRow) -> BTreeMap<LaneNo, BlockSeq> {
    let mut promised: BTreeMap<LaneNo, BlockSeq> = BTreeMap::new();
    let same = |row: &&EpochRow| row.session == dead.session;
    for row in rows.iter().filter(same) {
        if let Some(block) = row.released_block {
            let known = promised.entry(row.lane).or_default();
            *known = block.max(*known);
        }
    }
    promised
}
