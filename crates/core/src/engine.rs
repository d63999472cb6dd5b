//! A lane with its shards: the whole owner side of the message path, without I/O.
//!
//! The shell feeds it what arrives and what the store answered, and performs its actions. It never
//! awaits anything: what depends on the store comes back as a call.

mod action;
mod drain;
mod flush;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::clock::{MonoUs, Now};
use crate::code::Code;
use crate::entry::{Entry, Op};
use crate::fence::FenceWatch;
use crate::id::ShardId;
use crate::lane::Lane;
use crate::limits;
use crate::mutation::{self, Mutation};
use crate::seq::{BlockSeq, ShardSeq};
use crate::shard::{Deciding, Effect, Flush, Input, LinkNo, Shard};

pub use action::{Action, Drained, Snapshot};

use drain::Drain;

/// How often [`Engine::tick`] looks after what has no deadline of its own.
const HOUSEKEEPING_US: u64 = 100_000;

/// How often a shard looks for accounts that may leave memory.
const EVICTION_US: u64 = 5_000_000;

/// A lane and the shards that it serves. See the module.
#[derive(Debug)]
pub struct Engine {
    lane: Lane,
    shards: BTreeMap<ShardId, Served>,
    /// Those with a captured flush that waits for its release.
    captured: BTreeSet<ShardId>,
    /// Those that are emptied to be released.
    draining: BTreeSet<ShardId>,
    /// Of shards whose release is not known to be applied, the first blocks with something that only
    /// the log has: if it never is, they end with this lane.
    releasing: BTreeMap<ShardId, BlockSeq>,
    fence: FenceWatch,
    /// Answers that wait for a valid fence read.
    gated: VecDeque<Action>,
    /// Effects that no one has looked at, in order.
    work: VecDeque<(ShardId, Effect)>,
    /// Blocks below hold nothing that only the log has; recomputed now and then.
    materialized: BlockSeq,
    housekeeping_at: MonoUs,
    last_formed: MonoUs,
    stalled_at: Option<MonoUs>,
    flush_interval_us: u64,
    /// What a target may have to read for the replay of what a stopped shard hands over, in rows.
    handed_max: usize,
}

/// A shard in service.
#[derive(Debug)]
struct Served {
    shard: Shard,
    /// The first block with an entry of this ownership, or above.
    first_block: BlockSeq,
    /// For each block that may hold dirty entries, the first position in it.
    blocks: VecDeque<(ShardSeq, BlockSeq)>,
    flush_at: MonoUs,
    evict_at: MonoUs,
    /// Captured, and not yet handed out because its position is not released.
    captured: Option<Flush>,
    drain: Option<Drain>,
}

impl Engine {
    /// A lane without shards, of a session with `lanes` lanes.
    pub fn new(lanes: u8) -> Self {
        Self::over(Lane::new(lanes))
    }

    /// As [`Engine::new`], over a lane of the caller's.
    pub fn over(lane: Lane) -> Self {
        Self {
            lane,
            shards: BTreeMap::new(),
            captured: BTreeSet::new(),
            draining: BTreeSet::new(),
            releasing: BTreeMap::new(),
            fence: FenceWatch::default(),
            gated: VecDeque::new(),
            work: VecDeque::new(),
            materialized: BlockSeq(0),
            housekeeping_at: MonoUs(0),
            last_formed: MonoUs(0),
            stalled_at: None,
            flush_interval_us: limits::FLUSH_INTERVAL_MS * 1000,
            handed_max: limits::HANDED_READS_MAX,
        }
    }

    /// The same engine, but a stopped shard hands over only what is replayed with so many rows.
    #[must_use]
    pub fn handing_over_at_most(self, handed_max: usize) -> Self {
        Self { handed_max, ..self }
    }

    /// Begins to serve a recovered shard whose claim named `first_block`.
    ///
    /// # Panics
    /// When the shard is served already, or the block was formed before the claim.
    pub fn serve(&mut self, now: Now, shard: Shard, first_block: BlockSeq, out: &mut Vec<Action>) {
        let id = shard.key().id;
        assert!(first_block <= self.lane.next_block(), "a claim names a block that is not formed");
        let blocks = shard.dirty_from().map(|from| (from, first_block));
        // Shards flush one after another, not all at once.
        let stagger = u64::from(id.get()) * 7_919 % self.flush_interval_us.max(1);
        let served = Served {
            shard,
            first_block,
            blocks: blocks.into_iter().collect(),
            flush_at: MonoUs(now.mono.0 + stagger),
            evict_at: MonoUs(now.mono.0 + stagger + EVICTION_US),
            captured: None,
            drain: None,
        };
        self.releasing.remove(&id);
        let before = self.shards.insert(id, served);
        assert!(before.is_none(), "shard {id} is served already");
        self.push_outbox(now, id, out);
    }

    /// Stops serving a shard whose release is about to be sent: whatever becomes of that, nothing of it
    /// is appended under this ownership any more. [`Engine::released_shard`] follows.
    pub fn remove(&mut self, shard: ShardId) -> Option<Shard> {
        #[cfg(feature = "mutations")]
        if mutation::is_on(Mutation::N4) {
            self.cancel_drain(shard);
            return self.shard(shard).cloned();
        }
        self.captured.remove(&shard);
        self.draining.remove(&shard);
        let next = self.lane.next_block();
        let served = self.shards.remove(&shard)?;
        if let Some(from) = served.shard.dirty_from()
            && !mutation::is_on(Mutation::N8)
        {
            self.releasing.insert(shard, served.block_of(from, next));
        }
        Some(served.shard)
    }

    /// The release of a shard is known to be applied: where its entries end is in its own row.
    pub fn released_shard(&mut self, shard: ShardId) {
        self.releasing.remove(&shard);
    }

    /// Feeds one input to a shard; nothing happens when it is not served here.
    pub fn input(&mut self, now: Now, shard: ShardId, input: Input, out: &mut Vec<Action>) {
        let Some(served) = self.shards.get_mut(&shard) else { return };
        let mut effects = Vec::new();
        match &input {
            Input::Send { conn, send } if self.lane.is_full() => {
                served.shard.put_off(*conn, send.client_seq, Code::Overloaded, &mut effects);
            }
            Input::Send { conn, send } if self.stalled_at.is_some() => {
                served.shard.put_off(*conn, send.client_seq, Code::StoreUnavailable, &mut effects);
            }
            _ => served.shard.step(now, input, &mut effects),
        }
        self.work.extend(effects.into_iter().map(|effect| (shard, effect)));
        self.perform(now, out);
    }

    /// What a fence read that starts now would cover, and whether it should start.
    pub fn fence_cover(&self) -> BlockSeq {
        self.lane.cover()
    }

    /// Every block below is released, and no other ever was.
    pub fn released(&self) -> BlockSeq {
        self.lane.released()
    }

    /// Whether blocks wait for a fence read.
    pub fn wants_fence_read(&self) -> bool {
        self.lane.wants_fence_read()
    }

    /// A fence read that began at `begun`, when the cover was `cover`, saw no fence.
    pub fn fence_read(&mut self, now: Now, begun: MonoUs, cover: BlockSeq, out: &mut Vec<Action>) {
        self.fence.saw_none(begun);
        if self.fence.is_valid(now.mono) {
            out.extend(self.gated.drain(..));
        }
        let mut effects = Vec::new();
        for release in self.lane.release(now.mono, cover) {
            if let Some(served) = self.shards.get_mut(&release.shard) {
                let input = Input::Released { upto: release.upto };
                served.shard.step(now, input, &mut effects);
                self.work.extend(effects.drain(..).map(|effect| (release.shard, effect)));
            }
        }
        self.perform(now, out);
        self.hand_out_flushes(out);
        self.advance_drains(now.mono, out);
        if self.stalled_at.is_some() && !self.is_stalled(now.mono) {
            self.stalled_at = None;
        }
    }

    /// The write of a block succeeded.
    pub fn written(&mut self, seq: BlockSeq) {
        self.lane.written(seq);
    }

    /// Forms a block if one is due, and does what time asks for. Call it after every batch of inputs
    /// and at [`Engine::next_tick`].
    pub fn tick(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.mono >= self.housekeeping_at {
            self.housekeeping_at = MonoUs(now.mono.0 + HOUSEKEEPING_US);
            self.keep_house(now, out);
        }
        while let Some(formed) = self.lane.form(now.mono, self.materialized) {
            self.last_formed = now.mono;
            out.push(Action::Write(formed));
        }
        if mutation::is_on(Mutation::M5) {
            self.fence_read(now, now.mono, self.lane.cover(), out);
        }
    }

    /// When [`Engine::tick`] has something to do though nothing else happens.
    pub fn next_tick(&self) -> MonoUs {
        self.lane.form_at().map_or(self.housekeeping_at, |due| due.min(self.housekeeping_at))
    }

    /// Forms an empty block: a lane that shows that it lives, so that its tail never expires whole.
    pub fn keep_alive(&mut self, now: Now, out: &mut Vec<Action>) {
        self.last_formed = now.mono;
        out.push(Action::Write(self.lane.form_now(now.mono, self.materialized)));
    }

    /// When the last block was formed.
    pub fn last_formed(&self) -> MonoUs {
        self.last_formed
    }

    /// A link broke: its connections are gone.
    pub fn drop_link(&mut self, now: Now, link: LinkNo) {
        for served in self.shards.values_mut() {
            served.shard.drop_link(now, link);
        }
    }

    /// The shard, if it is served here.
    pub fn shard(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(&shard).map(|served| &served.shard)
    }

    /// As [`Engine::shard`], to change what only this process knows of it.
    pub fn shard_mut(&mut self, shard: ShardId) -> Option<&mut Shard> {
        self.shards.get_mut(&shard).map(|served| &mut served.shard)
    }

    /// Of which shard, and what, a call was deciding when it panicked. Nothing else may be asked of an
    /// engine then, and nothing of what it says be done.
    pub fn deciding(&self) -> Option<(ShardId, Deciding)> {
        self.shards().find_map(|shard| Some((shard.key().id, shard.deciding()?)))
    }

    /// The shards in service.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values().map(|served| &served.shard)
    }

    /// Numbers for metrics.
    pub fn snapshot(&self, now: MonoUs) -> Snapshot {
        let oldest = self.lane.oldest_pending();
        Snapshot {
            shards: self.shards.len(),
            accounts: self.shards().map(|shard| shard.census().0).sum(),
            connections: self.shards().map(|shard| shard.census().1).sum(),
            next_block: self.lane.next_block(),
            released: self.lane.released(),
            materialized: self.materialized,
            oldest_pending_ms: oldest.map_or(0, |formed| now.ms_since(formed)),
            fence_valid: self.fence.is_valid(now),
        }
    }

    /// The block that the next claim of a shard for this lane names.
    pub fn next_block(&self) -> BlockSeq {
        self.lane.next_block()
    }

    /// Looks at every effect, those that it causes itself too.
    fn perform(&mut self, now: Now, out: &mut Vec<Action>) {
        while let Some((shard, effect)) = self.work.pop_front() {
            match effect {
                Effect::Append(entry) => self.append(now, entry),
                Effect::Push { to, items } if self.shards.contains_key(&to) => {
                    for item in items {
                        let (seq, parcel) = (item.seq, item.parcel);
                        self.feed(now, to, Input::Parcel { link: None, from: shard, seq, parcel });
                    }
                }
                Effect::Confirm { link: None, from, upto } if self.shards.contains_key(&from) => {
                    self.feed(now, from, Input::Confirmed { to: shard, upto });
                }
                Effect::Expect { link: None, from, next } if self.shards.contains_key(&from) => {
                    self.feed(now, from, Input::Expected { to: shard, next });
                }
                Effect::Signal { to, signal } if self.shards.contains_key(&to) => {
                    self.feed(now, to, Input::Signal(signal));
                }
                // Of no use later.
                Effect::Signal { to, signal } if self.fence.is_valid(now.mono) => {
                    out.push(Action::Signal { to, signal });
                }
                Effect::Signal { .. } => {}
                Effect::Load(account) => out.push(Action::Load { shard, account }),
                Effect::ReadForReceipts { account, after, upto } => {
                    out.push(Action::ReadForReceipts { shard, account, after, upto });
                }
                Effect::LoadMarks { account, conn, above, after } => {
                    out.push(Action::LoadMarks { shard, account, conn, above, after });
                }
                Effect::Fetch { account, conn, corr, fetch } => {
                    out.push(Action::Fetch { shard, account, conn, corr, fetch });
                }
                Effect::LoadGroup(group) => out.push(Action::LoadGroup { shard, group }),
                Effect::ReadRoster { account, conn, corr, group, after } => {
                    out.push(Action::ReadRoster { shard, account, conn, corr, group, after });
                }
                Effect::ReadLog { account, conn, corr, fetch } => {
                    out.push(Action::ReadLog { shard, account, conn, corr, fetch });
                }
                Effect::LoadInbox { account, after, upto } => {
                    out.push(Action::LoadInbox { shard, account, after, upto });
                }
                Effect::ToConn { conn, what } => {
                    self.gate(now.mono, Action::ToConn { shard, conn, what }, out);
                }
                Effect::Answer { token, answer } => {
                    self.gate(now.mono, Action::Answer { token, answer }, out);
                }
                Effect::Push { to, items } => {
                    self.gate(now.mono, Action::Push { shard, to, items }, out);
                }
                Effect::Confirm { link, from, upto } => {
                    self.gate(now.mono, Action::Confirm { shard, link, from, upto }, out);
                }
                Effect::Expect { link, from, next } => {
                    self.gate(now.mono, Action::Expect { shard, link, from, next }, out);
                }
            }
        }
    }

    fn feed(&mut self, now: Now, shard: ShardId, input: Input) {
        let Some(served) = self.shards.get_mut(&shard) else { return };
        let mut effects = Vec::new();
        served.shard.step(now, input, &mut effects);
        self.work.extend(effects.into_iter().map(|effect| (shard, effect)));
    }

    fn append(&mut self, now: Now, entry: Entry) {
        let destination = match &entry.op {
            Op::Sent { slot, .. } => Some(slot.to),
            Op::AccountCreated { .. }
            | Op::DeviceAdded { .. }
            | Op::DeviceRevoked { .. }
            | Op::RefreshRotated { .. }
            | Op::SendRefused { .. }
            | Op::Received { .. }
            | Op::Wished { .. }
            | Op::Marked { .. }
            | Op::Progress(_) => None,
        };
        let (shard, seq) = (entry.shard, entry.seq);
        if let Some(served) = self.shards.get_mut(&shard) {
            served.keep(&entry);
        }
        let block = self.lane.append(entry);
        if let Some(served) = self.shards.get_mut(&shard)
            && served.blocks.back().is_none_or(|(_, last)| *last != block)
        {
            served.blocks.push_back((seq, block));
        }
        if let Some(to) = destination {
            self.take_in_one_commit(now, shard, to);
        }
    }

    /// Sender and recipient in one lane: the recipient's shard decides at once, so that both entries
    /// wait for one commit. A lane's blocks are released in order, so the recipient's entry is never
    /// without the sender's; if either is lost, both are, or the outbox pushes again.
    fn take_in_one_commit(&mut self, now: Now, from: ShardId, to: ShardId) {
        if from != to && !self.shards.contains_key(&to) {
            return;
        }
        let Some(source) = self.shards.get_mut(&from) else { return };
        let Some(item) = source.shard.take_only_item(to) else { return };
        let (seq, parcel) = (item.seq, item.parcel);
        let takes = self.shards.get(&to).is_some_and(|d| d.shard.would_take(from, seq, &parcel));
        if takes {
            self.feed(now, to, Input::Parcel { link: None, from, seq, parcel });
        } else if let Some(source) = self.shards.get_mut(&from) {
            source.shard.untake(to, seq);
        }
    }

    /// Lets an answer out while the fence read is valid, else keeps it.
    fn gate(&mut self, now: MonoUs, action: Action, out: &mut Vec<Action>) {
        let open = self.gated.is_empty() && self.fence.is_valid(now);
        if open || action.is_free() {
            out.push(action);
        } else {
            self.gated.push_back(action);
        }
    }

    fn is_stalled(&self, now: MonoUs) -> bool {
        let oldest = self.lane.oldest_pending();
        oldest.is_some_and(|formed| now.ms_since(formed) >= limits::COMMIT_PATIENCE_MS)
    }

    fn keep_house(&mut self, now: Now, out: &mut Vec<Action>) {
        self.tell_of_stall(now, out);
        self.start_flushes(now, out);
        self.hand_out_flushes(out);
        self.materialized = self.materialized_below();
        self.look_after(now, out);
        for served in self.shards.values_mut().filter(|served| served.evict_at <= now.mono) {
            served.evict_at = MonoUs(now.mono.0 + EVICTION_US);
            served.shard.evict(now);
        }
    }

    fn look_after(&mut self, now: Now, out: &mut Vec<Action>) {
        let mut effects = Vec::new();
        for (id, served) in &mut self.shards {
            served.shard.look_after(now, &mut effects);
            self.work.extend(effects.drain(..).map(|effect| (*id, effect)));
        }
        self.perform(now, out);
    }

    /// Clients whose sends wait too long for their commit are told to send again: nothing hangs.
    fn tell_of_stall(&mut self, now: Now, out: &mut Vec<Action>) {
        if !self.is_stalled(now.mono) {
            self.stalled_at = None;
            return;
        }
        let since = self.stalled_at.get_or_insert(MonoUs(0));
        if now.mono.ms_since(*since) < 1_000 {
            return;
        }
        *since = now.mono;
        let mut effects = Vec::new();
        for (id, served) in &mut self.shards {
            served.shard.put_off_pending(Code::StoreUnavailable, 1_000, &mut effects);
            self.work.extend(effects.drain(..).map(|effect| (*id, effect)));
        }
        self.perform(now, out);
    }

    /// After a shard was claimed: everything unconfirmed goes out again.
    fn push_outbox(&mut self, now: Now, shard: ShardId, out: &mut Vec<Action>) {
        let Some(served) = self.shards.get(&shard) else { return };
        let waiting = served.shard.wanted_peers();
        for to in waiting {
            self.feed(now, shard, Input::PeerReady { to });
        }
        self.perform(now, out);
    }
}
