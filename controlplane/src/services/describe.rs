//! The state of a region, as people see it.

use iris_core::id::ShardId;
use iris_proto::control::{Load, OwnerState, RegionState, SessionInfo, ShardPhase, ShardState};

use crate::leader::{Leader, has_ended};
use crate::model::{Member, Model, Stream};

pub(super) fn describe(leader: &Leader) -> RegionState {
    let report = leader.store_report().unwrap_or_default();
    let mut problems = report.unfit;
    if !leader.deps().development {
        problems.extend(report.development_only);
    }
    let now = leader.deps().clock.now().mono;
    leader.see(|model| RegionState {
        leader: leader.pod.clone(),
        leader_term: leader.term,
        shard_count: model.count().get(),
        owners: model
            .members()
            .iter()
            .map(|(id, member)| OwnerState {
                info: Some(info(*id, member)),
                shards: u32::try_from(member.serving.len()).unwrap_or(u32::MAX),
                load: Some(Load {
                    messages_per_s: member.load.0,
                    accounts: member.load.1,
                    connections: member.load.2,
                    memory_bytes: 0,
                }),
                silent_ms: u32::try_from(now.ms_since(member.heard_at)).unwrap_or(u32::MAX),
                taken_over: member.stream == Stream::Never && !member.leased,
            })
            .collect(),
        shards: model.count().shards().map(|shard| shard_state(leader, model, shard)).collect(),
        edges: leader.edges(),
        store_problems: problems,
        store_version: report.version,
    })
}

fn info(id: iris_core::id::SessionId, member: &Member) -> SessionInfo {
    SessionInfo {
        session: id.to_bytes().to_vec().into(),
        pod: member.about.pod.clone(),
        pod_uid: member.about.pod_uid.clone(),
        node: member.about.node.clone(),
        zone: member.about.zone.clone(),
        address: member.about.address.clone(),
        lanes: member.about.lanes.into(),
        version: member.about.version.clone(),
        cordoned: member.leaving,
    }
}

fn shard_state(leader: &Leader, model: &Model, shard: ShardId) -> ShardState {
    let head = model.head(shard);
    let serving = model.serving(shard);
    let active = leader.known_move(shard).filter(|known| !has_ended(known));
    let phase = match (serving, head) {
        (Some(_), _) if active.is_some() => ShardPhase::Moving,
        (Some(_), _) => ShardPhase::Serving,
        (None, None) => ShardPhase::Unclaimed,
        (None, Some(row)) if row.released_block.is_some() => ShardPhase::Released,
        (None, Some(_)) => ShardPhase::Takeover,
    };
    let session = serving.map(|(session, _)| session).or(head.map(|row| row.session));
    let member = session.and_then(|session| model.members().get(&session));
    let epoch = serving.map(|(_, epoch)| epoch).or(head.map(|row| row.epoch));
    let desired = model.desired(shard).and_then(|id| model.members().get(&id));
    let trouble = desired.and_then(|member| member.troubles.get(&shard)).cloned();
    ShardState {
        shard: shard.into(),
        home_gen: leader.deps().home_gen.0.into(),
        epoch: epoch.unwrap_or_default().0,
        session: session.map(|s| s.to_bytes().to_vec().into()).unwrap_or_default(),
        pod: member.map(|member| member.about.pod.clone()).unwrap_or_default(),
        phase: phase.into(),
        move_id: active.map(|known| known.move_id).unwrap_or_default(),
        trouble: trouble.unwrap_or_default(),
    }
}
