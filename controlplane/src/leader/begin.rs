//! The beginning of a leadership: everything is read before anything is ordered.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_coord::{CoordError, Guard, Versioned};
use iris_core::id::{SessionId, ShardId};
use iris_core::ranges::ShardRange;
use iris_proto::control::Placement;
use iris_proto::coordinated::{Assignment, Move, Placement as StoredPlacement, Session};
use iris_proto::coordinated_keys as keys;
use iris_store::StoreError;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{Notify, watch};

use super::{Deps, Leader};
use crate::model::{About, Assigned, Model, RouteBoard, Wishes};

use iris_runtime::task::Tasks;

/// Shards whose heads are read at once.
pub(super) const HEADS_AT_ONCE: usize = 1024;

/// What an election gave.
pub struct Leadership {
    /// This pod.
    pub pod: String,
    /// Which leadership; grows.
    pub term: u64,
    /// Holds as long as the leadership does.
    pub guard: Guard,
}

/// Why a leadership cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// etcd does not answer.
    #[error(transparent)]
    Coord(#[from] CoordError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads what there is and begins to lead; the tasks run until `tasks` stop.
pub async fn lead(
    deps: Deps,
    leadership: Leadership,
    tasks: &Tasks,
) -> Result<Arc<Leader>, BeginError> {
    let now = deps.clock.now().mono;
    let placement = read_placement(&deps).await?;
    let unknown = || Wishes { expected_owners: deps.expected_owners, ..Wishes::default() };
    let wishes = placement.as_ref().map_or_else(unknown, |sent| wishes_from(&deps, sent));
    let mut model = Model::new(deps.count, now, wishes);
    read_dead(&deps, &mut model).await?;
    let sessions_at = read_sessions(&deps, &mut model).await?;
    read_heads(&deps, &mut model).await?;
    let written = read_assignments(&deps).await?;
    let moves = read_moves(&deps).await?;
    let operator_term = newest_term(&moves, placement.as_ref());
    let leader = Arc::new(Leader {
        board: Mutex::new(RouteBoard::new(deps.count)),
        deps,
        pod: leadership.pod,
        term: leadership.term,
        guard: leadership.guard,
        model: Mutex::new(model),
        news: watch::Sender::new(0),
        woken: Notify::new(),
        written: Mutex::new(written),
        moves: Mutex::new(moves),
        operator_term: Mutex::new(operator_term),
        report: Mutex::new(None),
        edges: Mutex::new(0),
        tasks: tasks.clone(),
    });
    tasks.spawn_critical("govern", Arc::clone(&leader).govern());
    tasks.spawn_critical("sessions", Arc::clone(&leader).follow_sessions(sessions_at));
    tasks.spawn_critical("scan", Arc::clone(&leader).scan());
    tasks.spawn_critical("store report", Arc::clone(&leader).ask_store());
    leader.resume_moves();
    Ok(leader)
}

/// What is in etcd about a session; nothing when it cannot be understood.
pub(super) fn session_from(found: &Versioned) -> Option<(SessionId, About)> {
    let id = keys::session_of(keys::SESSIONS, &found.key)?;
    let record = Session::decode(&found.value[..]).ok()?;
    Some((id, about_from(record)))
}

fn about_from(record: Session) -> About {
    About {
        pod: record.pod,
        pod_uid: record.pod_uid,
        node: record.node,
        zone: record.zone,
        address: record.address,
        lanes: u8::try_from(record.lanes).unwrap_or(1).max(1),
        version: record.version,
        started_at_ms: record.started_at_ms,
    }
}

async fn read_sessions(deps: &Deps, model: &mut Model) -> Result<iris_coord::Revision, CoordError> {
    let now = deps.clock.now().mono;
    let (found, revision) = deps.coord.list(keys::SESSIONS).await?;
    for (id, about) in found.iter().filter_map(session_from) {
        model.leased(id, about, now);
    }
    Ok(revision)
}

async fn read_dead(deps: &Deps, model: &mut Model) -> Result<(), CoordError> {
    let (found, _) = deps.coord.list(keys::DEAD).await?;
    for found in found {
        let id = keys::session_of(keys::DEAD, &found.key);
        let record = Session::decode(&found.value[..]).ok();
        if let Some((id, record)) = id.zip(record) {
            model.known_dead(id, about_from(record));
        }
    }
    Ok(())
}

async fn read_heads(deps: &Deps, model: &mut Model) -> Result<(), StoreError> {
    let shards: Vec<_> = deps.count.shards().collect();
    for some in shards.chunks(HEADS_AT_ONCE) {
        let refs: Vec<_> = some
            .iter()
            .map(|shard| iris_store::ShardRef { shard: *shard, home_gen: deps.home_gen })
            .collect();
        for (at, head) in deps.store.heads(&refs).await? {
            if let Some(row) = head {
                model.found(at.shard, row);
            }
        }
    }
    Ok(())
}

async fn read_assignments(deps: &Deps) -> Result<BTreeMap<SessionId, (u64, Assigned)>, CoordError> {
    let (found, _) = deps.coord.list(keys::ASSIGNMENTS).await?;
    let mut written = BTreeMap::new();
    for found in found {
        let id = keys::session_of(keys::ASSIGNMENTS, &found.key);
        let assignment = Assignment::decode(&found.value[..]).ok();
        if let Some((id, assignment)) = id.zip(assignment) {
            // Only the revision counts: the content is written anew by this leader.
            written.insert(id, (assignment.revision, Assigned::default()));
        }
    }
    Ok(written)
}

async fn read_moves(deps: &Deps) -> Result<BTreeMap<ShardId, Move>, CoordError> {
    let (found, _) = deps.coord.list(keys::MOVES).await?;
    let mut moves = BTreeMap::new();
    for found in found {
        if let Ok(stored) = Move::decode(&found.value[..])
            && let Ok(shard) = deps.count.shard(stored.shard)
        {
            moves.insert(shard, stored);
        }
    }
    Ok(moves)
}

/// The newest term of an operator that ordered anything. Owners refuse earlier ones, of this leader's own
/// orders, too.
fn newest_term(moves: &BTreeMap<ShardId, Move>, placement: Option<&Placement>) -> u64 {
    let of_moves = moves.values().map(|stored| stored.operator_term);
    of_moves.chain(placement.map(|sent| sent.operator_term)).max().unwrap_or_default()
}

/// What an operator last sent of placement.
async fn read_placement(deps: &Deps) -> Result<Option<Placement>, CoordError> {
    let found = deps.coord.get(keys::PLACEMENT).await?;
    let stored = found.and_then(|found| StoredPlacement::decode(&found.value[..]).ok());
    Ok(stored.and_then(|stored| Placement::decode(stored.value).ok()))
}

/// What the operator sent of the shard map, as the model takes it.
pub(crate) fn wishes_from(deps: &Deps, placement: &Placement) -> Wishes {
    let range = |first, last| {
        let (first, last) = (deps.count.shard(first).ok()?, deps.count.shard(last).ok()?);
        (first <= last).then_some(ShardRange { first, last })
    };
    let pins = placement
        .pins
        .iter()
        .filter_map(|pin| Some((range(pin.first_shard, pin.last_shard)?, pin.pod.clone())));
    Wishes {
        pins: pins.collect(),
        cordoned: placement.cordoned_pods.iter().cloned().collect(),
        expected_owners: placement.expected_owners.max(1),
    }
}
