//! Which moves an order means. Pure: what is known goes in, moves or a refusal come out.

use std::collections::{BTreeMap, BTreeSet};

use iris_crds::IrisShardMigration;
use iris_crds::migration::ResultName;
use iris_crds::shard_map::MapRange;
use serde::Serialize;

/// A shard as the map shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) shard: u32,
    pub(super) owner: Option<String>,
    pub(super) epoch: u32,
}

/// One move to order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Move {
    pub(super) shard: u32,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) epoch: u32,
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    One { shard: u32, to: String },
    All { to: Option<String> },
}

/// The shards of a map, in order.
pub(super) fn held(ranges: &[MapRange]) -> Vec<Held> {
    let shards = ranges.iter().flat_map(|range| {
        let (owner, epoch) = (range.owner.clone(), range.epoch);
        (range.first..=range.last).map(move |shard| Held { shard, owner: owner.clone(), epoch })
    });
    let mut shards: Vec<_> = shards.collect();
    shards.sort_by_key(|held| held.shard);
    shards
}

/// The same with what ended moves of the region say already: the map is written a few seconds later.
pub(super) fn after(mut held: Vec<Held>, moves: &[IrisShardMigration], region: &str) -> Vec<Held> {
    for one in moves.iter().filter(|one| one.spec.target.region == region) {
        let status = one.status.as_ref();
        // One that was reversed has an epoch behind this one, and only the map knows it.
        let there = status.filter(|status| status.result == Some(ResultName::Succeeded));
        let Some(epoch) = there.and_then(|status| status.committed_epoch) else { continue };
        let shard = held.iter_mut().find(|held| held.shard == one.spec.shard);
        if let Some(shard) = shard.filter(|held| held.epoch < epoch) {
            (shard.owner, shard.epoch) = (Some(one.spec.target.owner.clone()), epoch);
        }
    }
    held
}

/// The moves, or in words why there are none; and what is left out, with the reason.
pub(super) fn plan(
    held: &[Held],
    owners: &[String],
    wish: &Wish,
) -> Result<(Vec<Move>, Vec<String>), String> {
    let target = match wish {
        Wish::One { to, .. } => Some(to),
        Wish::All { to } => to.as_ref(),
    };
    if let Some(target) = target.filter(|target| !owners.contains(target)) {
        let owners = if owners.is_empty() { "none".to_owned() } else { owners.join(", ") };
        return Err(format!("{target} is no owner that takes shards; there are: {owners}"));
    }
    match wish {
        Wish::One { shard, to } => {
            let Some(one) = held.iter().find(|held| held.shard == *shard) else {
                let last = held.last().map_or(0, |held| held.shard);
                return Err(format!("there is no shard {shard}: the map has 0 to {last}"));
            };
            match &one.owner {
                None => Err(format!("nobody serves shard {shard} now: there is nothing to move")),
                Some(owner) if owner == to => Err(format!("{to} serves shard {shard} already")),
                Some(owner) => Ok((vec![one.to(owner, to)], Vec::new())),
            }
        }
        Wish::All { to } => all(held, owners, to.as_ref()),
    }
}

fn all(
    held: &[Held],
    owners: &[String],
    to: Option<&String>,
) -> Result<(Vec<Move>, Vec<String>), String> {
    let mut gets: BTreeMap<&String, usize> = owners.iter().map(|owner| (owner, 0)).collect();
    let (mut moves, mut left, mut nobodys) = (Vec::new(), BTreeSet::new(), Vec::new());
    for shard in held {
        let Some(from) = &shard.owner else {
            nobodys.push(shard.shard.to_string());
            continue;
        };
        let target = match to {
            Some(to) => Some(to).filter(|to| *to != from),
            // Whoever got the fewest so far, so that the shards end evenly spread.
            None => owners.iter().filter(|owner| *owner != from).min_by_key(|owner| gets[owner]),
        };
        match target {
            Some(to) => {
                *gets.entry(to).or_default() += 1;
                moves.push(shard.to(from, to));
            }
            None => {
                left.insert(from.clone());
            }
        }
    }
    let mut notes = Vec::new();
    if !nobodys.is_empty() {
        notes.push(format!("nobody serves these shards now: {}", nobodys.join(", ")));
    }
    match to {
        Some(to) if !left.is_empty() => notes.push(format!("{to} keeps what it serves")),
        None if !left.is_empty() => {
            return Err("there is one owner only: a shard needs another one to go to".to_owned());
        }
        Some(_) | None => {}
    }
    if to.is_none() {
        even_out(&mut moves, &mut gets);
    }
    if moves.is_empty() {
        return Err("there is nothing to move".to_owned());
    }
    Ok((moves, notes))
}

/// Whoever gets the most gives to whoever gets the fewest, as long as that is possible: the first choice
/// of targets depends on the order of the shards.
fn even_out(moves: &mut [Move], gets: &mut BTreeMap<&String, usize>) {
    loop {
        let most =
            gets.iter().max_by_key(|(_, count)| **count).map(|(owner, count)| (*owner, *count));
        let fewest =
            gets.iter().min_by_key(|(_, count)| **count).map(|(owner, count)| (*owner, *count));
        let (Some((most, high)), Some((fewest, low))) = (most, fewest) else { return };
        let movable = moves.iter_mut().find(|one| one.to == *most && one.from != *fewest);
        let Some(one) = movable.filter(|_| high > low + 1) else { return };
        one.to.clone_from(fewest);
        gets.insert(most, high - 1);
        gets.insert(fewest, low + 1);
    }
}

/// The name of a move: the first that is free.
pub(super) fn name(a_move: &Move, taken: &BTreeSet<String>) -> String {
    let mut n = 1u32;
    loop {
        let name = format!("m-{}-e{}-{n}", a_move.shard, a_move.epoch);
        if !taken.contains(&name) {
            return name;
        }
        n += 1;
    }
}

impl Held {
    fn to(&self, from: &str, to: &str) -> Move {
        let (from, to) = (from.to_owned(), to.to_owned());
        Move { shard: self.shard, from, to, epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owners(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("owner-{n}")).collect()
    }

    fn range(first: u32, last: u32, owner: Option<&str>, epoch: u32) -> MapRange {
        let owner = owner.map(str::to_owned);
        MapRange { first, last, owner, epoch, phase: "Serving".to_owned() }
    }

    fn map() -> Vec<Held> {
        held(&[
            range(32, 63, Some("owner-1"), 4),
            range(0, 21, Some("owner-0"), 3),
            range(22, 31, Some("owner-2"), 5),
        ])
    }

    #[test]
    fn one_shard_moves_from_where_it_is() {
        let wish = Wish::One { shard: 40, to: "owner-0".to_owned() };
        let (moves, _) = plan(&map(), &owners(3), &wish).unwrap();
        let (from, to) = ("owner-1".to_owned(), "owner-0".to_owned());
        assert_eq!(moves, [Move { shard: 40, from, to, epoch: 4 }]);
    }

    #[test]
    fn refusals_say_why() {
        let refused = |wish: Wish| plan(&map(), &owners(3), &wish).unwrap_err();
        let one = |shard, to: &str| refused(Wish::One { shard, to: to.to_owned() });
        assert!(one(64, "owner-0").contains("0 to 63"));
        assert!(one(0, "owner-0").contains("already"));
        assert!(one(0, "owner-9").contains("owner-0, owner-1, owner-2"));
        assert!(refused(Wish::All { to: Some("x".to_owned()) }).contains("no owner"));
        let alone = held(&[range(0, 3, Some("owner-0"), 1)]);
        let error = plan(&alone, &owners(1), &Wish::All { to: None }).unwrap_err();
        assert!(error.contains("one owner only"));
        let unserved = held(&[range(0, 3, None, 1)]);
        assert!(plan(&unserved, &owners(2), &Wish::All { to: None }).is_err());
    }

    #[test]
    fn every_shard_moves_once_to_another_owner_and_the_owners_stay_even() {
        let (moves, notes) = plan(&map(), &owners(3), &Wish::All { to: None }).unwrap();
        assert!(notes.is_empty());
        let shards: BTreeSet<u32> = moves.iter().map(|a| a.shard).collect();
        assert_eq!((moves.len(), shards.len()), (64, 64));
        assert!(moves.iter().all(|a| a.from != a.to));
        for owner in owners(3) {
            let gets = moves.iter().filter(|a| a.to == owner).count();
            assert!((21..=22).contains(&gets), "{owner} {gets}");
        }
    }

    #[test]
    fn a_move_that_ended_is_known_before_the_map_says_so() {
        let moved = |shard: u32, epoch: u32, region: &str, result: &str| {
            let object = json!({
                "apiVersion": "iris.dev/v1alpha1", "kind": "IrisShardMigration",
                "metadata": {"name": format!("m-{shard}-{epoch}-{result}"), "namespace": "iris"},
                "spec": {
                    "clusterRef": {"name": "chat"}, "shard": shard,
                    "source": {"region": region, "owner": "owner-1", "epoch": epoch - 1},
                    "target": {"region": region, "owner": "owner-2"},
                },
                "status": {"journalSeq": 5, "result": result, "committedEpoch": epoch},
            });
            serde_json::from_value::<IrisShardMigration>(object).unwrap()
        };
        let moves = [
            moved(40, 5, "eu", "Succeeded"),
            moved(41, 5, "us", "Succeeded"),
            moved(42, 5, "eu", "Reversed"),
            moved(43, 3, "eu", "Succeeded"),
        ];
        let held = after(map(), &moves, "eu");
        let of = |shard: u32| {
            let held = held.iter().find(|held| held.shard == shard).unwrap();
            (held.owner.clone().unwrap(), held.epoch)
        };
        assert_eq!(of(40), ("owner-2".to_owned(), 5));
        for unchanged in 41..44 {
            assert_eq!(of(unchanged), ("owner-1".to_owned(), 4), "{unchanged}");
        }
    }

    #[test]
    fn everything_to_one_owner_leaves_out_what_it_has() {
        let wish = Wish::All { to: Some("owner-1".to_owned()) };
        let (moves, notes) = plan(&map(), &owners(3), &wish).unwrap();
        assert_eq!(moves.len(), 32);
        assert_eq!(notes, ["owner-1 keeps what it serves"]);
    }

    #[test]
    fn a_second_move_from_one_epoch_has_a_name_of_its_own() {
        let a_move = Move { shard: 7, from: "a".to_owned(), to: "b".to_owned(), epoch: 3 };
        let mut taken = BTreeSet::new();
        assert_eq!(name(&a_move, &taken), "m-7-e3-1");
        taken.insert("m-7-e3-1".to_owned());
        assert_eq!(name(&a_move, &taken), "m-7-e3-2");
    }
}
