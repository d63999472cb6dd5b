use iris_proto::control::{SessionInfo, ShardState};

use super::*;

const PODS: [&str; 3] = ["eu-owner-0", "eu-owner-1", "eu-owner-2"];

/// Owners of which the first `done` have restarted, and everything is whole.
fn seen(done: usize) -> Seen {
    let pod = |(n, name): (usize, &&str)| {
        let (uid, updated) = (format!("u-{n}"), n < done);
        ((*name).to_owned(), OwnerPod { uid, updated, ready: true, leaving: false })
    };
    let owner = |(n, name): (usize, &&str)| OwnerState {
        info: Some(SessionInfo {
            pod: (*name).to_owned(),
            pod_uid: format!("u-{n}"),
            ..SessionInfo::default()
        }),
        ..OwnerState::default()
    };
    let shard = |shard: u32| ShardState {
        shard,
        pod: PODS[usize::try_from(shard).unwrap() % 3].to_owned(),
        phase: ShardPhase::Serving.into(),
        ..ShardState::default()
    };
    let all = |wanted| Workload { wanted, running: wanted, ready: wanted, updated: wanted };
    Seen {
        control_plane: all(2),
        owners: all(3),
        troubles: Vec::new(),
        state: Ok(RegionState {
            shard_count: 8,
            owners: PODS.iter().enumerate().map(owner).collect(),
            shards: (0..8).map(shard).collect(),
            ..RegionState::default()
        }),
        pods: PODS.iter().enumerate().map(pod).collect(),
    }
}

fn next(n: usize) -> Turn {
    Turn::Next { pod: PODS[n].to_owned(), uid: format!("u-{n}") }
}

fn state(seen: &mut Seen) -> &mut RegionState {
    seen.state.as_mut().unwrap()
}

fn pod<'s>(seen: &'s mut Seen, name: &str) -> &'s mut OwnerPod {
    seen.pods.get_mut(name).unwrap()
}

#[test]
fn owners_take_their_turns_until_none_is_left() {
    for done in 0..3 {
        assert_eq!(turn(&seen(done)), next(done));
    }
    assert_eq!(turn(&seen(3)), Turn::Nobody);
    let nothing_to_do = Seen { pods: BTreeMap::new(), ..seen(0) };
    assert_eq!(turn(&nothing_to_do), Turn::Nobody);
    let words = next(1).words(&seen(1).pods).unwrap();
    assert_eq!(
        words,
        "1 of 3 owners have restarted with what changed; eu-owner-1 is emptied and restarts"
    );
}

/// Whatever is not whole holds the next one up, each thing for itself.
#[test]
fn nobody_restarts_while_anything_is_not_whole() {
    type Break = fn(&mut Seen);
    let breaks: [(&str, Break); 13] = [
        ("1 of 2 control planes are new", |seen| seen.control_plane.updated = 1),
        ("1 are ready", |seen| seen.control_plane.ready = 1),
        ("of 2 control planes", |seen| seen.control_plane.running = 3),
        ("eu-owner-0 is not ready", |seen| pod(seen, PODS[0]).ready = false),
        ("eu-owner-2 is not ready", |seen| pod(seen, PODS[2]).ready = false),
        ("eu-owner-0 is on its way out", |seen| pod(seen, PODS[0]).leaving = true),
        ("there are 2 of 3 owners", |seen| drop(seen.pods.remove(PODS[0]))),
        ("nobody says", |seen| seen.state = Err("no leader".to_owned())),
        ("not heard of eu-owner-0", |seen| {
            // What is known is the session of the pod before.
            pod(seen, PODS[0]).uid = "another".to_owned();
        }),
        ("not heard of eu-owner-2", |seen| state(seen).owners[2].silent_ms = 60_000),
        ("not heard of eu-owner-1", |seen| {
            let info = state(seen).owners[1].info.as_mut().unwrap();
            info.cordoned = true;
        }),
        ("7 of 8 shards", |seen| state(seen).shards[3].phase = ShardPhase::Moving.into()),
        ("7 of 8 shards", |seen| drop(state(seen).shards.pop())),
    ];
    for (why, broken) in breaks {
        let mut seen = seen(1);
        broken(&mut seen);
        match turn(&seen) {
            Turn::Waits(said) => assert!(said.contains(why), "{said}: {why}"),
            other => panic!("{why}: {other:?}"),
        }
    }
}

/// A template that does not run: the one restarted first stays broken, and the others stay.
#[test]
fn a_broken_owner_of_an_older_template_is_replaced_first_if_it_serves_nothing() {
    let mut broken = seen(0);
    pod(&mut broken, PODS[1]).ready = false;
    assert!(matches!(turn(&broken), Turn::Waits(_)), "it has shards still");
    for shard in &mut state(&mut broken).shards {
        shard.pod = PODS[0].to_owned();
    }
    assert_eq!(turn(&broken), next(1), "before the first one");
    pod(&mut broken, PODS[1]).updated = true;
    assert!(
        matches!(turn(&broken), Turn::Waits(_)),
        "the newest template is broken: nobody follows"
    );
    pod(&mut broken, PODS[1]).updated = false;
    broken.state = Err("no leader".to_owned());
    assert!(matches!(turn(&broken), Turn::Waits(_)), "nobody says that it serves nothing");
}

#[test]
fn the_last_one_on_its_way_holds_nobody_up() {
    let mut last = seen(3);
    pod(&mut last, PODS[2]).leaving = true;
    assert_eq!(turn(&last), Turn::Nobody);
}
