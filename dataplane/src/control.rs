//! The way to the control plane: its leader, wherever it is at the moment.

use std::time::Duration;

use iris_runtime::rpc::{self, RpcError};
use iris_runtime::tls::{Identity, Role};
use parking_lot::Mutex;
use tonic::Status;
use tonic::transport::Channel;

/// The metadata in which a replica that does not lead names the one that does.
pub const LEADER_HINT: &str = "iris-leader";

/// A name has addresses after this long, or none.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

/// Finds the leader among the replicas behind one name.
#[derive(Debug)]
pub struct ControlPlane {
    identity: Identity,
    service: String,
    hint: Mutex<Option<String>>,
    turn: Mutex<usize>,
}

impl ControlPlane {
    /// The control plane whose replicas' addresses are those of `service`: host:port, or several of
    /// them with commas between.
    pub fn new(identity: Identity, service: String) -> Self {
        Self { identity, service, hint: Mutex::new(None), turn: Mutex::new(0) }
    }

    /// A connection to a replica: the one that was named as leader, else the next one in turn.
    pub async fn connect(&self) -> Result<Channel, RpcError> {
        let hint = self.hint.lock().take();
        let address = match hint {
            Some(address) => address,
            None => self.next_replica().await,
        };
        rpc::connect(&self.identity, Role::ControlPlane, &address).await
    }

    /// Remembers what a replica said when it refused because it does not lead.
    pub fn note_refusal(&self, status: &Status) {
        let leader = status.metadata().get(LEADER_HINT).and_then(|value| value.to_str().ok());
        *self.hint.lock() = leader.filter(|l| !l.is_empty()).map(ToOwned::to_owned);
    }

    async fn next_replica(&self) -> String {
        let mut addresses = Vec::new();
        for name in self.service.split(',') {
            let look_up = tokio::time::timeout(LOOKUP_PATIENCE, iris_net::lookup_host(name)).await;
            if let Ok(Ok(found)) = look_up {
                addresses.extend(found);
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        let mut turn = self.turn.lock();
        *turn = turn.wrapping_add(1);
        let next = addresses.get(*turn % addresses.len().max(1));
        next.map_or_else(|| self.service.clone(), ToString::to_string)
    }
}
