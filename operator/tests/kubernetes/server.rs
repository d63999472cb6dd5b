//! A Kubernetes without nodes: etcd, an API server, and the controller that removes what has lost its
//! owner. One for all tests of this program; each test has a namespace of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use iris_crds::generate;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Config, ResourceExt};
use serde_json::json;

const ADMIN: &str = "the-admin-of-the-test";

/// The API server.
pub struct Server {
    pub url: String,
    _files: tempfile::TempDir,
}

/// The server, which the first test starts.
pub async fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    iris_runtime::telemetry::init(iris_runtime::telemetry::LogFormat::Text);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Server::start)).await.unwrap();
    server.ready().await;
    server
}

impl Server {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name).display().to_string();
        let (etcd_client, etcd_peer, api) = (free_port(), free_port(), free_port());
        let kube = xtask::programs::kubernetes().unwrap();
        let etcd = format!("http://127.0.0.1:{etcd_client}");
        let peer = format!("http://127.0.0.1:{etcd_peer}");
        keep(
            &xtask::programs::etcd().unwrap(),
            &[
                format!("--data-dir={}", at("etcd")),
                format!("--listen-client-urls={etcd}"),
                format!("--advertise-client-urls={etcd}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=error".to_owned(),
            ],
            files.path(),
            "etcd",
        );
        fs::write(at("tokens.csv"), format!("{ADMIN},admin,admin,system:masters\n")).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(at("accounts.key"), key.serialize_pem()).unwrap();
        fs::write(at("accounts.pub"), key.public_key_pem()).unwrap();
        let url = format!("https://127.0.0.1:{api}");
        keep(
            &kube,
            &[
                "kube-apiserver".to_owned(),
                format!("--etcd-servers={etcd}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={api}"),
                format!("--cert-dir={}", at("certs")),
                format!("--token-auth-file={}", at("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
                "--anonymous-auth=false".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", at("accounts.pub")),
                format!("--service-account-signing-key-file={}", at("accounts.key")),
                "--profiling=false".to_owned(),
            ],
            files.path(),
            "kube-apiserver",
        );
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": true}}],
            "users": [{"name": "admin", "user": {"token": ADMIN}}],
        });
        fs::write(at("kubeconfig"), config.to_string()).unwrap();
        keep(
            &kube,
            &[
                "kube-controller-manager".to_owned(),
                format!("--kubeconfig={}", at("kubeconfig")),
                "--controllers=garbage-collector-controller".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ],
            files.path(),
            "kube-controller-manager",
        );
        Self { url, _files: files }
    }

    /// The way in with a token.
    pub fn config(&self, token: &str) -> Config {
        let mut config = Config::new(self.url.parse().unwrap());
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(token.to_owned().into());
        config
    }

    /// The administrator's.
    pub fn admin(&self) -> Client {
        Client::try_from(self.config(ADMIN)).unwrap()
    }

    /// Waits until it answers, and has the definitions.
    async fn ready(&self) {
        let admin = self.admin();
        eventually("the API server answers", Duration::from_secs(60), async || {
            let namespaces: Api<Namespace> = Api::all(admin.clone());
            namespaces.get("default").await.ok()
        })
        .await;
        let api: Api<CustomResourceDefinition> = Api::all(admin);
        for definition in generate::definitions().unwrap() {
            let params = PatchParams::apply("test").force();
            api.patch(&definition.name_any(), &params, &Patch::Apply(&definition)).await.unwrap();
        }
        for definition in generate::definitions().unwrap() {
            eventually("a definition is established", Duration::from_secs(20), async || {
                let found = api.get(&definition.name_any()).await.ok()?;
                let list = found.status?.conditions?;
                list.iter()
                    .any(|one| one.type_ == "Established" && one.status == "True")
                    .then_some(())
            })
            .await;
        }
    }

    /// A namespace in which only pods of the strictest standard are admitted.
    pub async fn namespace(&self, name: &str) -> String {
        let namespace = json!({"metadata": {
            "name": name,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }});
        let api: Api<Namespace> = Api::all(self.admin());
        let namespace = serde_json::from_value(namespace).unwrap();
        api.create(&PostParams::default(), &namespace).await.unwrap();
        name.to_owned()
    }
}

/// Runs a program until this one ends, however it ends.
fn keep(program: &Path, args: &[String], logs: &Path, name: &str) {
    let log = fs::File::create(logs.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(args);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let (started, is_started) = std::sync::mpsc::channel();
    // The signal comes when the thread that started the program ends, so this one waits for ever.
    std::thread::spawn(move || {
        let mut child = command.spawn().unwrap();
        started.send(()).unwrap();
        let ended = child.wait();
        panic!("a program of the test ended: {ended:?}; see its log");
    });
    is_started.recv().unwrap();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tries until there is something, or panics after `patience`.
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
