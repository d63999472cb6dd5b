//! What all hosts of a world share: the models, the keys, the authorities, the time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use iris_client::{Carrier, Connector, Trust};
use iris_core::id::ShardCount;
use iris_core::seq::HomeGen;
use iris_dataplane::token::{SigningKeys, Tokens, VerifyingKeys};
use iris_runtime::clock::millis;
use iris_runtime::local_pki::LocalPki;
use iris_runtime::tls::Role;
use iris_store::embedded::{Access, Answer, EmbeddedStore, Fate, Weather};
use iris_testing::keys::token_keys;
use iris_testing::operator::Operator;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::hosts::{CONTROLS, EDGES, PORT, hosts, names};
use crate::machine::Machine;
use crate::sky::Sky;

const SHARDS: u32 = 16;

/// When a world begins: now, for certificates and tokens are checked against the real time too.
pub(crate) fn epoch() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "a world has to begin sometime")]
    SystemTime::now()
}

/// How long the world has been there.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// The store as nobody sees it: each host has a view of its own.
struct Nobody;

impl Weather for Nobody {
    fn elapsed(&self) -> Duration {
        elapsed()
    }

    fn fate(&self, _: Access) -> Fate {
        Fate { after: Duration::ZERO, answer: Answer::Unavailable }
    }
}

/// See the module.
pub(crate) struct Ground {
    store: EmbeddedStore,
    machines: BTreeMap<String, Arc<Machine>>,
    /// The same, by where they are.
    addresses: Mutex<BTreeMap<IpAddr, Arc<Machine>>>,
    pub(crate) etcd: Arc<Etcd>,
    pub(crate) sky: Sky,
    pub(crate) pki: LocalPki,
    pub(crate) count: ShardCount,
    pub(crate) home_gen: HomeGen,
    pub(crate) signing: SigningKeys,
    pub(crate) tokens: Tokens,
    pub(crate) seed: u64,
    files: TempDir,
    /// Moves of shards that were committed.
    moves: AtomicU64,
    /// Owners that stood still, went on and learned that they had been deposed.
    deposed: AtomicU64,
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
        let etcd = Arc::new(Etcd::new(seed));
        let store = EmbeddedStore::simulated(Nobody);
        let machine = |name| (name, Arc::new(Machine::new(&store, &etcd, &sky)));
        let machines = hosts().map(machine).collect();
        Ok(Self {
            store,
            machines,
            addresses: Mutex::default(),
            etcd,
            sky,
            pki,
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
            deposed: AtomicU64::new(0),
            began: AtomicU64::new(0),
        })
    }

    /// What a host has to itself.
    pub(crate) fn machine(&self, host: &str) -> Arc<Machine> {
        Arc::clone(self.machines.get(host).expect("every host has one"))
    }

    /// The host of this name is there.
    pub(crate) fn is_at(&self, host: &str, address: IpAddr) {
        self.addresses.lock().insert(address, self.machine(host));
    }

    /// What the host there has to itself; people have nothing.
    pub(crate) fn machine_at(&self, address: IpAddr) -> Option<Arc<Machine>> {
        self.addresses.lock().get(&address).cloned()
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

    /// An owner stood still, went on and learned that it had been deposed.
    pub(crate) fn deposed(&self) {
        self.deposed.fetch_add(1, Ordering::Relaxed);
    }

    /// How often what the hosts do themselves happened.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 5] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let store = self.store.counts().unwrap_or_default();
        [
            ("a shard moved", load(&self.moves)),
            ("an owner that stood still went on deposed", load(&self.deposed)),
            ("a block of a fenced owner arrived", load(&store.late_blocks)),
            ("a flush was torn", load(&store.torn_flushes)),
            ("an ownership was read that was old", load(&store.old_reads)),
        ]
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
