//! Pods talk to pods of their own cluster and of the role that they look for, and to nobody else.

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use iris_net::TcpListener;
use iris_proto::issuer::issuer_client::IssuerClient;
use iris_proto::issuer::issuer_server::{Issuer, IssuerServer};
use iris_proto::issuer::{IssueReply, IssueRequest};
use iris_runtime::local_pki::LocalPki;
use iris_runtime::rpc::{self, RpcError};
use iris_runtime::task::Tasks;
use iris_runtime::tls::{Identity, Role};
use tonic::{Code, Request, Response, Status};

/// Answers owners with their pod's name, and nobody else.
struct OwnersOnly;

#[tonic::async_trait]
impl Issuer for OwnersOnly {
    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueReply>, Status> {
        let peer = rpc::require_role(&request, &[Role::Owner])?;
        Ok(Response::new(IssueReply { chain: peer.pod, ..IssueReply::default() }))
    }
}

async fn serve(identity: &Identity, tasks: &Tasks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = rpc::incoming(listener, identity, tasks).unwrap();
    let server = rpc::server().add_service(IssuerServer::new(OwnersOnly));
    tasks.spawn("server", async move { server.serve_with_incoming(incoming).await.unwrap() });
    address
}

async fn call(identity: &Identity, role: Role, address: &str) -> Result<String, String> {
    let channel = rpc::connect(identity, role, address).await;
    let channel = channel.map_err(|error: RpcError| format!("connect: {error}"))?;
    match IssuerClient::new(channel).issue(IssueRequest::default()).await {
        Ok(reply) => Ok(reply.into_inner().chain),
        Err(status) if status.code() == Code::PermissionDenied => Err("denied".to_owned()),
        Err(status) => Err(format!("call: {status}")),
    }
}

#[tokio::test]
async fn roles_and_clusters_are_kept_apart() {
    let tasks = Tasks::new();
    let pki = LocalPki::new("iris", "chat").unwrap();
    let address = serve(&pki.identity(Role::ControlPlane, "cp-0").unwrap(), &tasks).await;
    let owner = pki.identity(Role::Owner, "owner-7").unwrap();
    assert_eq!(call(&owner, Role::ControlPlane, &address).await, Ok("owner-7".to_owned()));
    // A valid certificate of another role is let in and may do nothing.
    let edge = pki.identity(Role::Edge, "edge-1").unwrap();
    assert_eq!(call(&edge, Role::ControlPlane, &address).await, Err("denied".to_owned()));
    // A server of another role than the one looked for is refused by the client.
    let refused = call(&owner, Role::Owner, &address).await.unwrap_err();
    assert!(refused.starts_with("connect:"), "{refused}");
    // So is a server of another CA, and a client of one by the server.
    let other_ca = LocalPki::new("iris", "chat").unwrap().identity(Role::Owner, "owner-7").unwrap();
    assert!(call(&other_ca, Role::ControlPlane, &address).await.is_err());
    tasks.stop();
}

#[tokio::test]
async fn another_cluster_of_the_same_authority_is_refused() {
    let tasks = Tasks::new();
    let pki = LocalPki::new("iris", "chat").unwrap();
    let address = serve(&pki.identity(Role::ControlPlane, "cp-0").unwrap(), &tasks).await;
    let stranger = pki.identity_of("iris", "other", Role::Owner, "owner-7").unwrap();
    assert!(call(&stranger, Role::ControlPlane, &address).await.is_err());
    tasks.stop();
}

#[tokio::test]
async fn a_replaced_identity_serves_new_connections_and_keeps_the_old_ones() {
    let tasks = Tasks::new();
    let pki = LocalPki::new("iris", "chat").unwrap();
    let server = pki.identity(Role::ControlPlane, "cp-0").unwrap();
    let address = serve(&server, &tasks).await;
    let owner = pki.identity(Role::Owner, "owner-7").unwrap();
    let channel = rpc::connect(&owner, Role::ControlPlane, &address).await.unwrap();
    let mut old = IssuerClient::new(channel);
    old.issue(IssueRequest::default()).await.unwrap();
    // The server's certificate and CA change: it does not trust the old one any more.
    let next = LocalPki::new("iris", "chat").unwrap();
    server.replace(next.material(Role::ControlPlane, "cp-0").unwrap());
    old.issue(IssueRequest::default()).await.expect("the connection goes on");
    assert!(call(&owner, Role::ControlPlane, &address).await.is_err(), "the old CA is gone");
    owner.replace(next.material(Role::Owner, "owner-8").unwrap());
    assert_eq!(call(&owner, Role::ControlPlane, &address).await, Ok("owner-8".to_owned()));
    tasks.stop();
}

#[tokio::test]
async fn plaintext_gets_no_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let tasks = Tasks::new();
    let pki = LocalPki::new("iris", "chat").unwrap();
    let address = serve(&pki.identity(Role::ControlPlane, "cp-0").unwrap(), &tasks).await;
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // A TLS alert at most, never an answer of the service.
    assert!(answer.len() <= 7 && answer.first().is_none_or(|kind| *kind == 0x15), "{answer:?}");
    tasks.stop();
}
