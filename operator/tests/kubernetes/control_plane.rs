//! A control plane that holds its region in memory. Moves end when a test lets them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use iris_net::TcpListener;
use iris_operator::control::Directory;
use iris_operator::pki::authority::Authority;
use iris_operator::pki::leaf;
use iris_operator::vault::{Kept, text_of};
use iris_proto::control::region_server::{Region, RegionServer};
use iris_proto::control::{
    AbortMoveRequest, DescribeMoveRequest, DescribeRequest, ExecuteMoveRequest, MovePhase,
    MoveState, OwnerState, Placement, PlacementReply, PlanMoveReply, PlanMoveRequest, RegionState,
    SessionInfo, ShardPhase, ShardState,
};
use iris_runtime::clock::{Clock, SystemClock};
use iris_runtime::rpc;
use iris_runtime::task::Tasks;
use iris_runtime::tls::{Identity, Material, PeerName, Role};
use k8s_openapi::api::core::v1::Secret;
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

/// What a shard is, and where.
#[derive(Debug, Clone)]
pub struct Shard {
    pub owner: String,
    pub epoch: u32,
}

/// What happens to the next moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// They end, each after a moment.
    Swift,
    /// They stay in preparation until they are aborted.
    Stuck,
    /// Nothing is answered.
    Silent,
}

pub struct State {
    pub shards: BTreeMap<u32, Shard>,
    pub moves: BTreeMap<String, MoveState>,
    /// How often each move was ordered.
    pub orders: BTreeMap<String, u32>,
    pub placements: Vec<Placement>,
    /// The pods' ids by the pods' names, as far as the control plane has heard of them.
    pub uids: BTreeMap<String, String>,
    pub mood: Mood,
    /// Moves under way, now and at most.
    pub underway: (usize, usize),
}

/// The control plane.
pub struct ControlPlane {
    pub state: Arc<Mutex<State>>,
    address: Mutex<Option<String>>,
}

pub const OWNERS: [&str; 3] = ["eu-owner-0", "eu-owner-1", "eu-owner-2"];

impl ControlPlane {
    pub fn new(shards: u32) -> Self {
        let owner = |shard: u32| OWNERS[usize::try_from(shard).unwrap() % OWNERS.len()].to_owned();
        let shard = |shard| (shard, Shard { owner: owner(shard), epoch: 1 });
        let state = State {
            shards: (0..shards).map(shard).collect(),
            moves: BTreeMap::new(),
            orders: BTreeMap::new(),
            placements: Vec::new(),
            uids: BTreeMap::new(),
            mood: Mood::Swift,
            underway: (0, 0),
        };
        Self { state: Arc::new(Mutex::new(state)), address: Mutex::new(None) }
    }

    pub fn mood(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    /// Answers, with a certificate that the cluster's authority signs for a control plane.
    pub async fn serve(&self, namespace: &str, authority: &Secret, tasks: &Tasks) {
        let authority = Authority::from_data("chat-ca", &text_of(authority)).unwrap();
        let name = PeerName {
            namespace: namespace.to_owned(),
            cluster: "chat".to_owned(),
            role: Role::ControlPlane,
            pod: "eu-controlplane-0".to_owned(),
        };
        let now_s = SystemClock.now().wall.0 / 1000;
        let (pair, _) = leaf::issue(&authority, &name, &[], 3600, now_s).unwrap();
        let trust = authority.bundle();
        let material =
            Material::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes(), trust.as_bytes());
        let identity = Identity::new(material.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *self.address.lock() = Some(listener.local_addr().unwrap().to_string());
        let incoming = rpc::incoming(listener, &identity, tasks).unwrap();
        let service = RegionServer::new(Service(Arc::clone(&self.state)));
        tasks.spawn("control plane", async move {
            rpc::server().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    }
}

impl Directory for ControlPlane {
    fn addresses(&self, _: &str, region: &str) -> BoxFuture<'static, io::Result<Vec<String>>> {
        assert_eq!(region, "eu");
        let address = self.address.lock().clone();
        let found = address.ok_or_else(|| io::Error::other("no such name"));
        Box::pin(async move { Ok(vec![found?]) })
    }
}

struct Service(Arc<Mutex<State>>);

impl Service {
    fn hear<T>(&self, request: &Request<T>) -> Result<(), Status> {
        rpc::require_role(request, &[Role::Operator])?;
        let mood = self.0.lock().mood;
        match mood {
            Mood::Silent => Err(Status::unavailable("nobody leads")),
            Mood::Swift | Mood::Stuck => Ok(()),
        }
    }

    fn known(&self, id: &str) -> MoveState {
        let unknown = MoveState {
            move_id: id.to_owned(),
            phase: MovePhase::Unknown.into(),
            ..MoveState::default()
        };
        self.0.lock().moves.get(id).cloned().unwrap_or(unknown)
    }
}

#[tonic::async_trait]
impl Region for Service {
    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<RegionState>, Status> {
        self.hear(&request)?;
        let state = self.0.lock();
        let shards = state.shards.iter().map(|(number, shard)| ShardState {
            shard: *number,
            epoch: shard.epoch,
            pod: shard.owner.clone(),
            phase: ShardPhase::Serving.into(),
            ..ShardState::default()
        });
        let owners = OWNERS.iter().map(|pod| OwnerState {
            info: Some(SessionInfo {
                pod: (*pod).to_owned(),
                pod_uid: state.uids.get(*pod).cloned().unwrap_or_default(),
                ..SessionInfo::default()
            }),
            ..OwnerState::default()
        });
        Ok(Response::new(RegionState {
            leader: "eu-controlplane-0".to_owned(),
            leader_term: 1,
            shard_count: u32::try_from(state.shards.len()).unwrap(),
            shards: shards.collect(),
            owners: owners.collect(),
            ..RegionState::default()
        }))
    }

    async fn plan_move(
        &self,
        request: Request<PlanMoveRequest>,
    ) -> Result<Response<PlanMoveReply>, Status> {
        self.hear(&request)?;
        let shard = self.0.lock().shards[&request.into_inner().shard].clone();
        let (source_pod, epoch) = (shard.owner, shard.epoch);
        Ok(Response::new(PlanMoveReply { source_pod, epoch, accounts: 7, ..Default::default() }))
    }

    async fn execute_move(
        &self,
        request: Request<ExecuteMoveRequest>,
    ) -> Result<Response<MoveState>, Status> {
        self.hear(&request)?;
        let request = request.into_inner();
        assert!(request.operator_term > 1_000_000_000, "a term counts from seconds since 1970");
        let id = request.move_id.clone();
        {
            let mut state = self.0.lock();
            *state.orders.entry(id.clone()).or_default() += 1;
            if state.moves.contains_key(&id) {
                drop(state);
                return Ok(Response::new(self.known(&id)));
            }
            let shard = state.shards[&request.shard].clone();
            assert_eq!((&shard.owner, shard.epoch), (&request.source_pod, request.epoch));
            let begun = MoveState {
                move_id: id.clone(),
                phase: MovePhase::Preparing.into(),
                source_epoch: request.epoch,
                ..MoveState::default()
            };
            state.moves.insert(id.clone(), begun);
            if state.mood == Mood::Stuck {
                drop(state);
                return Ok(Response::new(self.known(&id)));
            }
            state.underway.0 += 1;
            state.underway.1 = state.underway.1.max(state.underway.0);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut state = self.0.lock();
        state.underway.0 -= 1;
        let shard = Shard { owner: request.target_pod, epoch: request.epoch + 1 };
        state.shards.insert(request.shard, shard);
        let known = state.moves.get_mut(&id).unwrap();
        known.phase = MovePhase::Committed.into();
        known.committed_epoch = request.epoch + 1;
        known.fence_ms = 12;
        Ok(Response::new(known.clone()))
    }

    async fn abort_move(
        &self,
        request: Request<AbortMoveRequest>,
    ) -> Result<Response<MoveState>, Status> {
        self.hear(&request)?;
        let id = request.into_inner().move_id;
        if let Some(known) = self.0.lock().moves.get_mut(&id)
            && known.phase() == MovePhase::Preparing
        {
            known.phase = MovePhase::Aborted.into();
            known.reason = "Aborted".to_owned();
        }
        Ok(Response::new(self.known(&id)))
    }

    async fn describe_move(
        &self,
        request: Request<DescribeMoveRequest>,
    ) -> Result<Response<MoveState>, Status> {
        self.hear(&request)?;
        Ok(Response::new(self.known(&request.into_inner().move_id)))
    }

    async fn set_placement(
        &self,
        request: Request<Placement>,
    ) -> Result<Response<PlacementReply>, Status> {
        self.hear(&request)?;
        self.0.lock().placements.push(request.into_inner());
        Ok(Response::new(PlacementReply {}))
    }
}
