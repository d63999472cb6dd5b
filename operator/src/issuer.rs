//! The issuer: pods prove who they are by a projected token and get a certificate of their cluster.
//! Every replica serves it, the leader or not.
//!
//! Nothing that a pod says about itself is believed: its cluster, role and name come from the token
//! that the API server checks, and from the region that its service account belongs to.

mod review;

use std::sync::Arc;
use std::time::Duration;

use iris_crds::IrisRegion;
use iris_net::TcpListener;
use iris_proto::issuer::issuer_server::{Issuer, IssuerServer};
use iris_proto::issuer::{IssueReply, IssueRequest};
use iris_runtime::clock::SharedClock;
use iris_runtime::metrics::Metrics;
use iris_runtime::rpc;
use iris_runtime::task::Tasks;
use iris_runtime::tls::{self, PeerName};
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use prometheus::IntCounterVec;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::keyring::Keyring;
use crate::names;
use crate::pki::leaf;
use review::Holder;

/// Requests that are being answered at once; more wait.
const CONCURRENT_MAX: usize = 32;
/// How long one waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// A token is no longer than this.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Answers pods.
#[derive(Clone)]
pub struct IssuerService {
    client: Client,
    keyring: Keyring,
    clock: SharedClock,
    turns: Arc<Semaphore>,
    answers: IntCounterVec,
}

impl IssuerService {
    /// With a client that may review tokens and read regions.
    pub fn new(client: Client, keyring: Keyring, clock: SharedClock, metrics: &Metrics) -> Self {
        let answers = metrics.counters(
            "iris_operator_issuer_answers_total",
            "Requests for certificates, by answer",
            &["answer"],
        );
        Self { client, keyring, clock, turns: Arc::new(Semaphore::new(CONCURRENT_MAX)), answers }
    }

    /// Serves until the tasks stop.
    pub fn serve(self, listener: TcpListener, tasks: &Tasks) -> Result<(), rustls::Error> {
        let resolver = Arc::new(ByName(self.keyring.clone()));
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let incoming = rpc::incoming_from_anyone(listener, Arc::new(config), tasks);
        let stopped = tasks.clone();
        tasks.spawn_critical("issuer", async move {
            let served = rpc::server()
                .add_service(IssuerServer::new(self).max_decoding_message_size(64 * 1024))
                .serve_with_incoming_shutdown(incoming, async move { stopped.stopped().await });
            if let Err(error) = served.await {
                tracing::error!(error = %rpc::chain(&error), "the issuer ended");
            }
        });
        Ok(())
    }

    async fn answer(&self, request: IssueRequest) -> Result<IssueReply, Status> {
        if request.token.len() > TOKEN_BYTES_MAX {
            return Err(Status::invalid_argument("the token is too long"));
        }
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Status::resource_exhausted("too many requests at once; try again"));
        };
        let cluster = (request.namespace.clone(), request.cluster.clone());
        let entry = self.keyring.entry(&cluster).ok_or_else(|| {
            let (namespace, name) = &cluster;
            Status::unavailable(format!("cluster {namespace}/{name} has no authority yet"))
        })?;
        let holder = review::review(&self.client, &request.token).await?;
        let name = self.name_of(&request, &holder).await?;
        let dns = [dns_of(&holder)];
        let now_s = self.clock.now().wall.0 / 1000;
        let issued =
            leaf::certify(&entry.authority, &name, &dns, &request.csr, entry.leaf_s, now_s);
        let issued = issued.map_err(|error| match error {
            crate::pki::PkiError::Request(why) => Status::invalid_argument(why),
            other => Status::internal(other.to_string()),
        })?;
        tracing::info!(%name, pod_uid = holder.pod_uid, until_s = issued.not_after_s, "certificate issued");
        Ok(IssueReply {
            chain: issued.certificate,
            trust: entry.authority.bundle(),
            not_after_s: issued.not_after_s,
        })
    }

    /// The name that the holder of a token has in the cluster that it asks for; a refusal if it has none.
    async fn name_of(&self, request: &IssueRequest, holder: &Holder) -> Result<PeerName, Status> {
        let (namespace, account) = (&holder.namespace, &holder.service_account);
        let denied = |why: String| {
            tracing::warn!(namespace, account, pod = holder.pod, why, "no certificate");
            Status::permission_denied(why)
        };
        if *namespace != request.namespace {
            return Err(denied(format!(
                "a pod of namespace {namespace} has no place in another's cluster"
            )));
        }
        let Some((region, role)) = names::of_service_account(account) else {
            return Err(denied(format!("service account {account} stands for no role")));
        };
        let api: Api<DeserializeGuard<IrisRegion>> =
            Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(region).await.map_err(|error| {
            Status::unavailable(format!("cannot read region {region}: {}", rpc::chain(&error)))
        })?;
        let Some(found) = found.and_then(|guard| guard.0.ok()) else {
            return Err(denied(format!("there is no IrisRegion {namespace}/{region}")));
        };
        if found.spec.cluster_ref.name != request.cluster {
            let cluster = &request.cluster;
            return Err(denied(format!("region {region} is not of cluster {cluster}")));
        }
        Ok(PeerName {
            namespace: namespace.clone(),
            cluster: request.cluster.clone(),
            role,
            pod: holder.pod.clone(),
        })
    }
}

fn dns_of(holder: &Holder) -> String {
    let Holder { namespace, service_account, pod, .. } = holder;
    format!("{pod}.{service_account}.{namespace}.svc")
}

#[tonic::async_trait]
impl Issuer for IssuerService {
    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueReply>, Status> {
        let answer = self.answer(request.into_inner()).await;
        let label = match &answer {
            Ok(_) => "issued".to_owned(),
            Err(status) => format!("{:?}", status.code()),
        };
        self.answers.with_label_values(&[label.as_str()]).inc();
        answer.map(Response::new)
    }
}

/// Shows the certificate of the cluster that is asked for; none to who asks for none.
#[derive(Clone)]
struct ByName(Keyring);

impl std::fmt::Debug for ByName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ByName({} clusters)", self.0.len())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.certificate_for(hello.server_name()?)
    }
}
