//! Moves of shards, from an object to its receipt.

use std::time::Duration;

use iris_crds::conditions::{State, holds};
use iris_crds::migration::{ResultName, StepName};
use iris_crds::{IrisShardMap, IrisShardMigration};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::control_plane::{Mood, OWNERS};
use crate::operator::World;
use crate::server::eventually;

fn migration(shard: u32, epoch: u32, n: u32, more: Value) -> IrisShardMigration {
    let at = usize::try_from(shard).unwrap();
    let mut spec = json!({
        "clusterRef": {"name": "chat"},
        "shard": shard,
        "source": {"region": "eu", "owner": OWNERS[at % 3], "epoch": epoch},
        "target": {"region": "eu", "owner": OWNERS[(at + 1) % 3]},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let object = json!({
        "apiVersion": "iris.dev/v1alpha1",
        "kind": "IrisShardMigration",
        "metadata": {"name": format!("m-{shard}-e{epoch}-{n}")},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

async fn order(world: &World, wanted: &IrisShardMigration) -> String {
    world.api().create(&PostParams::default(), wanted).await.unwrap().name_any()
}

async fn ended(world: &World, name: &str) -> IrisShardMigration {
    world
        .until(name, "it has ended", |found: &IrisShardMigration| {
            found.status.as_ref().is_some_and(|status| status.result.is_some())
        })
        .await
}

fn result(found: &IrisShardMigration) -> Option<ResultName> {
    found.status.as_ref()?.result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_of_moves_is_over_in_seconds_and_each_is_ordered_once() {
    let world = World::with_quickstart("wave").await;
    world.condition::<IrisShardMap>("eu", "Covered", State::True, &["64"]).await;
    let begun = tokio::time::Instant::now();
    for shard in 0..64 {
        order(&world, &migration(shard, 1, 1, json!({}))).await;
    }
    for shard in 0..64 {
        let found = ended(&world, &format!("m-{shard}-e1-1")).await;
        let status = found.status.unwrap();
        assert_eq!(status.result, Some(ResultName::Succeeded), "{status:?}");
        assert_eq!((status.committed_epoch, status.fence.unwrap().millis), (Some(2), 12));
        assert_eq!(status.plan.unwrap().accounts, 7);
        assert!(holds(&status.conditions, "Succeeded") && holds(&status.conditions, "Verified"));
        let steps: Vec<_> = status.history.iter().map(|transition| transition.step).collect();
        let whole =
            [StepName::Planned, StepName::Preparing, StepName::Verifying, StepName::Succeeded];
        assert_eq!(steps, whole);
        assert_eq!(status.journal_seq, Some(4));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "64 moves took {took:?}");
    println!("64 moves took {took:?}");
    {
        let state = world.control.state.lock();
        assert!(state.orders.values().all(|times| *times == 1), "{:?}", state.orders);
        let most = state.underway.1;
        assert!((2..=12).contains(&most), "{most} at once");
    }
    // Nothing is held any more, and the map says where they are now.
    let one: IrisShardMigration = eventually("it is let go", Duration::from_secs(5), async || {
        let found = world.api::<IrisShardMigration>().get("m-63-e1-1").await.unwrap();
        found.finalizers().is_empty().then_some(found)
    })
    .await;
    assert_eq!(one.spec.shard, 63);
    let map = world
        .until("eu", "the map has the new owners", |map: &IrisShardMap| {
            let ranges =
                map.status.as_ref().map(|status| status.ranges.clone()).unwrap_or_default();
            ranges.len() == 64 && ranges.iter().all(|range| range.epoch == 2)
        })
        .await;
    assert_eq!(map.status.unwrap().ranges[0].owner.as_deref(), Some("eu-owner-1"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_ends_as_people_want() {
    let world = World::with_quickstart("wishes").await;
    world.control.mood(Mood::Stuck);
    // Called off.
    let name = order(&world, &migration(1, 1, 1, json!({}))).await;
    let preparing = |found: &IrisShardMigration| {
        found.status.as_ref().is_some_and(|status| status.step == Some(StepName::Preparing))
    };
    let held = world.until(&name, "it is ordered", preparing).await;
    assert_eq!(held.finalizers(), ["iris.dev/move-ordered"]);
    let abort = json!({"spec": {"outcome": "Abort"}});
    world.patch::<IrisShardMigration>(&name, abort).await.unwrap();
    let found = ended(&world, &name).await;
    assert_eq!(result(&found), Some(ResultName::Aborted));
    // Deleted: called off first, and gone then.
    let name = order(&world, &migration(2, 1, 1, json!({}))).await;
    world.until(&name, "it is ordered", preparing).await;
    let api = world.api::<IrisShardMigration>();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    eventually("it is gone", Duration::from_secs(20), async || {
        api.get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(world.control.state.lock().moves[&name].reason, "Aborted");
    world.control.mood(Mood::Swift);
    // Of an owner that it is not with.
    let mut wrong = migration(3, 1, 1, json!({}));
    wrong.metadata.name = Some("m-3-e9-1".to_owned());
    wrong.spec.source.epoch = 9;
    let found = ended(&world, &order(&world, &wrong).await).await;
    assert_eq!(result(&found), Some(ResultName::Failed));
    let last = found.status.unwrap().history.pop().unwrap();
    assert_eq!(last.reason, "SourceMoved");
    assert!(last.message.contains("at epoch 1 now, not at 9"), "{}", last.message);
    assert!(!world.control.state.lock().orders.contains_key("m-3-e9-1"), "it was never ordered");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_waits_for_people_and_for_the_control_plane() {
    let world = World::with_quickstart("waits").await;
    // Exactly the plan that was approved runs.
    let name = order(&world, &migration(4, 1, 1, json!({"approval": {"mode": "Manual"}}))).await;
    let waiting = world
        .condition::<IrisShardMigration>(
            &name,
            "Approved",
            State::False,
            &["AwaitingApproval", "b3:"],
        )
        .await;
    let found = world.api::<IrisShardMigration>().get(&name).await.unwrap();
    let hash = found.status.unwrap().plan.unwrap().hash;
    assert!(waiting.message.contains(&hash));
    let other = format!("b3:{}", "0".repeat(64));
    let approve = |hash: &str| json!({"spec": {"approval": {"planHash": hash}}});
    world.patch::<IrisShardMigration>(&name, approve(&other)).await.unwrap();
    world
        .condition::<IrisShardMigration>(&name, "Stalled", State::True, &["OtherPlanApproved"])
        .await;
    assert!(!world.control.state.lock().orders.contains_key(&name));
    world.patch::<IrisShardMigration>(&name, approve(&hash)).await.unwrap();
    assert_eq!(result(&ended(&world, &name).await), Some(ResultName::Succeeded));

    // It can be reversed while it soaks, and not aborted any more.
    let name = order(&world, &migration(5, 1, 1, json!({"soak": {"seconds": 600}}))).await;
    world.condition::<IrisShardMigration>(&name, "Reversible", State::True, &["Reverse"]).await;
    let refused = world
        .patch::<IrisShardMigration>(&name, json!({"spec": {"outcome": "Abort"}}))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("outcome Reverse moves it back"), "{refused}");
    let reverse = json!({"spec": {"outcome": "Reverse"}});
    world.patch::<IrisShardMigration>(&name, reverse).await.unwrap();
    assert_eq!(result(&ended(&world, &name).await), Some(ResultName::Reversed));
    let shard = world.control.state.lock().shards[&5].clone();
    assert_eq!((shard.owner.as_str(), shard.epoch), (OWNERS[2], 3));

    // Silence is not taken for an answer, and said.
    world.control.mood(Mood::Silent);
    let name = order(&world, &migration(6, 1, 1, json!({}))).await;
    let words = ["ControlPlaneSilent", "nobody leads"];
    world.condition::<IrisShardMigration>(&name, "Reconciling", State::True, &words).await;
    world.condition::<IrisShardMap>("eu", "Covered", State::Unknown, &["nobody leads"]).await;
    world.control.mood(Mood::Swift);
    assert_eq!(result(&ended(&world, &name).await), Some(ResultName::Succeeded));
    world.condition::<IrisShardMap>("eu", "Covered", State::True, &["64"]).await;

    // What the journal says is never turned back, whoever writes.
    let back = json!({"journalSeq": 1, "result": "Failed"});
    let patch = kube::api::Patch::Merge(json!({"status": back}));
    let params = kube::api::PatchParams::default();
    let api = world.api::<IrisShardMigration>();
    let refused = api.patch_status(&name, &params, &patch).await.unwrap_err().to_string();
    assert!(refused.contains("journalSeq never goes back"), "{refused}");
    world.end().await;
}
