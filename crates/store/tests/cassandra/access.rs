//! Passwords, TLS in both directions, and a Cassandra that is unfit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use iris_store::cassandra::{
    CassandraConfig, CassandraStore, SCHEMA_VERSION, migrate, schema_version,
};
use iris_store::{HealthStore as _, LogStore as _, StoreError};
use iris_testing::{Cassandra, CassandraOptions, CommitLog, Paxos, ServerTls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, and its key.
fn leaf(authority: &Authority, name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn tls_files(trust: &Authority, own: Option<&(String, String)>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ca.crt"), trust.pem()).unwrap();
    if let Some((certificate, key)) = own {
        fs::write(directory.path().join("tls.crt"), certificate).unwrap();
        fs::write(directory.path().join("tls.key"), key).unwrap();
    }
    directory
}

fn credentials(username: &str, password: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    // A Secret's file often ends with a newline.
    fs::write(directory.path().join("username"), format!("{username}\n")).unwrap();
    fs::write(directory.path().join("password"), password).unwrap();
    directory
}

/// A node that wants passwords and certificates, and is as careless as Cassandra is by default.
struct Guarded {
    node: Cassandra,
    servers: Authority,
    own: (String, String),
}

impl Guarded {
    async fn start() -> Self {
        let (servers, clients) = (authority("servers"), authority("clients"));
        // The name of a service, as many nodes have it, and no address.
        let (certificate, key) = leaf(&servers, "localhost");
        let tls =
            ServerTls { key_and_chain: format!("{key}{certificate}"), clients: clients.pem() };
        let options = CassandraOptions {
            commit_log: CommitLog::Periodic,
            paxos: Paxos::V1,
            passwords: true,
            tls: Some(tls),
            ..CassandraOptions::default()
        };
        let node = Cassandra::start(options).await.unwrap();
        let own = leaf(&clients, "iris");
        Self { node, servers, own }
    }

    fn config(&self, tls: &Path, credentials: &Path) -> CassandraConfig {
        let port = self.node.contact_point().rsplit_once(':').unwrap().1.to_owned();
        CassandraConfig {
            contact_points: vec![format!("localhost:{port}")],
            tls_path: Some(tls.to_owned()),
            credentials_path: Some(credentials.to_owned()),
            ..self.node.config("guarded")
        }
    }
}

/// Cassandra makes its first role some time after it listens.
async fn wait_for_the_first_role(config: &CassandraConfig) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = schema_version(config).await {
        assert!(Instant::now() < deadline, "{error:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

fn denied<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Denied(_))), "{answer:?}");
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_cassandra_lets_in_whom_it_should_and_a_careless_one_is_unfit() {
    let guarded = Guarded::start().await;
    let tls = tls_files(&guarded.servers, Some(&guarded.own));
    let born = credentials("cassandra", "cassandra");
    let config = guarded.config(tls.path(), born.path());
    wait_for_the_first_role(&config).await;
    migrate(&config, &guarded.node.may_create(), |_| {}).await.unwrap();
    let store = CassandraStore::connect(&config).await.unwrap();
    let session = iris_core::id::SessionId::from_random([1; 16]);
    store.fence(session, session).await.unwrap();

    it_is_unfit(&store).await;
    passwords_are_checked(&guarded, tls.path()).await;
    certificates_are_checked(&guarded, born.path()).await;
}

async fn it_is_unfit(store: &CassandraStore) {
    let report = store.report().await.unwrap();
    assert_eq!(report.unfit.len(), 2, "{report:?}");
    assert!(report.unfit[0].contains("set commitlog_sync to batch or group"), "{report:?}");
    assert!(report.unfit[1].contains("set paxos_variant to v2"), "{report:?}");
    assert_eq!((report.replication, report.schema), (1, SCHEMA_VERSION));
    assert!(report.version.starts_with("5.0"), "{report:?}");
}

async fn passwords_are_checked(guarded: &Guarded, tls: &Path) {
    let wrong = credentials("cassandra", "guess");
    denied(schema_version(&guarded.config(tls, wrong.path())).await);
    let nobody = tempfile::tempdir().unwrap();
    denied(schema_version(&guarded.config(tls, nobody.path())).await);
    let anonymous =
        CassandraConfig { credentials_path: None, ..guarded.config(tls, nobody.path()) };
    denied(schema_version(&anonymous).await);

    // Rotated: the files are read at every new connection.
    fs::write(wrong.path().join("password"), "cassandra\n").unwrap();
    schema_version(&guarded.config(tls, wrong.path())).await.unwrap();
}

async fn certificates_are_checked(guarded: &Guarded, credentials: &Path) {
    let own = Some(&guarded.own);
    let strangers = authority("strangers");
    let distrusting = tls_files(&strangers, own);
    unavailable(schema_version(&guarded.config(distrusting.path(), credentials)).await);

    let good = tls_files(&guarded.servers, own);
    let by_address = CassandraConfig {
        contact_points: vec![guarded.node.contact_point()],
        ..guarded.config(good.path(), credentials)
    };
    unavailable(schema_version(&by_address).await);
    let plain = CassandraConfig { tls_path: None, ..guarded.config(good.path(), credentials) };
    unavailable(schema_version(&plain).await);

    let without = tls_files(&guarded.servers, None);
    denied(schema_version(&guarded.config(without.path(), credentials)).await);
    let foreign = leaf(&strangers, "iris");
    let stranger = tls_files(&guarded.servers, Some(&foreign));
    denied(schema_version(&guarded.config(stranger.path(), credentials)).await);

    let empty = tempfile::tempdir().unwrap();
    denied(schema_version(&guarded.config(empty.path(), credentials)).await);
}
