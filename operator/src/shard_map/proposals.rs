//! Moves that would even out the load: what placement would do if it were free to. Pure.

use iris_core::id::ShardCount;
use iris_core::placement::{self, Mode, Owner, OwnerNo, Problem};
use iris_crds::shard_map::{Pin, Proposal};
use iris_proto::control::{OwnerState, RegionState};

/// The moves, by shard. None while something is not served: that comes first.
pub(super) fn proposals(state: &RegionState, pins: &[Pin]) -> Vec<Proposal> {
    let Ok(count) = ShardCount::new(state.shard_count) else { return Vec::new() };
    let mut owners: Vec<&OwnerState> =
        state.owners.iter().filter(|owner| !owner.taken_over).collect();
    owners.sort_by(|a, b| pod(a).cmp(pod(b)));
    let number = |name: &str| owners.iter().position(|owner| pod(owner) == name).map(OwnerNo);
    let mut previous = Vec::new();
    for shard in &state.shards {
        let Some(owner) = number(&shard.pod) else { return Vec::new() };
        previous.push(Some(owner));
    }
    let pinned = pins.iter().flat_map(|pin| {
        let owner = number(&pin.owner);
        (pin.first..=pin.last).filter_map(move |shard| Some((count.shard(shard).ok()?, owner?)))
    });
    let problem = Problem {
        shards: count,
        weights: Vec::new(),
        owners: owners.iter().map(|owner| of(owner)).collect(),
        pins: pinned.collect(),
        mode: Mode::Even,
    };
    let after = placement::solve(&problem, &previous);
    let moves = placement::moves(&previous, &after).into_iter();
    let named = |owner: Option<OwnerNo>| owners.get(owner?.0).map(|owner| pod(owner).to_owned());
    moves
        .filter_map(|(shard, from, to)| {
            let shard = u32::from(shard);
            let epoch = state.shards.iter().find(|found| found.shard == shard)?.epoch;
            Some(Proposal { shard, from: named(from)?, epoch, to: named(to)? })
        })
        .collect()
}

fn pod(owner: &OwnerState) -> &str {
    owner.info.as_ref().map(|info| info.pod.as_str()).unwrap_or_default()
}

fn of(owner: &OwnerState) -> Owner {
    let info = owner.info.clone().unwrap_or_default();
    Owner { zone: info.zone, capacity: 1, cordoned: info.cordoned }
}
