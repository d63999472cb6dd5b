//! Calls to the control planes of regions, in the operator's name and with its term.
//!
//! Never decides anything from a missing answer: an error says only that there was none, or what was
//! refused.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use iris_proto::control::region_client::RegionClient;
use iris_proto::control::{
    AbortMoveRequest, DescribeMoveRequest, DescribeRequest, ExecuteMoveRequest, MoveState,
    Placement, PlanMoveReply, PlanMoveRequest, RegionState,
};
use iris_runtime::rpc::{self, MESSAGE_BYTES_MAX};
use iris_runtime::tls::{Identity, Role};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::keyring::Keyring;
use crate::names;

/// A question has an answer after this long, or none.
const DEADLINE: Duration = Duration::from_secs(5);
/// An ordered move is waited for this long at most; it goes on by itself then.
const EXECUTE_DEADLINE: Duration = Duration::from_secs(3);
/// A region has a few control plane pods, and one of them knows the leader.
const TRIES_MAX: usize = 8;
/// In the metadata of a refusal by a pod that does not lead: who does.
const LEADER_KEY: &str = "iris-leader";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The operator has no certificate of the cluster yet.
    #[error("the operator has no certificate of cluster {0} yet")]
    NoIdentity(String),
    /// Nobody who leads could be reached.
    #[error("the control plane of region {region} does not answer: {why}")]
    Unreachable {
        /// Whose.
        region: String,
        /// What was tried last.
        why: String,
    },
    /// It answered no.
    #[error("the control plane of region {region} refused: {}", status.message())]
    Refused {
        /// Whose.
        region: String,
        /// How.
        status: Box<Status>,
    },
}

/// Where the control plane of a region is found.
pub trait Directory: Send + Sync + 'static {
    /// `host:port` of each of its pods.
    fn addresses(
        &self,
        namespace: &str,
        region: &str,
    ) -> BoxFuture<'static, io::Result<Vec<String>>>;
}

/// By the Service's name: one address for each pod.
#[derive(Debug, Clone, Copy)]
pub struct Dns;

impl Directory for Dns {
    fn addresses(
        &self,
        namespace: &str,
        region: &str,
    ) -> BoxFuture<'static, io::Result<Vec<String>>> {
        let name = names::control_plane_address(namespace, region);
        Box::pin(async move {
            let found = tokio::net::lookup_host(name).await?;
            Ok(found.map(|address| address.to_string()).collect())
        })
    }
}

/// A region, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegionName {
    /// The namespace of both.
    pub namespace: String,
    /// The cluster.
    pub cluster: String,
    /// The region.
    pub region: String,
}

/// Calls control planes.
#[derive(Clone)]
pub struct ControlPlanes {
    keyring: Keyring,
    directory: Arc<dyn Directory>,
    leaders: Arc<Mutex<HashMap<RegionName, (String, Channel)>>>,
    described: Arc<Mutex<HashMap<RegionName, Described>>>,
    term: u64,
}

/// A description, and when it was asked for. Whoever holds the lock asks for all who wait for it.
type Described = Arc<tokio::sync::Mutex<Option<(Instant, Arc<RegionState>)>>>;

/// Whether a call that had no answer in time is made to another pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    /// Yes: it only asks.
    AskAnother,
    /// No: it was heard, most likely, and goes on.
    GiveUp,
}

impl ControlPlanes {
    /// In the name of a leader with this term.
    pub fn new(keyring: Keyring, directory: Arc<dyn Directory>, term: u64) -> Self {
        Self { keyring, directory, leaders: Arc::default(), described: Arc::default(), term }
    }

    /// The region as its control plane saw it at `since` or later. Many who ask at once share one
    /// answer: a description of a large region is large.
    pub async fn describe_since(
        &self,
        region: &RegionName,
        since: Instant,
    ) -> Result<Arc<RegionState>, ControlError> {
        let slot = Arc::clone(self.described.lock().entry(region.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some((asked, state)) = &*slot
            && *asked >= since
        {
            return Ok(Arc::clone(state));
        }
        let asked = Instant::now();
        let state = Arc::new(self.describe(region).await?);
        *slot = Some((asked, Arc::clone(&state)));
        Ok(state)
    }

    /// The region as its control plane sees it.
    pub async fn describe(&self, region: &RegionName) -> Result<RegionState, ControlError> {
        let ask = |mut client: RegionClient<Channel>| async move {
            client.describe(timed(DescribeRequest {}, DEADLINE)).await
        };
        self.call(region, DEADLINE, Late::AskAnother, ask).await
    }

    /// What a move would do.
    pub async fn plan_move(
        &self,
        region: &RegionName,
        shard: u32,
        target: &str,
    ) -> Result<PlanMoveReply, ControlError> {
        let request = PlanMoveRequest { shard, target_pod: target.to_owned() };
        let ask = |mut client: RegionClient<Channel>| {
            let request = timed(request.clone(), DEADLINE);
            async move { client.plan_move(request).await }
        };
        self.call(region, DEADLINE, Late::AskAnother, ask).await
    }

    /// Orders a move. Whether it was heard is for [`Self::describe_move`] to say.
    pub async fn execute_move(
        &self,
        region: &RegionName,
        mut request: ExecuteMoveRequest,
    ) -> Result<MoveState, ControlError> {
        request.operator_term = self.term;
        let ask = |mut client: RegionClient<Channel>| {
            let request = timed(request.clone(), EXECUTE_DEADLINE);
            async move { client.execute_move(request).await }
        };
        self.call(region, EXECUTE_DEADLINE, Late::GiveUp, ask).await
    }

    /// Orders the end of a move.
    pub async fn abort_move(
        &self,
        region: &RegionName,
        move_id: &str,
        shard: u32,
    ) -> Result<MoveState, ControlError> {
        let request =
            AbortMoveRequest { move_id: move_id.to_owned(), shard, operator_term: self.term };
        let ask = |mut client: RegionClient<Channel>| {
            let request = timed(request.clone(), DEADLINE);
            async move { client.abort_move(request).await }
        };
        self.call(region, DEADLINE, Late::GiveUp, ask).await
    }

    /// How far a move is.
    pub async fn describe_move(
        &self,
        region: &RegionName,
        move_id: &str,
        shard: u32,
    ) -> Result<MoveState, ControlError> {
        let request = DescribeMoveRequest { move_id: move_id.to_owned(), shard };
        let ask = |mut client: RegionClient<Channel>| {
            let request = timed(request.clone(), DEADLINE);
            async move { client.describe_move(request).await }
        };
        self.call(region, DEADLINE, Late::AskAnother, ask).await
    }

    /// What people want of placement.
    pub async fn set_placement(
        &self,
        region: &RegionName,
        placement: Placement,
    ) -> Result<(), ControlError> {
        let placement = Placement { operator_term: self.term, ..placement };
        let ask = |mut client: RegionClient<Channel>| {
            let request = timed(placement.clone(), DEADLINE);
            async move { client.set_placement(request).await }
        };
        self.call(region, DEADLINE, Late::AskAnother, ask).await.map(|_| ())
    }

    /// Asks the leader, whom those that do not lead name.
    async fn call<T, F, A>(
        &self,
        region: &RegionName,
        deadline: Duration,
        late: Late,
        ask: F,
    ) -> Result<T, ControlError>
    where
        F: Fn(RegionClient<Channel>) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let cluster = (region.namespace.clone(), region.cluster.clone());
        let identity = self
            .keyring
            .identity(&cluster)
            .ok_or_else(|| ControlError::NoIdentity(region.cluster.clone()))?;
        let leader = self.leaders.lock().get(region).map(|(address, _)| address.clone());
        // A name is looked up only when the pod that led does not help: a look-up costs more than
        // most calls do.
        let mut looked_up = false;
        let mut candidates: Vec<String> = leader.into_iter().collect();
        let mut why = "it has no pods yet".to_owned();
        let mut tried = Vec::new();
        loop {
            let Some(address) = candidates.pop() else {
                if std::mem::replace(&mut looked_up, true) {
                    break;
                }
                match self.directory.addresses(&region.namespace, &region.region).await {
                    Ok(found) => candidates = found,
                    Err(error) => why = format!("its Service is not found: {error}"),
                }
                continue;
            };
            if tried.contains(&address) || tried.len() >= TRIES_MAX {
                continue;
            }
            tried.push(address.clone());
            let channel = match self.channel(region, &identity, &address).await {
                Ok(channel) => channel,
                Err(error) => {
                    why = error.to_string();
                    continue;
                }
            };
            let client =
                RegionClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            match tokio::time::timeout(deadline, ask(client)).await {
                Ok(Ok(answer)) => {
                    self.remember(region, Some((address, channel)));
                    return Ok(answer.into_inner());
                }
                Ok(Err(status))
                    if late == Late::GiveUp && status.code() == Code::DeadlineExceeded =>
                {
                    why = format!("{address}: no answer within {deadline:?}");
                    break;
                }
                Ok(Err(status)) => {
                    self.remember(region, None);
                    let next = leader_in(&status);
                    if !worth_another(&status) && next.is_none() {
                        let region = region.region.clone();
                        return Err(ControlError::Refused { region, status: Box::new(status) });
                    }
                    why = format!("{address}: {}", status.message());
                    candidates.extend(next);
                }
                Err(_) if late == Late::GiveUp => {
                    why = format!("{address}: no answer within {deadline:?}");
                    break;
                }
                Err(_) => {
                    self.remember(region, None);
                    why = format!("{address}: no answer within {deadline:?}");
                }
            }
        }
        Err(ControlError::Unreachable { region: region.region.clone(), why })
    }

    async fn channel(
        &self,
        region: &RegionName,
        identity: &Identity,
        address: &str,
    ) -> Result<Channel, rpc::RpcError> {
        let known = self.leaders.lock().get(region).cloned();
        match known {
            Some((leader, channel)) if leader == address => Ok(channel),
            _ => rpc::connect(identity, Role::ControlPlane, address).await,
        }
    }

    fn remember(&self, region: &RegionName, leader: Option<(String, Channel)>) {
        let mut leaders = self.leaders.lock();
        match leader {
            Some(leader) => leaders.insert(region.clone(), leader),
            None => leaders.remove(region),
        };
    }
}

fn timed<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

fn leader_in(status: &Status) -> Option<String> {
    if status.code() != Code::FailedPrecondition {
        return None;
    }
    status.metadata().get(LEADER_KEY)?.to_str().ok().map(str::to_owned)
}

/// Whether another pod may answer what this one did not.
fn worth_another(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::FailedPrecondition
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
