//! The program itself: it comes up without anybody, says what it waits for, and ends when it is told.

use std::process::{Command, Stdio};
use std::time::Duration;

use iris_operator::definitions;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::{eventually, server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_iris-operator");

/// Asks the admin port as kubelets do, which look at no certificate.
async fn ask(port: u16, path: &str) -> Option<String> {
    let config = rustls::ClientConfig::builder_with_provider(iris_runtime::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(anybody::Anybody))
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from("pod").ok()?, stream).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

mod anybody {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    /// Believes whoever answers.
    #[derive(Debug)]
    pub struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("not spoken".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let provider = iris_runtime::tls::provider();
            provider.signature_verification_algorithms.supported_schemes()
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_lives_without_an_api_server_and_says_that_it_waits_for_one() {
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = files.path().join("config");
    let nowhere = free_port();
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, \
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
         clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:{nowhere}'}}}}], \
         users: [{{name: a, user: {{token: t}}}}]}}"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let (admin, issuer) = (free_port(), free_port());
    let mut child = Command::new(PROGRAM)
        .env("KUBECONFIG", &kubeconfig)
        .args(["--namespace", "iris-system", "--pod-name", "iris-operator-0"])
        .args(["--issuer", "iris-operator.iris-system.svc:7445"])
        .args(["--dataplane-image", "d:1", "--controlplane-image", "c:1"])
        .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
        .args(["--issuer-listen", &format!("127.0.0.1:{issuer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let live = eventually("it lives", Duration::from_secs(20), async || ask(admin, "/livez").await);
    assert!(live.await.contains("200 OK"));
    let why = eventually("it says why it is not ready", Duration::from_secs(20), async || {
        ask(admin, "/readyz").await.filter(|answer| answer.contains("cannot read the definition"))
    })
    .await;
    assert!(why.contains("503"), "{why}");
    let metrics = ask(admin, "/metrics").await.unwrap();
    assert!(metrics.contains("iris_operator_leading 0"), "{metrics}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut log).unwrap();
        (child.wait().unwrap(), log)
    });
    let (status, log) =
        tokio::time::timeout(Duration::from_secs(15), ended).await.unwrap().unwrap();
    assert!(status.success(), "{status}\n{log}");
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    assert!(lines.into_iter().all(|line| line.is_ok()), "every line is JSON: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_of_this_repository_are_those_that_it_knows() {
    let server = server().await;
    definitions::check(&server.admin()).await.unwrap();
}
