//! A keyspace whose quorums cannot be met, as two of its three replicas do not exist: whatever does
//! not ask for a quorum is seen, for it succeeds.

use iris_core::block::ChainHash;
use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::id::{AccountId, GroupId, LaneId, LaneNo, SessionId, ShardId, TenantId};
use iris_core::message::Address;
use iris_core::seq::{BlockSeq, ConvSeq, Epoch, HomeGen, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{Fetch, Flush, LogFetch};
use iris_core::takeover::EpochRow;
use iris_proto::stored_rows::PeerNumbers;
use iris_store::cassandra::{AckPolicy, CassandraConfig, CassandraStore};
use iris_store::{Checkpoint, HandleKey, HandleRecord, LogRow, ShardRef, Store, StoreError};
use iris_testing::Cassandra;

use crate::raw;

#[tokio::test]
async fn nothing_is_answered_without_a_quorum() {
    let node = Cassandra::shared().await.unwrap();
    node.store("quorum").await.unwrap();
    let policies = [AckPolicy::HomeRegion, AckPolicy::MajorityOfRegions, AckPolicy::AllRegions];
    let mut stores = Vec::new();
    for ack_policy in policies {
        let config = CassandraConfig { ack_policy, ..node.config("quorum") };
        stores.push((ack_policy, CassandraStore::connect(&config).await.unwrap()));
    }
    // Each policy works while its quorums can be met.
    for (policy, store) in &stores {
        for (name, answer) in everything(store).await {
            assert!(answer.is_ok(), "{policy:?}, {name}: {answer:?}");
        }
    }
    let session = raw::session(node).await;
    raw::run(
        &session,
        "ALTER KEYSPACE quorum WITH replication = \
         {'class': 'NetworkTopologyStrategy', 'datacenter1': '3'}",
    )
    .await;
    for (policy, store) in &stores {
        for (name, answer) in everything(store).await {
            // Refused before anything was done; a flush does not say so of all of its rows.
            let expected = match name {
                "materialize" => matches!(answer, Err(StoreError::Unknown(_))),
                // Paxos counts the replicas that there are; a real cluster tests these.
                "epoch_head" | "heads" | "epochs_from" | "claim" | "release" | "seal"
                | "sealed" | "claim_handle" | "handle" => answer.is_ok(),
                _ => matches!(answer, Err(StoreError::Unavailable(_))),
            };
            assert!(expected, "{policy:?}, {name}: {answer:?}");
        }
    }
}

/// Every operation with what it answers.
async fn everything(store: &dyn Store) -> Vec<(&'static str, Result<(), StoreError>)> {
    let mut answers = Vec::new();
    let mut add = |name, answer: Result<(), StoreError>| answers.push((name, answer));
    let session = SessionId::from_random(uuid::Uuid::new_v4().into_bytes());
    let lane = LaneId { session, lane: LaneNo(0) };
    let block = LogRow { seq: BlockSeq(0), prev: ChainHash::START, block: vec![1].into() };
    add("open_session", store.open_session(session, 2).await);
    add("lanes", store.lanes(session).await.map(drop));
    add("open_chunk", store.open_chunk(lane, 0).await);
    add("append", store.append(lane, &block).await);
    add("tail", store.tail(lane, 3).await.map(drop));
    add("read", store.read(lane, BlockSeq(0), BlockSeq(9), 3).await.map(drop));
    add("fence", store.fence(session, session).await);
    add("fenced", store.fenced(session).await.map(drop));

    let shard = ShardRef { shard: ShardId::new(3), home_gen: HomeGen(0) };
    let row = EpochRow {
        epoch: Epoch(1),
        session,
        lane: LaneNo(0),
        first_block: BlockSeq(0),
        released_block: None,
    };
    add("epoch_head", store.epoch_head(shard).await.map(drop));
    add("head_to_follow", store.head_to_follow(shard).await.map(drop));
    add("heads", store.heads(&[shard]).await.map(drop));
    add("epochs_from", store.epochs_from(shard, Epoch(1)).await.map(drop));
    add("claim", store.claim(shard, row).await.map(drop));
    add("release", store.release(shard, Epoch(1), BlockSeq(1)).await.map(drop));
    add("seal", store.seal(lane, BlockSeq(1)).await.map(drop));
    add("sealed", store.sealed(lane).await.map(drop));

    let account = AccountId::from_bytes(&[7; 16]).unwrap();
    let flush = Flush::empty(
        ShardSeq(2),
        ShardSeq(1),
        Hlc(1),
        LogicalTimestamp::new(HomeGen(0), Epoch(1), ShardSeq(1)),
    );
    let checkpoint =
        Checkpoint { epoch: Epoch(1), pos: ShardSeq(1), block: BlockSeq(1), clock: Hlc(1) };
    add("materialize", store.materialize(shard, &flush, checkpoint).await.map(drop));
    add("account", store.account(account).await.map(drop));
    add("inbox", store.inbox(account, InboxSeq(0), InboxSeq(9), 9).await.map(drop));
    let fetch = Fetch { conversation: Address::Account(account), before: None, limit: 9 };
    add("history", store.history(account, fetch).await.map(drop));
    add("marks", store.marks(account, 0, None).await.map(drop));
    let group = GroupId::from_bytes(&[7; 16]).unwrap();
    add("group", store.group(group).await.map(drop));
    add("roster", store.roster(group, None).await.map(drop));
    let fetch = LogFetch { group, after: ConvSeq(0), upto: None, limit: 9 };
    add("group_log", store.group_log(fetch).await.map(drop));
    let (out_next, none) = (OutboxSeq(9), OutboxSeq(0));
    let open = PeerNumbers { out_next, out_confirmed: none, in_next: none, pos: ShardSeq(0) };
    add("peers", store.peers(shard.shard).await.map(drop));
    add("outbox", store.outbox(shard.shard, &[(ShardId::new(1), open)]).await.map(drop));
    add("checkpoint", store.checkpoint(shard.shard).await.map(drop));

    let key = HandleKey { tenant: TenantId::default(), handle: "anna".to_owned() };
    let record = HandleRecord { account, password: String::new(), created_at_ms: 1 };
    add("claim_handle", store.claim_handle(&key, &record).await.map(drop));
    add("handle", store.handle(&key).await.map(drop));
    answers
}
