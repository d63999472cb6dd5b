//! The cluster that the tests share, one at a time.

use std::ops::Deref;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use xtask::cluster::Cluster;

pub(crate) use xtask::cluster::NAMESPACE;

/// What a fault broke is whole again within this time.
const HEALING: Duration = Duration::from_secs(180);

static ALONE: Mutex<()> = Mutex::new(());

/// The cluster, whole, and for one test alone.
pub(crate) struct Stage {
    cluster: Cluster,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// Waits for its turn and for the cluster to be whole.
    pub(crate) fn enter() -> Self {
        let alone = ALONE.lock();
        let cluster = Cluster::load().unwrap();
        let stage = Self { cluster, _alone: alone };
        stage.healed();
        stage
    }

    /// Ends every fault, and waits until every part of Iris is ready again.
    pub(crate) fn healed(&self) {
        self.cluster.heal_all().unwrap();
        self.cluster.await_api(HEALING).unwrap();
        let ready = "condition=Ready";
        let deadline = Instant::now() + HEALING;
        for what in ["pod/cassandra-0", "pod/etcd-0"] {
            self.cluster.wait(NAMESPACE, what, ready, HEALING).unwrap();
        }
        loop {
            match self.whole() {
                Ok(()) => return,
                Err(why) => assert!(Instant::now() < deadline, "not whole: {why}"),
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn whole(&self) -> Result<(), String> {
        for role in ["owner", "edge", "controlplane"] {
            let selector = format!("iris.dev/role={role}");
            let path = "{range .items[*]}{.metadata.name} {.metadata.deletionTimestamp} \
                        {.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}";
            let path = format!("-o=jsonpath={path}");
            let get = ["-n", NAMESPACE, "get", "pods", "-l", &selector, &path];
            let pods = self.cluster.kubectl(get).map_err(|error| error.to_string())?;
            let wrong: Vec<_> =
                pods.lines().filter(|line| !line.trim_end().ends_with("True")).collect();
            if pods.trim().is_empty() || !wrong.is_empty() {
                return Err(format!("{role}: {wrong:?}"));
            }
        }
        let path = "-o=jsonpath={.status.conditions[?(@.type=='Covered')].status}";
        let map = self.cluster.kubectl(["-n", NAMESPACE, "get", "irisshardmap", "eu", path]);
        let map = map.map_err(|error| error.to_string())?;
        if map.trim() == "True" { Ok(()) } else { Err("not every shard is served".to_owned()) }
    }

    /// The names of the operator's pods.
    pub(crate) fn operators(&self) -> Vec<String> {
        let get = ["-n", "iris-system", "get", "pods", "-o=name"];
        let names = self.cluster.kubectl(get).unwrap();
        names.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect()
    }
}

impl Deref for Stage {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

pub(crate) fn pause(seconds: f64) {
    #[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
    std::thread::sleep(Duration::from_secs_f64(seconds));
}
