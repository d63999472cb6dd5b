//! What is refused.

use std::process::Command;

use serde_json::Value;

use crate::stage::{NAMESPACE, Stage};

/// `iris probe`: no plaintext, no TLS 1.2, no forged tokens, typed errors for bad frames.
#[test]
fn hostile_clients_are_refused_by_every_edge() {
    let stage = Stage::enter();
    for edge in stage.edges().unwrap() {
        let output = Command::new(xtask::programs::own("iris").unwrap())
            .envs(stage.client_environment().unwrap())
            .env("IRIS_SERVER", &edge)
            .args(["probe", "--json"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{edge}: {text}");
        let report: Value = serde_json::from_str(text.trim()).unwrap();
        let checks = report["checks"].as_array().map_or(0, Vec::len);
        assert!(checks >= 10, "{report}");
    }
}

/// Every port of every pod speaks TLS only.
#[test]
fn no_port_of_any_pod_answers_in_plaintext() {
    use std::io::{Read as _, Write as _};
    let stage = Stage::enter();
    for (role, ports) in
        [("owner", &[7443_u16, 9443][..]), ("controlplane", &[7444, 9443]), ("edge", &[8443, 9443])]
    {
        for pod in stage.pods(role) {
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
