//! What all hosts of a world share: the models, the keys, the authorities, the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use iris_client::{Carrier, Connector, Trust};
use iris_coord::SharedCoord;
use iris_coord::memory::MemoryCoord;
use iris_core::clock::{MonoUs, Now, WallMs};
use iris_core::id::ShardCount;
use iris_core::seq::HomeGen;
use iris_dataplane::token::{SigningKeys, Tokens, VerifyingKeys};
use iris_runtime::clock::{Clock, SharedClock, millis};
use iris_runtime::local_pki::LocalPki;
use iris_runtime::tls::Role;
use iris_store::SharedStore;
use iris_store::embedded::EmbeddedStore;
use iris_testing::keys::token_keys;
use iris_testing::operator::Operator;
use tempfile::TempDir;

use crate::hosts::{CONTROLS, EDGES, PORT, names};
use crate::sky::Sky;

const SHARDS: u32 = 16;

/// The world's time: how long it has been there, for everybody on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorldClock;

/// When a world begins: now, for certificates and tokens are checked against the real time too.
pub(crate) fn epoch() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "a world has to begin sometime")]
    SystemTime::now()
}

/// How long the world has been there.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Clock for WorldClock {
    fn now(&self) -> Now {
        let wall = turmoil::since_epoch().unwrap_or_default();
        let mono = u64::try_from(elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { wall: WallMs(millis(wall)), mono: MonoUs(mono) }
    }
}

/// See the module.
pub(crate) struct Ground {
    pub(crate) store: SharedStore,
    pub(crate) coord: SharedCoord,
    /// The same, to take it down.
    pub(crate) etcd: MemoryCoord,
    pub(crate) sky: Sky,
    pub(crate) pki: LocalPki,
    pub(crate) clock: SharedClock,
    pub(crate) count: ShardCount,
    pub(crate) home_gen: HomeGen,
    pub(crate) signing: SigningKeys,
    pub(crate) tokens: Tokens,
    pub(crate) seed: u64,
    files: TempDir,
    /// Moves of shards that were committed.
    moves: AtomicU64,
    /// When people began to write, in milliseconds of the world's time; 0 before that.
    began: AtomicU64,
}

impl Ground {
    pub(crate) fn new(seed: u64) -> anyhow::Result<Self> {
        let keys = token_keys()?;
        let pki = LocalPki::new("iris", "simulated")?;
        let files = TempDir::new()?;
        std::fs::write(files.path().join("ca.crt"), pki.trust())?;
        let sky = Sky::new(seed);
        let etcd = MemoryCoord::with_clock(elapsed);
        Ok(Self {
            store: Arc::new(EmbeddedStore::simulated(sky.clone())),
            coord: Arc::new(etcd.clone()),
            etcd,
            sky,
            pki,
            clock: Arc::new(WorldClock),
            count: ShardCount::new(SHARDS)?,
            home_gen: HomeGen(0),
            signing: SigningKeys::from_pem(keys.signing.as_bytes(), &keys.kid)?,
            tokens: Tokens::new(
                "iris-simulated".to_owned(),
                VerifyingKeys::from_document(keys.jwks.into())?,
            ),
            seed,
            files,
            moves: AtomicU64::new(0),
            began: AtomicU64::new(0),
        })
    }

    /// Whoever asks the control plane for moves.
    pub(crate) fn operator(&self) -> anyhow::Result<Operator> {
        let identity = self.pki.identity(Role::Operator, "operator")?;
        let replicas = names("control", CONTROLS);
        let replicas = replicas.map(|name| (name.clone(), format!("{name}:{PORT}"))).collect();
        Ok(Operator::new(identity, replicas))
    }

    /// The way of people to the edges.
    pub(crate) fn connector(&self) -> anyhow::Result<Connector> {
        let edges = names("edge", EDGES).map(|name| format!("{name}:{PORT}").parse());
        let edges = edges.collect::<Result<Vec<_>, _>>();
        let edges = edges.map_err(|_| anyhow::anyhow!("a host's name is no edge's address"))?;
        Ok(Connector::new(edges, &Trust::File(self.files.path().join("ca.crt")), Carrier::Tls)?)
    }

    /// A shard moved.
    pub(crate) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// How many moves of shards were committed.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// People begin to write.
    pub(crate) fn begin(&self) {
        self.began.store(millis(elapsed()).max(1), Ordering::Release);
    }

    /// When people began to write, once they have.
    pub(crate) fn began(&self) -> Option<Duration> {
        match self.began.load(Ordering::Acquire) {
            0 => None,
            began => Some(Duration::from_millis(began)),
        }
    }
}
