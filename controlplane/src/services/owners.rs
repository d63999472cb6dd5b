//! Reports of owners.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use iris_core::id::SessionId;
use iris_core::seq::Epoch;
use iris_proto::control::owners_server::Owners;
use iris_proto::control::{Heartbeat, OwnerOrder, OwnerReport, SessionInfo, Stop, owner_order};
use iris_runtime::rpc::require_role;
use iris_runtime::tls::Role;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Lead;
use crate::leader::Leader;
use crate::model::About;

/// The leader says something at least so often.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The service.
pub struct OwnersService {
    /// Who leads.
    pub lead: Lead,
}

#[tonic::async_trait]
impl Owners for OwnersService {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<OwnerOrder, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<OwnerReport>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = require_role(&request, &[Role::Owner])?;
        let leader = self.lead.leader()?;
        let mut reports = request.into_inner();
        let first = reports.message().await?;
        let info = first.as_ref().and_then(|report| report.info.clone());
        let (first, info) =
            first.zip(info).ok_or_else(|| Status::invalid_argument("the first report is empty"))?;
        if info.pod != peer.pod {
            return Err(Status::permission_denied("a pod may report for itself only"));
        }
        let session = SessionId::from_bytes(&info.session);
        let session = session.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (orders, outgoing) = mpsc::channel(8);
        let now = leader.deps().clock.now();
        let about = leader.see(|model| model.members().get(&session).map(|m| m.about.clone()));
        // etcd knows when it began; until it says so, it began now.
        let about = about.unwrap_or_else(|| about_from(&info, now.wall.0));
        if leader.change(|model| model.reports(session, about, now.mono)) {
            take(&leader, session, first);
            let tasks = leader.tasks.clone();
            tasks.spawn("owner session", follow(leader, session, reports, orders));
        } else {
            let reason = "this session was declared dead".to_owned();
            let order = OwnerOrder { kind: Some(owner_order::Kind::Stop(Stop { reason })) };
            // The channel is empty: the order fits.
            let _ = orders.send(Ok(order)).await;
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

async fn follow(
    leader: Arc<Leader>,
    session: SessionId,
    mut reports: Streaming<OwnerReport>,
    orders: mpsc::Sender<Result<OwnerOrder, Status>>,
) {
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            report = reports.message() => match report {
                Ok(Some(report)) => take(&leader, session, report),
                Ok(None) | Err(_) => break,
            },
            _ = heartbeat.tick() => {
                let gone = leader.see(|model| !model.members().contains_key(&session));
                let kind = if gone {
                    owner_order::Kind::Stop(Stop { reason: "declared dead".to_owned() })
                } else {
                    owner_order::Kind::Heartbeat(Heartbeat {})
                };
                // An owner that does not read is heard by its reports, or not at all.
                if orders.try_send(Ok(OwnerOrder { kind: Some(kind) })).is_err() && orders.is_closed() {
                    break;
                }
                if gone {
                    return;
                }
            }
        }
    }
    let now = leader.deps().clock.now().mono;
    leader.change(|model| model.stream_broke(session, now));
}

fn take(leader: &Leader, session: SessionId, report: OwnerReport) {
    let now = leader.deps().clock.now().mono;
    leader.change(|model| {
        let count = model.count();
        if model.heard(session, now).is_none() {
            return;
        }
        for held in &report.held {
            if let Ok(shard) = count.shard(held.shard) {
                model.holds(session, shard, Epoch(held.epoch));
            }
        }
        for shard in report.left.iter().filter_map(|n| count.shard(*n).ok()) {
            model.left(session, shard);
        }
        if let Some(member) = model.heard(session, now) {
            member.leaving |= report.info.is_some_and(|info| info.cordoned);
            let troubles = report.troubles.into_iter();
            let troubles = troubles.filter_map(|t| Some((count.shard(t.shard).ok()?, t.text)));
            member.troubles = troubles.collect();
            if let Some(load) = report.load {
                member.load = (load.messages_per_s, load.accounts, load.connections);
            }
        }
    });
}

fn about_from(info: &SessionInfo, started_at_ms: u64) -> About {
    About {
        pod: info.pod.clone(),
        pod_uid: info.pod_uid.clone(),
        node: info.node.clone(),
        zone: info.zone.clone(),
        address: info.address.clone(),
        lanes: u8::try_from(info.lanes).unwrap_or(1).max(1),
        version: info.version.clone(),
        started_at_ms,
    }
}
