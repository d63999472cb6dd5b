//! How edges are reached: addresses, trust, carrier. One for a process, however many clients it has.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::error::ClientError;
use crate::net::{Configs, EdgeAddr, Trust};

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carrier {
    /// TLS, directly.
    #[default]
    Tls,
    /// A WebSocket, where nothing else gets through.
    WebSocket,
}

/// See the module. Cloned cheaply.
#[derive(Debug, Clone)]
pub struct Connector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    edges: Vec<EdgeAddr>,
    configs: Configs,
    carrier: Carrier,
    tasks: TaskTracker,
}

impl Connector {
    /// For these edges.
    ///
    /// # Errors
    /// When there is no edge, or nobody to trust.
    pub fn new(edges: Vec<EdgeAddr>, trust: &Trust, carrier: Carrier) -> Result<Self, ClientError> {
        if edges.is_empty() {
            return Err(ClientError::Config("no server is named".to_owned()));
        }
        let configs = Configs::new(trust)?;
        Ok(Self(Arc::new(Inner { edges, configs, carrier, tasks: TaskTracker::new() })))
    }

    /// The edges.
    pub fn edges(&self) -> &[EdgeAddr] {
        &self.0.edges
    }

    /// The TLS settings for frames, for tools that speak iris/1 by themselves.
    pub fn frames_config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.0.configs.frames)
    }

    /// Waits until every client of this connector has ended; close or drop them first.
    pub async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn configs(&self) -> &Configs {
        &self.0.configs
    }

    pub(crate) fn carrier(&self) -> Carrier {
        self.0.carrier
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn shuffled_edges(&self) -> Vec<EdgeAddr> {
        let mut edges = self.0.edges.clone();
        fastrand::shuffle(&mut edges);
        edges
    }
}
