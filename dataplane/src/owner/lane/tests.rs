//! A lane whose core panics: what it writes down, and what the next one makes of it.

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use std::collections::{BTreeMap, BTreeSet};

use iris_core::account::{Account, Device};
use iris_core::clock::{Hlc, LogicalTimestamp, WallMs};
use iris_core::id::{
    AccountId, DeviceNo, LaneNo, MsgId, PublicKey, SessionId, ShardCount, TenantNo,
};
use iris_core::limits;
use iris_core::message::{Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq, Epoch, HomeGen, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{AccountRow, Attach, Conn, Flush, PeerRow, Policy, Send};
use iris_proto::client;
use iris_proto::frame::FrameType;
use iris_proto::peer::owner_item::Kind;
use iris_runtime::clock::SystemClock;
use iris_runtime::local_pki::LocalPki;
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Role;
use iris_store::embedded::EmbeddedStore;
use iris_store::{Checkpoint, ShardRef, Suspect};
use prost::Message as _;

use super::super::acquire::{AcquireError, Acquirer, Turn};
use super::super::config::OwnerConfig;
use super::super::fence::{Covered, FenceReader};
use super::super::inputs::{LANE_QUEUE, LaneHandle, Lanes};
use super::*;
use crate::route::Routes;

const SHARD: ShardId = ShardId::new(7);
const FAR: ShardId = ShardId::new(8);
const LINK: LinkNo = LinkNo(1);

fn count() -> ShardCount {
    ShardCount::new(64).unwrap()
}

fn ann() -> AccountId {
    AccountId::in_shard(SHARD, count(), TenantNo(0), 1)
}

fn config() -> OwnerConfig {
    let (rates, groups) = (iris_core::rate::Rates::default(), iris_core::group::Sizes::default());
    OwnerConfig {
        pod: "eu-owner-0".to_owned(),
        pod_uid: String::new(),
        node: String::new(),
        zone: String::new(),
        address: String::new(),
        lanes: 1,
        shard_count: count(),
        home_gen: HomeGen(0),
        policy: Policy { history: false, rates, groups },
        leave_for: Duration::ZERO,
        password_memory_kib: 8,
        version: "1.2.3".to_owned(),
    }
}

/// Ann with a phone, and an outbox to another shard whose next number is the last there is: whoever
/// accepts something for that shard overflows.
async fn plant(store: &SharedStore) {
    let timestamp = LogicalTimestamp::new(HomeGen(0), Epoch(1), ShardSeq(1));
    let mut state = Account::new(ShardSeq(1));
    let phone = Device::new(PublicKey([7; 32]), "phone".to_owned(), WallMs(1), InboxSeq(0));
    state.devices.insert(DeviceNo(1), phone);
    let (relations, memberships) = (false, false);
    let row = AccountRow { account: ann(), state, relations, memberships, timestamp };
    let peer = PeerRow {
        peer: FAR,
        out_next: OutboxSeq(u64::MAX),
        out_confirmed: OutboxSeq(u64::MAX - 1),
        in_next: OutboxSeq(1),
        pos: ShardSeq(1),
        forget_items: false,
        timestamp,
    };
    let flush = Flush {
        accounts: vec![row],
        peers: vec![peer],
        ..Flush::empty(ShardSeq(2), ShardSeq(1), Hlc(1), timestamp)
    };
    let checkpoint =
        Checkpoint { epoch: Epoch(1), pos: ShardSeq(1), block: BlockSeq(0), clock: Hlc(1) };
    let shard = ShardRef { shard: SHARD, home_gen: HomeGen(0) };
    store.materialize(shard, &flush, checkpoint).await.unwrap();
}

/// A session of one lane, with an edge that attached Ann's phone.
struct Session {
    id: SessionId,
    tasks: Tasks,
    metrics: OwnerMetrics,
    lane: LaneHandle,
    acquirer: Acquirer,
    out: Arc<Queue<OwnerItem>>,
}

impl Session {
    async fn start(store: &SharedStore, byte: u8) -> Self {
        let id = SessionId::from_random([byte; 16]);
        store.open_session(id, 1).await.unwrap();
        let (tasks, clock) = (Tasks::new(), SystemClock::shared());
        let metrics = OwnerMetrics::new(&Metrics::new());
        let identity = LocalPki::new("test", "eu").unwrap().identity(Role::Owner, "eu-owner-0");
        let routes = Arc::new(Routes::new(count()));
        let router = Router::new(id, routes, identity.unwrap(), tasks.clone());
        let (inputs, received) = mpsc::channel(LANE_QUEUE);
        let (sights, sight) = watch::channel(Sight::default());
        let (cover, shown) = watch::channel(BlockSeq::default());
        let (snapshot, _) = watch::channel(None);
        let fence_wanted = Arc::new(Notify::new());
        let deps = LaneDeps {
            lane: LaneId { session: id, lane: LaneNo(0) },
            lanes: 1,
            version: config().version,
            store: Arc::clone(store),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            router: Arc::new(router),
            flush_permits: Arc::new(Semaphore::new(4)),
            load_permits: Arc::new(Semaphore::new(4)),
            fence_wanted: Arc::clone(&fence_wanted),
            sights: sight,
            cover,
            snapshot,
            inputs: received,
        };
        tasks.spawn_critical("lane", Lane::new(deps).run());
        let reader = FenceReader {
            session: id,
            store: Arc::clone(store),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            wanted: fence_wanted,
            lanes: vec![Covered { cover: shown, sights }],
        };
        tasks.spawn("fence", async move {
            let _by = reader.run().await;
        });
        let lane = LaneHandle { inputs };
        let lanes = Lanes::new(vec![lane.clone()]);
        let config = Arc::new(config());
        let acquirer = Acquirer::new(id, config, Arc::clone(store), clock, lanes, metrics.clone());
        Self { id, tasks, metrics, lane, acquirer, out: Arc::new(Queue::new()) }
    }

    /// Takes the shard from whoever had it, and attaches Ann's phone.
    async fn serve(&self, dead: &[SessionId]) {
        let dead = dead.iter().copied().collect::<BTreeSet<_>>();
        self.acquirer.acquire(SHARD, &dead, Turn::Now).await.unwrap();
        let out = Arc::clone(&self.out);
        self.lane.tell(LaneInput::OpenLink { link: LINK, out }).await.unwrap();
        let attach = Attach {
            conn: Conn { link: LINK, id: 1 },
            account: ann(),
            device: DeviceNo(1),
            cursor: InboxSeq(0),
            delivered: InboxSeq(0),
            stream_gen: 0,
            window_messages: 256,
            window_bytes: 256 * 1024,
            marks: 0,
            begun: WallMs(1),
        };
        self.client(Input::Attach(attach)).await;
        self.told(|kind| matches!(kind, Kind::Attached(_)).then_some(())).await;
    }

    async fn client(&self, input: Input) {
        let inputs = vec![(SHARD, input)];
        self.lane.tell(LaneInput::Clients { link: LINK, inputs }).await.unwrap();
    }

    async fn send(&self, number: u64, to: AccountId) {
        let send = Send {
            client_seq: ClientSeq(number),
            msg_id: MsgId([9; 16]),
            to: Address::Account(to),
            bodies: Bodies::Shared(bytes::Bytes::from_static(b"hello")),
            expires_at_ms: 0,
            about: None,
            change: None,
            roster: ConvSeq(0),
        };
        self.client(Input::Send { conn: Conn { link: LINK, id: 1 }, send }).await;
    }

    /// The first thing that the edge is told of this kind.
    async fn told<T>(&self, kind: impl Fn(Kind) -> Option<T>) -> T {
        let told = async {
            loop {
                let (items, _) = self.out.take().await.unwrap();
                if let Some(found) = items.into_iter().find_map(|item| kind(item.kind?)) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.unwrap()
    }

    /// The next answer to a send: up to where, and what is refused.
    async fn answer(&self) -> (u64, BTreeMap<u64, u32>) {
        let ack = |kind| match kind {
            Kind::Frame(frame) if frame.r#type == u32::from(FrameType::SendAck.number()) => {
                let ack = client::SendAck::decode(frame.payload).unwrap();
                let refusals = ack.refusals.iter().map(|r| (r.client_seq, r.code));
                Some((ack.client_seq, refusals.collect()))
            }
            _ => None,
        };
        self.told(ack).await
    }
}

fn far(random: u128) -> AccountId {
    AccountId::in_shard(FAR, count(), TenantNo(0), random)
}

/// Over which a session panicked: it ends, and the next one refuses the message for good and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_which_a_session_panics_ends_no_second_one() {
    let directory = tempfile::tempdir().unwrap();
    let store: SharedStore = Arc::new(EmbeddedStore::open(directory.path()).await.unwrap());
    plant(&store).await;
    let first = Session::start(&store, 1).await;
    first.serve(&[]).await;
    first.send(1, far(2)).await;
    let ends = tokio::time::timeout(Duration::from_secs(20), first.tasks.stopped());
    assert!(ends.await.is_ok(), "the session goes on");
    assert_eq!(first.metrics.damaged.with_label_values(&["input"]).get(), 1);
    let suspects = store.suspects(SHARD).await.unwrap();
    let input = format!("message 1 of device 1 of {}", ann());
    let found: Vec<_> = suspects.iter().map(|s| (s.session, &s.version, &s.input)).collect();
    assert_eq!(found, [(first.id, &config().version, &input)]);

    let second = Session::start(&store, 2).await;
    second.serve(&[first.id]).await;
    second.send(1, far(2)).await;
    assert_eq!(second.answer().await, (1, BTreeMap::from([(1, 4108)])));
    let near = AccountId::in_shard(SHARD, count(), TenantNo(0), 5);
    second.send(2, near).await;
    assert_eq!(second.answer().await, (2, BTreeMap::new()));
    assert!(!second.tasks.is_stopped());
    second.tasks.stop();
}

/// What is not one input is not kept from the shard one by one: the shard stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_over_which_session_after_session_panics_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let store: SharedStore = Arc::new(EmbeddedStore::open(directory.path()).await.unwrap());
    let session = Session::start(&store, 1).await;
    let later = WallMs(u64::MAX);
    let most = u8::try_from(limits::SUSPECTS_MAX).unwrap();
    let suspect = |byte: u8, version: &str, until| Suspect {
        session: SessionId::from_random([byte; 16]),
        version: version.to_owned(),
        input: format!("its own: {byte}"),
        until,
    };
    for byte in 1..most {
        store.suspect(SHARD, &suspect(byte, "1.2.3", later)).await.unwrap();
    }
    // Those of another version, and those whose time is over, say nothing.
    store.suspect(SHARD, &suspect(100, "1.2.4", later)).await.unwrap();
    store.suspect(SHARD, &suspect(101, "1.2.3", WallMs(1))).await.unwrap();
    let known = session.acquirer.suspects(SHARD).await.unwrap();
    assert_eq!(known.len(), usize::from(most) - 1);
    assert!(known.iter().all(|input| !input.contains("100") && !input.contains("101")));

    store.suspect(SHARD, &suspect(most, "1.2.3", later)).await.unwrap();
    let refused = session.acquirer.acquire(SHARD, &BTreeSet::new(), Turn::Now).await;
    assert!(matches!(refused, Err(AcquireError::Suspect { .. })), "{refused:?}");
    session.acquirer.acquire(FAR, &BTreeSet::new(), Turn::Now).await.unwrap();
    session.tasks.stop();
}
