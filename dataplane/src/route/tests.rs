use iris_proto::control::{Route, RouteSession, RouteUpdate};

use super::*;

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

fn update(full: bool, routes: &[(u32, u32, u8)]) -> RouteUpdate {
    let of = |n: u8| RouteSession {
        session: session(n).to_bytes().to_vec().into(),
        address: format!("owner-{n}:7443"),
        pod: format!("owner-{n}"),
        lanes: 2,
    };
    RouteUpdate {
        full,
        shard_count: 16,
        sessions: vec![of(1), of(2)],
        routes: routes
            .iter()
            .map(|(shard, epoch, n)| Route {
                shard: *shard,
                epoch: *epoch,
                session: session(*n).to_bytes().to_vec().into(),
            })
            .collect(),
    }
}

#[test]
fn the_latest_epoch_wins_whoever_says_it() {
    let routes = Routes::new(ShardCount::new(16).unwrap());
    let shard = ShardId::new(3);
    assert_eq!(routes.find(shard), None);
    routes.apply(update(true, &[(3, 5, 1)]));
    let found = routes.find(shard).unwrap();
    assert_eq!((found.address.as_str(), found.lane), ("owner-1:7443", LaneNo(1)));
    // An owner says where the shard went before the control plane does.
    routes.learn(shard, Epoch(6), Some(session(2)));
    assert_eq!(routes.find(shard).unwrap().session, session(2));
    routes.apply(update(true, &[(3, 5, 1)]));
    assert_eq!(routes.find(shard).unwrap().session, session(2), "the older word changes nothing");
    routes.learn(shard, Epoch(6), None);
    assert_eq!(routes.find(shard), None, "nobody serves it for the moment");
}

#[test]
fn nonsense_is_ignored_and_watchers_are_woken() {
    let routes = Routes::new(ShardCount::new(16).unwrap());
    let version = routes.version();
    routes.apply(update(false, &[(99, 5, 1)]));
    assert!(version.has_changed().unwrap());
    assert!(!routes.is_complete());
    assert!(ShardCount::new(16).unwrap().shards().all(|shard| routes.find(shard).is_none()));
}
