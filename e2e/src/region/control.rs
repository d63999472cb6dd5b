//! Control plane replicas of a region in one process.

use iris_controlplane::leader::Deps;
use iris_controlplane::metrics::ControlMetrics;
use iris_controlplane::replica::{Replica, ReplicaConfig};
use iris_core::seq::HomeGen;
use iris_net::TcpListener;
use iris_runtime::admin::Health;
use iris_runtime::metrics::Metrics;
use iris_runtime::task::Tasks;
use iris_runtime::tls::Role;

use super::Region;

/// A replica.
pub struct ControlReplica {
    /// Its pod's name.
    pub pod: String,
    /// Where it is reached.
    pub address: String,
    /// What it counts.
    pub metrics: Metrics,
    replica: Replica,
}

impl Region {
    /// Starts one more replica, at an address of its own.
    pub async fn start_control(&mut self, pod: &str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let metrics = Metrics::new();
        let deps = Deps {
            count: self.count,
            home_gen: HomeGen(0),
            expected_owners: self.shape.owners,
            development: true,
            coord: Self::shared(&self.coord),
            store: Self::shared(&self.store),
            clock: Self::shared(&self.clock),
            identity: self.pki.identity(Role::ControlPlane, pod)?,
            metrics: ControlMetrics::new(&metrics),
        };
        let config = ReplicaConfig { pod: pod.to_owned(), address: address.clone() };
        let replica = Replica::start(config, deps, (listener, &Health::new()), &Tasks::new())?;
        self.control.push(ControlReplica { pod: pod.to_owned(), address, metrics, replica });
        Ok(())
    }
}

impl ControlReplica {
    /// Ends it without a word, as a kill would.
    pub async fn kill(&self) {
        self.replica.stop().await;
    }

    /// Has it give its leadership up and ends it.
    pub async fn end(self) {
        self.replica.leave().await;
    }
}
