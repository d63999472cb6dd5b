use iris_crds::conditions::{self, State};
use iris_crds::shard_map::Pin as Wish;
use iris_crds::{IrisShardMapStatus, common::Time};
use iris_proto::control::{OwnerState, SessionInfo, ShardPhase, ShardState};
use serde_json::json;

use super::proposals::proposals;
use super::*;
use crate::cluster::tests::cluster;
use crate::region::tests::region;

fn map(spec: serde_json::Value) -> IrisShardMap {
    let mut object = json!({
        "apiVersion": "iris.dev/v1alpha1",
        "kind": "IrisShardMap",
        "metadata": {"name": "eu", "namespace": "iris", "uid": "u", "generation": 3},
        "spec": {"regionRef": {"name": "eu"}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn owner(n: u32, cordoned: bool) -> OwnerState {
    let info = SessionInfo { pod: format!("eu-owner-{n}"), cordoned, ..SessionInfo::default() };
    OwnerState { info: Some(info), ..OwnerState::default() }
}

/// Shards in turn with the first `serving` of three owners.
fn state(shards: u32, serving: u32) -> RegionState {
    let shard = |shard: u32| ShardState {
        shard,
        epoch: 1 + shard,
        pod: format!("eu-owner-{}", shard % serving),
        phase: ShardPhase::Serving.into(),
        ..ShardState::default()
    };
    RegionState {
        shard_count: shards,
        owners: (0..3).map(|n| owner(n, false)).collect(),
        shards: (0..shards).map(shard).collect(),
        ..RegionState::default()
    }
}

fn judged(map: &IrisShardMap, state: Result<RegionState, String>) -> (IrisShardMapStatus, bool) {
    let seen = Seen { state: state.map(Arc::new), placed: Ok(()) };
    report::report(&cluster(), map, &seen, Time::from_unix(1000))
}

fn covered(status: &IrisShardMapStatus) -> (State, String, String) {
    let found = conditions::find(&status.conditions, "Covered").unwrap();
    (found.status, found.reason.clone(), found.message.clone())
}

#[test]
fn a_map_is_covered_when_every_shard_is_served_once() {
    let map = map(json!({}));
    let (status, settled) = judged(&map, Ok(state(64, 3)));
    assert!(settled);
    assert_eq!(covered(&status).0, State::True);
    assert_eq!(status.summary.as_deref(), Some("64/64"));
    assert_eq!(status.placed_generation, Some(3));

    let mut holes = state(64, 3);
    for shard in [4, 5, 6, 40] {
        holes.shards[shard].phase = ShardPhase::Takeover.into();
    }
    holes.shards[5].trouble = "no quorum".to_owned();
    let (status, settled) = judged(&map, Ok(holes));
    assert!(!settled);
    let (state_of, reason, message) = covered(&status);
    assert_eq!((state_of, reason.as_str()), (State::False, "ShardsUnserved"));
    assert!(message.contains("4 shards are not served: 4-6,40; shard 5: no quorum"), "{message}");

    for broken in [0, 63] {
        let mut missing = state(64, 3);
        missing.shards.remove(broken);
        let (status, _) = judged(&map, Ok(missing));
        assert_eq!((covered(&status).0, covered(&status).1.as_str()), (State::False, "MapBroken"));
    }
    let mut twice = state(64, 3);
    twice.shards.push(twice.shards[8].clone());
    assert_eq!(covered(&judged(&map, Ok(twice)).0).1, "MapBroken");
}

#[test]
fn silence_is_not_coverage_and_what_was_known_stays() {
    let mut map = map(json!({}));
    map.status = Some(judged(&map, Ok(state(64, 3))).0);
    let (status, settled) = judged(&map, Err("nobody leads".to_owned()));
    assert!(!settled);
    assert_eq!(covered(&status).0, State::Unknown);
    assert!(covered(&status).2.contains("nobody leads"));
    assert_eq!(status.summary.as_deref(), Some("?/64"));
    assert_eq!(status.owners.len(), 3);
    // And a look that finds nothing new writes nothing.
    let again = judged(&map, Ok(state(64, 3))).0;
    assert_eq!(Some(&again), map.status.as_ref());
}

#[test]
fn neighbours_of_one_owner_and_epoch_are_one_range() {
    let mut same = state(6, 3);
    for shard in &mut same.shards {
        (shard.pod, shard.epoch) = ("eu-owner-0".to_owned(), 2);
    }
    same.shards[3].epoch = 5;
    let (status, _) = judged(&map(json!({})), Ok(same));
    let ranges: Vec<_> = status.ranges.iter().map(|r| (r.first, r.last, r.epoch)).collect();
    assert_eq!(ranges, [(0, 2, 2), (3, 3, 5), (4, 5, 2)]);
    let (large, _) = judged(&map(json!({})), Ok(state(4096, 3)));
    assert_eq!((large.ranges.len(), large.truncated), (1024, true));
    assert_eq!(large.owners.iter().map(|owner| owner.count).sum::<u32>(), 4096);
}

#[test]
fn proposals_even_out_keep_to_pins_and_leave_the_cordoned_alone() {
    let uneven = state(64, 2);
    let found = proposals(&uneven, &[]);
    assert!(found.iter().all(|one| one.to == "eu-owner-2" && one.epoch == one.shard + 1));
    assert!((20..=22).contains(&found.len()), "{}", found.len());
    let pins = [Wish { first: 0, last: 63, owner: "eu-owner-0".to_owned() }];
    let pinned = proposals(&uneven, &pins);
    assert!(pinned.iter().all(|one| one.to == "eu-owner-0") && pinned.len() == 32);
    let mut cordoned = state(64, 2);
    cordoned.owners[2] = owner(2, true);
    assert!(proposals(&cordoned, &[]).is_empty());
    let mut unserved = state(64, 2);
    unserved.shards[0].pod.clear();
    assert!(proposals(&unserved, &[]).is_empty(), "failover comes first");
    let off = map(json!({"rebalance": {"mode": "Off"}}));
    assert_eq!(judged(&off, Ok(state(64, 2))).0.proposed, None);
    let auto = judged(&map(json!({"rebalance": {"mode": "Auto"}})), Ok(state(64, 2))).0;
    assert!(conditions::find(&auto.conditions, "RebalanceServed").is_some());
    assert!(auto.imbalance_percent.unwrap() > 40);
}

#[test]
fn pins_that_make_no_sense_are_refused_as_a_whole() {
    let with = |pins: serde_json::Value| {
        let map = map(json!({"placement": {"pins": pins, "cordoned": ["eu-owner-2"]}}));
        placement(&cluster(), &region(), Some(&map))
    };
    let pin = |first: u32, last: u32| json!({"first": first, "last": last, "owner": "eu-owner-0"});
    let good = with(json!([pin(10, 20), pin(0, 9)])).unwrap();
    assert_eq!((good.pins.len(), good.generation, good.expected_owners), (2, 3, 3));
    assert_eq!(good.cordoned_pods, ["eu-owner-2"]);
    for (bad, words) in [(json!([pin(0, 64)]), "0-63"), (json!([pin(0, 9), pin(9, 12)]), "twice")] {
        let error = with(bad).unwrap_err();
        assert_eq!(error.category(), "InvalidPlacement");
        assert!(error.to_string().contains(words), "{error}");
    }
    let none = placement(&cluster(), &region(), None).unwrap();
    assert!(none.pins.is_empty() && none.expected_owners == 3);
}
