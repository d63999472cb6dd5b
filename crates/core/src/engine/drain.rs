//! A planned move, at its source: what changed is written while the shard serves, then the shard stops.
//! What it appended meanwhile goes to the target as it is, for the replay that a takeover would make of
//! the log, so while the shard is stopped nothing is waited for but the commit of what was on its way.

use crate::clock::{MonoUs, Now};
use crate::entry::Entry;
use crate::id::ShardId;
use crate::mutation::{self, Mutation};
use crate::seq::ShardSeq;

use super::{Action, Drained, Engine, Served};

/// A shard that appends more than may be handed over while its rows are written has them written again
/// so often, before it stops.
const ROUNDS_MAX: u32 = 4;

/// How far a shard is from being ready for its release.
#[derive(Debug, Clone)]
pub(super) enum Drain {
    /// Serving, while an earlier flush ends.
    Waiting,
    /// Serving, while what changed is written.
    Emptying { round: u32, tail: Tail },
    /// Taking nothing, until what was appended is released.
    Stopped { since: MonoUs, tail: Tail },
    /// As before, and the rest is written: there is too much of it to be handed over.
    Writing { since: MonoUs },
    /// Handed out, for whoever asked to release it.
    Over,
}

/// What a shard appended behind a checkpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    checkpoint: ShardSeq,
    entries: Vec<Entry>,
}

impl Engine {
    /// Begins to drain a shard; [`Action::Drained`] follows. Answers false when it is not served here.
    pub fn drain(&mut self, now: Now, shard: ShardId, out: &mut Vec<Action>) -> bool {
        let Some(served) = self.shards.get_mut(&shard) else { return false };
        served.drain.get_or_insert(Drain::Waiting);
        self.draining.insert(shard);
        self.advance_drain(now, shard, true, out);
        true
    }

    /// Serves on: allowed only while no release of the shard was sent to the store.
    pub fn cancel_drain(&mut self, shard: ShardId) {
        self.draining.remove(&shard);
        if let Some(served) = self.shards.get_mut(&shard)
            && served.drain.take().is_some()
        {
            served.shard.set_admitting(true);
        }
    }

    /// What was appended is released: some of it may have been waited for.
    pub(super) fn advance_drains(&mut self, now: MonoUs, out: &mut Vec<Action>) {
        let draining: Vec<_> = self.draining.iter().copied().collect();
        for shard in draining {
            self.finish_drain(now, shard, out);
        }
    }

    /// A flush ended, well or not, or there was none.
    pub(super) fn advance_drain(
        &mut self,
        now: Now,
        shard: ShardId,
        written: bool,
        out: &mut Vec<Action>,
    ) {
        let handed_max = self.handed_max;
        let Some(served) = self.shards.get_mut(&shard) else { return };
        if served.captured.is_some() || served.shard.is_flushing() {
            return;
        }
        if let Some(Drain::Emptying { .. }) = served.drain
            && written
        {
            // What devices acknowledged meanwhile goes along: they need not say it again.
            let mut effects = Vec::new();
            served.shard.log_progress(now, &mut effects);
            self.work.extend(effects.into_iter().map(|effect| (shard, effect)));
            self.perform(now, out);
        }
        let Some(served) = self.shards.get_mut(&shard) else { return };
        match &mut served.drain {
            Some(Drain::Waiting) => self.empty(now, shard, 1, out),
            Some(Drain::Emptying { round, tail }) => {
                let round = *round;
                let fits = written && served.shard.reads_to_replay(&tail.entries) <= handed_max;
                if fits {
                    let tail = std::mem::take(tail);
                    served.stop(Drain::Stopped { since: now.mono, tail });
                } else if !written || round < ROUNDS_MAX {
                    self.empty(now, shard, round + u32::from(written), out);
                } else {
                    served.stop(Drain::Writing { since: now.mono });
                    self.capture(now, shard, true, out);
                }
            }
            Some(Drain::Writing { .. }) if !served.shard.is_clean() => {
                self.capture(now, shard, true, out);
            }
            None | Some(Drain::Stopped { .. } | Drain::Writing { .. } | Drain::Over) => {}
        }
        self.finish_drain(now.mono, shard, out);
    }

    /// Writes what changed, young outbox items too, and keeps what is appended behind it.
    fn empty(&mut self, now: Now, shard: ShardId, round: u32, out: &mut Vec<Action>) {
        if let Some(served) = self.shards.get_mut(&shard) {
            served.drain = Some(Drain::Emptying { round, tail: Tail::default() });
        }
        self.capture(now, shard, true, out);
        let nothing_to_write = self
            .shards
            .get(&shard)
            .is_some_and(|served| served.captured.is_none() && !served.shard.is_flushing());
        if nothing_to_write {
            self.advance_drain(now, shard, true, out);
        }
    }

    /// Hands a stopped shard out once everything of it is released, and so in the log for whoever
    /// recovers it: nothing of it is in a block that is not released.
    fn finish_drain(&mut self, now: MonoUs, shard: ShardId, out: &mut Vec<Action>) {
        let end_block = self.lane.released();
        let open = self.lane.holds_open(shard);
        let Some(served) = self.shards.get_mut(&shard) else { return };
        let settled = served.shard.is_settled() && !open;
        let last_seq = served.shard.next_seq().prev();
        let early = mutation::is_on(Mutation::N1);
        let (since, tail) = match &mut served.drain {
            Some(Drain::Stopped { since, tail }) if settled || early => {
                (*since, std::mem::take(tail))
            }
            Some(Drain::Writing { since }) if (settled && served.shard.is_clean()) || early => {
                (*since, Tail { checkpoint: last_seq, entries: Vec::new() })
            }
            _ => return,
        };
        served.drain = Some(Drain::Over);
        self.draining.remove(&shard);
        out.push(Action::Drained(Drained {
            shard,
            end_block,
            last_seq,
            checkpoint: tail.checkpoint,
            tail: tail.entries,
            refused: served.shard.refused_while_moving(),
            stopped_us: now.us_since(since),
        }));
    }
}

impl Served {
    /// Takes nothing more: only the claim of a later epoch may admit again.
    fn stop(&mut self, drain: Drain) {
        self.shard.set_admitting(mutation::is_on(Mutation::N3));
        self.drain = Some(drain);
    }

    /// A flush was captured at `checkpoint`, or nothing was left to be written up to there.
    pub(super) fn empties_up_to(&mut self, checkpoint: ShardSeq) {
        if let Some(Drain::Emptying { tail, .. }) = &mut self.drain {
            *tail = Tail { checkpoint, entries: Vec::new() };
        }
    }

    /// Keeps an entry that the checkpoint of a draining shard does not cover.
    pub(super) fn keep(&mut self, entry: &Entry) {
        match &mut self.drain {
            Some(Drain::Over) => {
                assert!(mutation::is_any_on(), "a drained shard decides nothing: {entry:?}");
            }
            Some(Drain::Emptying { tail, .. } | Drain::Stopped { tail, .. })
                if entry.seq > tail.checkpoint && !mutation::is_on(Mutation::N7) =>
            {
                tail.entries.push(entry.clone());
            }
            _ => {}
        }
    }
}
