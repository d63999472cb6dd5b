//! What an operator asks of a region's control plane.

use std::time::Duration;

use anyhow::Context as _;
use iris_proto::control::region_client::RegionClient;
use iris_proto::control::{
    DescribeRequest, ExecuteMoveRequest, MovePhase, MoveState, RegionState, ShardPhase, ShardState,
};
use iris_runtime::rpc;
use iris_runtime::tls::{Identity, Role};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

/// Somebody who asks the control plane as the operator does.
#[derive(Debug, Clone)]
pub struct Operator {
    identity: Identity,
    /// The replicas' pods and addresses.
    replicas: Vec<(String, String)>,
}

/// Anything that takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// A move may keep its source from taking sends for so long.
const FENCE_MS_MAX: u32 = 5_000;

impl Operator {
    /// With a certificate of the operator's; of a control plane with these replicas, by pod and address.
    pub fn new(identity: Identity, replicas: Vec<(String, String)>) -> Self {
        Self { identity, replicas }
    }

    /// The leader's view of the region.
    pub async fn describe(&self) -> anyhow::Result<RegionState> {
        for (_, address) in &self.replicas {
            if let Ok(mut client) = self.ask(address).await
                && let Ok(state) = client.describe(DescribeRequest {}).await
            {
                return Ok(state.into_inner());
            }
        }
        anyhow::bail!("nobody leads")
    }

    /// Moves a shard to a pod; tries again while it is not where it seemed, as an operator would.
    pub async fn move_shard(&self, shard: u32, target: &str) -> anyhow::Result<MoveState> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.try_move(shard, target).await;
            match state {
                Ok(state) if state.phase == i32::from(MovePhase::Committed) => return Ok(state),
                state => {
                    anyhow::ensure!(Instant::now() < deadline, "shard {shard}: {state:?}");
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Orders one move of a shard from where it is.
    pub async fn try_move(&self, shard: u32, target: &str) -> anyhow::Result<MoveState> {
        let found = self.describe().await?;
        let state = found.shards.get(usize::try_from(shard)?).context("no such shard")?;
        anyhow::ensure!(state.phase == i32::from(ShardPhase::Serving), "not served: {state:?}");
        anyhow::ensure!(state.pod != target, "it is there already");
        let order = ExecuteMoveRequest {
            move_id: format!("test-{shard}-{}-{target}", state.epoch),
            shard,
            epoch: state.epoch,
            source_pod: state.pod.clone(),
            target_pod: target.to_owned(),
            max_fence_ms: FENCE_MS_MAX,
            operator_term: 1,
        };
        let leader = self.replicas.iter().find(|(pod, _)| *pod == found.leader);
        let (_, address) = leader.context("the leader is a stranger")?;
        Ok(self.ask(address).await?.execute_move(order).await?.into_inner())
    }

    /// Waits until every shard is served.
    pub async fn all_served(&self) -> anyhow::Result<RegionState> {
        self.served_without("").await
    }

    /// Waits until every shard is served, none of them by a pod.
    pub async fn served_without(&self, pod: &str) -> anyhow::Result<RegionState> {
        let served =
            |shard: &ShardState| shard.phase == i32::from(ShardPhase::Serving) && shard.pod != pod;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.describe().await;
            if let Ok(state) = &state
                && state.shards.iter().all(served)
            {
                return Ok(state.clone());
            }
            anyhow::ensure!(Instant::now() < deadline, "not every shard is served: {state:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, address: &str) -> anyhow::Result<RegionClient<Channel>> {
        let channel = rpc::connect(&self.identity, Role::ControlPlane, address).await?;
        Ok(RegionClient::new(channel))
    }
}
