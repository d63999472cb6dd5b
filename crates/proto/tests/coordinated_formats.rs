//! What etcd keeps: the bytes of released versions stay readable, and this version reads what a later one
//! may write. All of it is made again from Cassandra where it is lost.

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

#[path = "stored_formats/wire.rs"]
mod wire;

use bytes::Bytes;
use iris_proto::control::MovePhase;
use iris_proto::coordinated::{Assignment, Leader, Move, Placement, Session, ShardRange};
use prost::Message;

fn session() -> Session {
    Session {
        session: vec![7; 16].into(),
        pod: "eu-owner-0".to_owned(),
        pod_uid: "0b1c".to_owned(),
        node: "n1".to_owned(),
        zone: "a".to_owned(),
        address: "10.0.0.7:7443".to_owned(),
        lanes: 2,
        version: "0.1.0".to_owned(),
        started_at_ms: 1_900_000_000_000,
    }
}

fn assignment() -> Assignment {
    Assignment {
        revision: 3,
        shards: vec![ShardRange { first: 0, last: 7 }, ShardRange { first: 9, last: 9 }],
        fence: vec![vec![8; 16].into()],
        leader_term: 5,
    }
}

fn one_move() -> Move {
    Move {
        move_id: "m-17-e4-1".to_owned(),
        shard: 17,
        epoch: 4,
        source_session: vec![7; 16].into(),
        target_session: vec![8; 16].into(),
        source_pod: "eu-owner-0".to_owned(),
        target_pod: "eu-owner-1".to_owned(),
        phase: MovePhase::Aborted.into(),
        committed_epoch: 5,
        released_block: 1000,
        fence_ms: 12,
        refused: 1,
        reason: "Aborted".to_owned(),
        message: "the source serves on".to_owned(),
        attempts: 2,
        operator_term: 9,
        max_fence_ms: 2000,
        ended_at_ms: 1_900_000_000_000,
    }
}

fn leader() -> Leader {
    Leader { pod: "eu-controlplane-0".to_owned(), address: "10.0.0.9:7444".to_owned(), term: 5 }
}

fn placement() -> Placement {
    Placement { generation: 2, value: Bytes::from_static(b"\x08\x02") }
}

/// Holds one format to its golden bytes, and to what a later version may add at `places`.
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(
    name: &str,
    value: &M,
    places: &[&[u32]],
) {
    let written: Bytes = value.encode_to_vec().into();
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if !std::fs::exists(&path).unwrap() && std::env::var_os("IRIS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let golden: Bytes = std::fs::read(&path).unwrap().into();
    assert_eq!(written, golden, "{name}");
    assert_eq!(M::decode(golden.clone()).unwrap(), *value, "{name}");
    for place in places {
        let later = wire::with_unknown(&golden, place);
        assert_eq!(M::decode(later).unwrap(), *value, "{name}, {place:?}");
    }
}

#[test]
fn golden_bytes_stay_readable_also_with_more_in_them() {
    check("session.v1.bin", &session(), &[&[]]);
    check("assignment.v1.bin", &assignment(), &[&[], &[2]]);
    check("move.v1.bin", &one_move(), &[&[]]);
    check("leader.v1.bin", &leader(), &[&[]]);
    check("placement.v1.bin", &placement(), &[&[]]);
}

/// A leader takes such a move for one that has not ended, and looks into the database how it stands.
#[test]
fn a_phase_of_a_later_version_is_no_known_one_and_is_kept() {
    let later = wire::with_number(&one_move().encode_to_vec(), &[], 8, 99);
    let read = Move::decode(later.clone()).unwrap();
    assert!(MovePhase::try_from(read.phase).is_err());
    assert_eq!(Bytes::from(read.encode_to_vec()), later);
}
