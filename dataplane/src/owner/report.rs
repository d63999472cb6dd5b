//! The stream to the control plane: what this session serves, and that it lives. Its end is how the
//! control plane learns of a death within milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iris_core::id::ShardId;
use iris_core::seq::Epoch;
use iris_proto::control::owners_client::OwnersClient;
use iris_proto::control::{Load, OwnerReport, SessionInfo, ShardHeld, ShardTrouble, owner_order};
use iris_runtime::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::held::Held;
use crate::control::ControlPlane;

/// A heartbeat is sent so often.
const HEARTBEAT: Duration = Duration::from_millis(400);
/// The leader sends something at least so often, or is taken for lost.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Reporter {
    pub(super) control: Arc<ControlPlane>,
    pub(super) info: SessionInfo,
    pub(super) held: Arc<Held>,
    pub(super) load: watch::Receiver<Load>,
    /// Set when the process wants to end: its shards should move.
    pub(super) leaving: Arc<AtomicBool>,
    /// Sent when the control plane orders the end.
    pub(super) stop: mpsc::Sender<String>,
}

impl Reporter {
    /// Reports for ever.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        loop {
            match self.report_once(&mut backoff).await {
                Ok(()) => tracing::debug!("the report stream ended"),
                Err(error) => tracing::debug!(error, "the control plane does not hear us"),
            }
            backoff.wait().await;
        }
    }

    async fn report_once(&self, backoff: &mut Backoff) -> Result<(), String> {
        let channel = self.control.connect().await.map_err(|error| error.to_string())?;
        let (reports, outgoing) = mpsc::channel(8);
        let mut told = self.first(&reports).await?;
        let mut client = OwnersClient::new(channel);
        let orders = client.session(ReceiverStream::new(outgoing)).await;
        let mut orders = orders
            .inspect_err(|status| {
                if status.code() == Code::FailedPrecondition {
                    self.control.note_refusal(status);
                }
            })
            .map_err(|status| status.to_string())?
            .into_inner();
        let mut version = self.held.version();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                order = orders.message() => {
                    let order = order.map_err(|status| status.to_string())?;
                    let Some(order) = order else { return Ok(()) };
                    backoff.reset();
                    heard = tokio::time::Instant::now();
                    if let Some(owner_order::Kind::Stop(stop)) = order.kind {
                        // The process ends once; a second order finds nobody.
                        let _ = self.stop.try_send(stop.reason);
                    }
                }
                _ = version.changed() => self.changes(&mut told, &reports).await?,
                _ = heartbeat.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return Err("the leader is silent".to_owned());
                    }
                    self.changes(&mut told, &reports).await?;
                }
            }
        }
    }

    async fn first(
        &self,
        reports: &mpsc::Sender<OwnerReport>,
    ) -> Result<BTreeMap<ShardId, Epoch>, String> {
        let serving = self.held.serving();
        let report = OwnerReport {
            info: Some(self.info()),
            held: serving.iter().map(|(shard, epoch)| held(*shard, *epoch)).collect(),
            left: Vec::new(),
            load: Some(*self.load.borrow()),
            troubles: self.troubles(),
        };
        send(reports, report).await?;
        Ok(serving)
    }

    async fn changes(
        &self,
        told: &mut BTreeMap<ShardId, Epoch>,
        reports: &mpsc::Sender<OwnerReport>,
    ) -> Result<(), String> {
        let serving = self.held.serving();
        let news = serving.iter().filter(|(shard, epoch)| told.get(shard) != Some(epoch));
        let left = told.keys().filter(|shard| !serving.contains_key(shard));
        let report = OwnerReport {
            info: self.leaving.load(Ordering::Acquire).then(|| self.info()),
            held: news.map(|(shard, epoch)| held(*shard, *epoch)).collect(),
            left: left.map(|shard| (*shard).into()).collect(),
            load: Some(*self.load.borrow()),
            troubles: self.troubles(),
        };
        *told = serving;
        send(reports, report).await
    }

    fn info(&self) -> SessionInfo {
        SessionInfo { cordoned: self.leaving.load(Ordering::Acquire), ..self.info.clone() }
    }

    fn troubles(&self) -> Vec<ShardTrouble> {
        let troubles = self.held.troubles().into_iter();
        troubles.map(|(shard, text)| ShardTrouble { shard: shard.into(), text }).collect()
    }
}

fn held(shard: ShardId, epoch: Epoch) -> ShardHeld {
    ShardHeld { shard: shard.into(), epoch: epoch.0 }
}

async fn send(reports: &mpsc::Sender<OwnerReport>, report: OwnerReport) -> Result<(), String> {
    let sent = tokio::time::timeout(SILENCE_MAX, reports.send(report)).await;
    sent.map_err(|_| "the leader does not read".to_owned())?.map_err(|error| error.to_string())
}
