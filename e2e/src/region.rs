//! A region in one process: control plane replicas, owners and edges, with real sockets, mutual TLS and
//! tokens between them. Each part can be started, ended and killed by itself.

mod control;
mod parts;
mod relay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use iris_client::{Carrier, Connector, Trust};
use iris_coord::SharedCoord;
use iris_core::group::Sizes;
use iris_core::id::ShardCount;
use iris_core::rate::Rates;
use iris_core::shard::Policy;
use iris_dataplane::token::{SigningKeys, Tokens, VerifyingKeys};
use iris_runtime::clock::{SharedClock, SystemClock};
use iris_runtime::local_pki::LocalPki;
use iris_runtime::tls::Role;
use iris_store::SharedStore;
use iris_testing::keys;
use iris_testing::operator::Operator;
use tempfile::TempDir;

pub use control::ControlReplica;
pub use parts::{EdgePart, OwnerPart};
pub use relay::Relay;

/// What a region is made of.
#[derive(Clone)]
pub struct Shape {
    /// A power of two.
    pub shards: u32,
    /// Owners at the start.
    pub owners: u32,
    /// Edges at the start.
    pub edges: u32,
    /// Control plane replicas.
    pub control: u32,
    /// Lanes of each owner.
    pub lanes: u8,
    /// Whether delivered messages are kept.
    pub history: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self { shards: 16, owners: 2, edges: 2, control: 1, lanes: 2, history: true }
    }
}

/// See the module.
pub struct Region {
    /// What it was made of.
    pub shape: Shape,
    /// Its database.
    pub store: SharedStore,
    /// Its coordination.
    pub coord: SharedCoord,
    /// Its control plane.
    pub control: Vec<ControlReplica>,
    /// Its owners, those that ended too.
    pub owners: Vec<OwnerPart>,
    /// Its edges.
    pub edges: Vec<EdgePart>,
    pki: LocalPki,
    clock: SharedClock,
    count: ShardCount,
    signing: SigningKeys,
    tokens: Tokens,
    ca: PathBuf,
    _files: TempDir,
}

impl Region {
    /// Starts everything; it may take a moment until every shard is served.
    pub async fn start(
        shape: Shape,
        store: SharedStore,
        coord: SharedCoord,
    ) -> anyhow::Result<Self> {
        let files = TempDir::new()?;
        let pki = LocalPki::new("iris", "test")?;
        let ca = files.path().join("ca.crt");
        std::fs::write(&ca, pki.trust())?;
        let keys = keys::token_keys()?;
        let verifying = VerifyingKeys::from_document(keys.jwks.into())?;
        let mut region = Self {
            count: ShardCount::new(shape.shards)?,
            signing: SigningKeys::from_pem(keys.signing.as_bytes(), &keys.kid)?,
            tokens: Tokens::new("iris-test".to_owned(), verifying),
            clock: SystemClock::shared(),
            control: Vec::new(),
            owners: Vec::new(),
            edges: Vec::new(),
            shape,
            store,
            coord,
            pki,
            ca,
            _files: files,
        };
        for n in 0..region.shape.control {
            region.start_control(&format!("control-{n}")).await?;
        }
        for n in 0..region.shape.owners {
            region.start_owner(&format!("owner-{n}")).await?;
        }
        for n in 0..region.shape.edges {
            region.start_edge(&format!("edge-{n}")).await?;
        }
        Ok(region)
    }

    /// Where the control plane is, for those who look for it.
    fn control_service(&self) -> String {
        let addresses: Vec<_> =
            self.control.iter().map(|replica| replica.address.as_str()).collect();
        addresses.join(",")
    }

    /// A connector to every edge, as a client outside would have.
    pub fn connector(&self) -> anyhow::Result<Connector> {
        let edges = self.edges.iter().map(|edge| edge.address.parse());
        let edges = edges.collect::<Result<Vec<_>, _>>().ok().context("edge addresses")?;
        Ok(Connector::new(edges, &Trust::File(self.ca.clone()), Carrier::Tls)?)
    }

    /// A connector to one edge.
    pub fn connector_to(&self, edge: usize, carrier: Carrier) -> anyhow::Result<Connector> {
        let address = self.edges[edge].address.parse().ok().context("edge address")?;
        Ok(Connector::new(vec![address], &Trust::File(self.ca.clone()), carrier)?)
    }

    /// The file with the authority that signs what clients are shown.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Whoever asks the control plane for moves.
    ///
    /// # Panics
    /// When no certificate can be made.
    #[expect(clippy::expect_used, reason = "a test's authority signs what the test asks for")]
    pub fn operator(&self) -> Operator {
        let identity = self.pki.identity(Role::Operator, "operator");
        let replicas = self.control.iter();
        let replicas = replicas.map(|replica| (replica.pod.clone(), replica.address.clone()));
        Operator::new(identity.expect("an operator's certificate"), replicas.collect())
    }

    /// What holds for all shards.
    fn policy(&self) -> Policy {
        Policy { history: self.shape.history, rates: Rates::default(), groups: Sizes::default() }
    }

    /// Ends everything at once.
    pub async fn stop(self) {
        for edge in &self.edges {
            edge.kill().await;
        }
        for owner in &self.owners {
            owner.kill().await;
        }
        for control in &self.control {
            control.kill().await;
        }
    }

    fn shared<T: ?Sized>(value: &Arc<T>) -> Arc<T> {
        Arc::clone(value)
    }
}
