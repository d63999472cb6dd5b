//! Placement: which owner should have which shard.
//!
//! `solve` is a function of its arguments, bounded and idempotent: what it answered, given back as the
//! previous placement, is answered again. Only shards without an owner and shards that even out the
//! load move. No shard is placed by hashing or counting names.

#[cfg(test)]
mod tests;

use crate::id::{ShardCount, ShardId};

/// An owner, by its place in [`Problem::owners`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerNo(pub usize);

/// An owner as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its failure domain.
    pub zone: String,
    /// Its share of the load, relative to the others'; at least 1.
    pub capacity: u32,
    /// It keeps what it has and gets nothing.
    pub cordoned: bool,
}

/// Whether shards that have an owner may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only shards without an owner are placed: failover.
    Fill,
    /// The load is evened out too.
    Even,
}

/// What is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How many shards there are.
    pub shards: ShardCount,
    /// Weights by shard; a missing one is 1.
    pub weights: Vec<u32>,
    /// The owners, in a stable order.
    pub owners: Vec<Owner>,
    /// Shards that must be with an owner, cordoned or not.
    pub pins: Vec<(ShardId, OwnerNo)>,
    /// What may move.
    pub mode: Mode,
}

/// For each shard its owner; nothing only when no owner takes shards.
pub type Placement = Vec<Option<OwnerNo>>;

/// Places every shard. `previous` holds what is now; missing entries and owners that are not in the
/// problem count as none. Runs in O(shards x owners) at worst.
pub fn solve(problem: &Problem, previous: &Placement) -> Placement {
    let mut state = State::new(problem, previous);
    state.fill();
    if problem.mode == Mode::Even {
        state.even_out();
    }
    state.placement
}

/// Shards that change their owner between two placements.
pub fn moves(from: &Placement, to: &Placement) -> Vec<(ShardId, Option<OwnerNo>, Option<OwnerNo>)> {
    let shard = |n: usize| ShardId::new(u16::try_from(n).expect("at most 65,536 shards"));
    let changed = |n: &usize| from.get(*n).copied().flatten() != to[*n];
    (0..to.len())
        .filter(changed)
        .map(|n| (shard(n), from.get(n).copied().flatten(), to[n]))
        .collect()
}

struct State<'a> {
    problem: &'a Problem,
    placement: Placement,
    load: Vec<u64>,
    pinned: Vec<bool>,
}

impl<'a> State<'a> {
    fn new(problem: &'a Problem, previous: &Placement) -> Self {
        let shards = usize::try_from(problem.shards.get()).expect("at most 65,536");
        let known = |owner: &OwnerNo| owner.0 < problem.owners.len();
        let mut placement: Placement =
            (0..shards).map(|n| previous.get(n).copied().flatten().filter(known)).collect();
        let mut pinned = vec![false; shards];
        for (shard, owner) in &problem.pins {
            let n = usize::from(shard.get());
            if n < shards && known(owner) {
                placement[n] = Some(*owner);
                pinned[n] = true;
            }
        }
        let mut state = Self { problem, placement, load: vec![0; problem.owners.len()], pinned };
        for n in 0..shards {
            if let Some(owner) = state.placement[n] {
                state.load[owner.0] += state.weight(n);
            }
        }
        state
    }

    /// Gives every shard without an owner to the owner that is least loaded for its capacity, heavy
    /// shards first.
    fn fill(&mut self) {
        let mut orphans: Vec<usize> =
            (0..self.placement.len()).filter(|n| self.placement[*n].is_none()).collect();
        orphans.sort_by_key(|n| (std::cmp::Reverse(self.weight(*n)), *n));
        for shard in orphans {
            let Some(owner) = self.least_loaded() else { return };
            self.placement[shard] = Some(owner);
            self.load[owner.0] += self.weight(shard);
        }
    }

    /// Moves shards from the most to the least loaded owner as long as that brings the two closer.
    /// Every move lowers the sum of squared loads for their capacities, so this ends; the bound is a
    /// backstop.
    fn even_out(&mut self) {
        for _ in 0..self.placement.len() * 4 + 4 {
            let Some(to) = self.least_loaded() else { return };
            let Some((shard, from)) = self.best_move_to(to) else { return };
            let weight = self.weight(shard);
            self.load[from.0] -= weight;
            self.load[to.0] += weight;
            self.placement[shard] = Some(to);
        }
    }

    /// The shard of the most loaded owner whose move to `to` helps most.
    fn best_move_to(&self, to: OwnerNo) -> Option<(usize, OwnerNo)> {
        let owners = (0..self.load.len()).map(OwnerNo).filter(|owner| *owner != to);
        let from = owners.max_by(|a, b| self.relative(*a).total_cmp(&self.relative(*b)))?;
        let movable = |n: &usize| self.placement[*n] == Some(from) && !self.pinned[*n];
        let helps = |n: &usize| {
            let weight = self.weight(*n);
            // Compared as fractions of capacity, without division.
            let after = (self.load[to.0] + weight) * self.capacity(from);
            weight > 0 && after < self.load[from.0] * self.capacity(to)
        };
        let best = (0..self.placement.len()).filter(movable).filter(helps);
        // The highest shard of the heaviest: of equal ones the low shards stay.
        best.max_by_key(|n| (self.weight(*n), *n)).map(|n| (n, from))
    }

    fn least_loaded(&self) -> Option<OwnerNo> {
        let open = (0..self.load.len()).filter(|n| !self.problem.owners[*n].cordoned).map(OwnerNo);
        open.min_by(|a, b| {
            let by_load = self.relative(*a).total_cmp(&self.relative(*b));
            by_load.then_with(|| self.zone_load(*a).cmp(&self.zone_load(*b))).then(a.cmp(b))
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "a comparison of loads below 2^52")]
    fn relative(&self, owner: OwnerNo) -> f64 {
        self.load[owner.0] as f64 / self.capacity(owner) as f64
    }

    fn zone_load(&self, owner: OwnerNo) -> u64 {
        let zone = &self.problem.owners[owner.0].zone;
        let in_zone = self.problem.owners.iter().zip(&self.load).filter(|(o, _)| o.zone == *zone);
        in_zone.map(|(_, load)| load).sum()
    }

    fn capacity(&self, owner: OwnerNo) -> u64 {
        u64::from(self.problem.owners[owner.0].capacity.max(1))
    }

    fn weight(&self, shard: usize) -> u64 {
        u64::from(self.problem.weights.get(shard).copied().unwrap_or(1))
    }
}
