//! The operator in a namespace of a test, with the rights of its chart, and what people do there.

use std::fmt::Debug;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use iris_crds::conditions::{self, Condition};
use iris_net::TcpListener;
use iris_operator::context::BuiltIn;
use iris_operator::hub::Scope;
use iris_operator::leader::Election;
use iris_operator::replica::{Options, Replica};
use iris_operator::status::Reported;
use iris_runtime::clock::SystemClock;
use iris_runtime::task::Tasks;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{NamespaceResourceScope, TypeMeta};
use kube::discovery::ApiResource;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::server::{Server, eventually, repository, server};

/// What the operator does by itself takes no longer: it looks at what is missing every 15 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// A namespace with an operator that looks after it.
pub struct World {
    pub namespace: String,
    pub admin: Client,
    pub control: Arc<ControlPlane>,
    pub issuer: String,
    tasks: Tasks,
    replica: Replica,
}

impl World {
    /// A namespace of this name, with an operator.
    pub async fn new(name: &str) -> Self {
        let server = server().await;
        let namespace = server.namespace(name).await;
        let admin = server.admin();
        let control = Arc::new(ControlPlane::new(64));
        let tasks = Tasks::new();
        let token = rights(server, &namespace).await;
        let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer_address = issuer.local_addr().unwrap().to_string();
        let options = Options {
            api_server: server.config(&token),
            pod: "iris-operator-0".to_owned(),
            election: Election::new(&namespace, "iris-operator-0"),
            scope: Scope::Namespace(namespace.clone()),
            built_in: BuiltIn {
                namespace: namespace.clone(),
                pod_label: ("app.kubernetes.io/name".to_owned(), "iris-operator".to_owned()),
                issuer: issuer_address.clone(),
                dataplane: "dataplane:1".to_owned(),
                control_plane: "controlplane:1".to_owned(),
            },
            directory: Arc::clone(&control) as _,
            clock: SystemClock::shared(),
            admin: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            issuer,
        };
        let replica = Replica::start(options, &tasks).unwrap();
        Self { namespace, admin, control, issuer: issuer_address, tasks, replica }
    }

    /// The cluster of the quickstart, with all the Secrets that it needs, and a control plane that
    /// answers. Its pods are never made.
    pub async fn with_quickstart(name: &str) -> Self {
        let world = Self::new(name).await;
        world.secret("cassandra", &["username", "password"]).await;
        world.secret("etcd-client-tls", &["ca.crt", "tls.crt", "tls.key"]).await;
        world.apply_quickstart().await;
        world.serve_control_plane().await;
        world
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// What `kubectl apply -f manifests/quickstart.yaml` does, in this namespace.
    pub async fn apply_quickstart(&self) {
        let text = std::fs::read_to_string(repository("manifests/quickstart.yaml")).unwrap();
        self.apply(&text).await;
    }

    /// Applies every object of a text in this namespace.
    pub async fn apply(&self, text: &str) {
        for document in text.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            apply(&self.admin, object, &self.namespace).await;
        }
    }

    pub async fn secret(&self, name: &str, keys: &[&str]) {
        let data: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), json!("c2VjcmV0"))).collect();
        let secret = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}));
        let api: Api<Secret> = self.api();
        api.create(&PostParams::default(), &secret.unwrap()).await.unwrap();
    }

    /// Lets the region's control plane answer, as a pod with a certificate of the cluster would.
    pub async fn serve_control_plane(&self) {
        let secret = self.there::<Secret>("chat-ca").await;
        self.control.serve(&self.namespace, &secret, &self.tasks).await;
    }

    /// Waits for an object.
    pub async fn there<K>(&self, name: &str) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api: Api<K> = self.api();
        let what = format!("{} {name}", K::kind(&()));
        eventually(&what, PATIENCE, async || api.get_opt(name).await.unwrap()).await
    }

    /// Waits until an object is as wanted.
    pub async fn until<K: Reported>(
        &self,
        name: &str,
        what: &str,
        mut as_wanted: impl FnMut(&K) -> bool,
    ) -> K {
        let api: Api<K> = self.api();
        let mut last = None;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = api.get_opt(name).await.unwrap() {
                if as_wanted(&found) {
                    return found;
                }
                last = Some(found);
            }
            if tokio::time::Instant::now() > deadline {
                let status = last.as_ref().and_then(Reported::status);
                let status = serde_json::to_string_pretty(&status).unwrap();
                panic!("{} {name} is not as wanted: {what}\n{status}", K::kind(&()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a condition is so, with these words in its reason or message.
    pub async fn condition<K: Reported>(
        &self,
        name: &str,
        kind: &str,
        status: conditions::State,
        words: &[&str],
    ) -> Condition {
        let what = format!("{kind} {status:?} with {words:?}");
        let found = self
            .until(name, &what, |object: &K| {
                let list = object.status().map(K::conditions).unwrap_or_default();
                conditions::find(list, kind).is_some_and(|condition| {
                    let text = format!("{} {}", condition.reason, condition.message);
                    condition.status == status && words.iter().all(|word| text.contains(word))
                })
            })
            .await;
        let list = found.status().map(K::conditions).unwrap_or_default();
        conditions::find(list, kind).unwrap().clone()
    }

    /// Changes an object as people do.
    pub async fn patch<K>(&self, name: &str, patch: Value) -> Result<K, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Reports as a kubelet or a controller would.
    pub async fn report<K>(&self, name: &str, status: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn end(self) {
        self.replica.stop(&self.tasks).await;
    }
}

async fn apply(admin: &Client, object: Value, namespace: &str) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let types = TypeMeta { api_version: text(&object["apiVersion"]), kind: kind.clone() };
    let gvk = kube::core::GroupVersionKind::gvk(group, version, &types.kind);
    let resource = ApiResource::from_gvk(&gvk);
    let cluster_wide = ["ClusterRole", "ClusterRoleBinding"].contains(&kind.as_str());
    let api: Api<DynamicObject> = if cluster_wide {
        Api::all_with(admin.clone(), &resource)
    } else {
        Api::namespaced_with(admin.clone(), namespace, &resource)
    };
    let name = text(&object["metadata"]["name"]);
    let mut object = object;
    if !cluster_wide {
        object["metadata"]["namespace"] = namespace.into();
    }
    let params = PatchParams::apply("people").force();
    api.patch(&name, &params, &Patch::Apply(object)).await.unwrap();
}

/// Installs the chart as Helm renders it, and gives a token of the operator's service account.
async fn rights(server: &Server, namespace: &str) -> String {
    let admin = server.admin();
    let rendered = Command::new(xtask::programs::helm().unwrap())
        .args(["template", "iris"])
        .arg(repository("charts/iris"))
        .args(["--namespace", namespace, "--kube-version", "1.34.0"])
        .args(["--set", &format!("watchNamespace={namespace}")])
        .output()
        .unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let text = String::from_utf8(rendered.stdout).unwrap();
    for document in text.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document.trim_start_matches("---\n")).unwrap();
        if object.is_object() {
            apply(&admin, object, namespace).await;
        }
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, namespace);
    let request = TokenRequest::default();
    let params = PostParams::default();
    let token = accounts.create_token_request("iris-operator", &params, &request).await.unwrap();
    token.status.unwrap().token
}
