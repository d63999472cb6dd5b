//! What is refused.

use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::soak::Soak;
use crate::stage::{NAMESPACE, Stage};

/// `iris probe`: no plaintext, no TLS 1.2, no forged tokens, typed errors for bad frames. It gets the
/// cluster's own key, so that its tokens of a wrong audience and the like have a true signature.
#[test]
fn hostile_clients_are_refused_by_every_edge() {
    let stage = Stage::enter();
    let mut key = tempfile::NamedTempFile::new().unwrap();
    let pem = stage.secret(NAMESPACE, "chat-jwt", "signing.pem").unwrap();
    key.write_all(pem.as_bytes()).unwrap();
    for edge in stage.edges().unwrap() {
        let output = stage
            .iris()
            .unwrap()
            .env("IRIS_SERVER", &edge)
            .args(["probe", "--json", "--signing-key"])
            .arg(key.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{edge}: {text}");
        let report: Value = serde_json::from_str(text.trim()).unwrap();
        let checks = report["checks"].as_array().map_or(0, Vec::len);
        assert!(checks >= 10, "{report}");
        assert_eq!(report["skipped"], 0, "{report}");
    }
}

/// A thousand connections with bad input to each edge, beside people's messages: nothing is lost, and
/// what the first thousand left in memory the next one uses again.
#[test]
fn bad_input_loses_nothing_and_leaves_memory_flat() {
    const GROWTH_MAX: u64 = 3 << 20;
    const SECONDS: u32 = 60;
    let stage = Stage::enter();
    let begun = std::time::Instant::now();
    let soak = Soak::start(&stage, 20, 200, SECONDS);
    let memory = || {
        let edges = stage.pods("edge").unwrap();
        edges.iter().map(|pod| stage.memory(pod, "edge").unwrap()).sum::<u64>()
    };
    let bad_input = || {
        for edge in stage.edges().unwrap() {
            let mut probe = stage.iris().unwrap();
            probe.env("IRIS_SERVER", &edge).args(["probe", "--json", "--repeat=100"]);
            let output = probe.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    };
    bad_input();
    let before = memory();
    bad_input();
    assert!(begun.elapsed().as_secs() < SECONDS.into(), "people's messages ended before");
    let after = memory();
    println!("{before} bytes before, {after} after the same again");
    assert!(after <= before + GROWTH_MAX, "{before} bytes grew to {after}");
    soak.end();
}

/// Every port of every pod speaks TLS only.
#[test]
fn no_port_of_any_pod_answers_in_plaintext() {
    let stage = Stage::enter();
    for (role, ports) in
        [("owner", &[7443_u16, 9443][..]), ("controlplane", &[7444, 9443]), ("edge", &[8443, 9443])]
    {
        let pods = stage.pods(role).unwrap();
        assert!(!pods.is_empty(), "no pod is a {role}");
        for pod in pods {
            let ip = stage.pod_ip(NAMESPACE, &pod).unwrap();
            for port in ports {
                let mut stream = std::net::TcpStream::connect((ip, *port)).unwrap();
                let patience = Some(std::time::Duration::from_secs(15));
                stream.set_read_timeout(patience).unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: iris\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                // An alert, or nothing: the connection ends either way.
                let _ = stream.read_to_end(&mut answer);
                assert!(!answer.windows(4).any(|w| w == b"HTTP"), "{role} {pod}:{port}");
                assert!(answer.first().is_none_or(|kind| *kind == 21), "{pod}:{port} {answer:?}");
            }
        }
    }
}
