//! Nothing but TLS 1.3: plaintext gets no answer, TLS 1.2 is refused in the handshake.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Probe;
use super::check::Check;
use super::wire::tcp;

const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
const PROTOCOL_VERSION: u8 = 70;

pub(super) async fn run(probe: &Probe, checks: &mut Vec<Check>) {
    let http = b"GET /v1/jwks.json HTTP/1.1\r\nHost: iris\r\nConnection: close\r\n\r\n";
    // HELLO as it would be on TLS.
    let hello = [0, 0, 4, 0x01, 0, 0x08, 0x01, 0x10, 0x01];
    for (name, bytes) in [("plaintext http", &http[..]), ("plaintext iris/1", &hello[..])] {
        if probe.wants(name) {
            let (seen, ok) = match said(probe, bytes).await {
                Ok(answer) => refused_plaintext(&answer),
                Err(error) => (error, false),
            };
            checks.push(Check::new(name, "a TLS alert or the end", &seen, ok));
        }
    }
    let name = "tls 1.2";
    if probe.wants(name) {
        let hello = client_hello_12(probe.edge.host());
        let (seen, ok) = match said(probe, &hello).await {
            Ok(answer) => refused_12(&answer),
            Err(error) => (error, false),
        };
        checks.push(Check::new(name, "a protocol_version alert or the end", &seen, ok));
    }
}

/// What the server says to these bytes, until it ends or is silent.
async fn said(probe: &Probe, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = tcp(&probe.edge).await.map_err(|error| format!("no connection: {error}"))?;
    stream.write_all(bytes).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let patience = probe.args.patience.min(Duration::from_secs(5));
    let reading = async {
        let mut chunk = [0; 4096];
        while let Ok(n) = stream.read(&mut chunk).await {
            if n == 0 || answer.len() > 16 * 1024 {
                return;
            }
            answer.extend_from_slice(&chunk[..n]);
        }
    };
    // Silence is judged by what came before it.
    let _ended = timeout(patience, reading).await.is_ok();
    Ok(answer)
}

fn refused_plaintext(answer: &[u8]) -> (String, bool) {
    match answer {
        [] => ("the end, without a byte".to_owned(), true),
        [ALERT, ..] => (format!("an alert ({})", alert(answer)), true),
        other => (format!("{} bytes of an answer", other.len()), false),
    }
}

fn refused_12(answer: &[u8]) -> (String, bool) {
    match answer {
        [] => ("the end, without a byte".to_owned(), true),
        [ALERT, ..] => {
            let code = alert(answer);
            let name = if code == PROTOCOL_VERSION { " protocol_version" } else { "" };
            (format!("alert {code}{name}"), true)
        }
        [HANDSHAKE, ..] => ("a handshake: TLS 1.2 is accepted".to_owned(), false),
        other => (format!("{} bytes that are no TLS", other.len()), false),
    }
}

/// The description of an alert, after its record's header and its level.
fn alert(answer: &[u8]) -> u8 {
    answer.get(6).copied().unwrap_or(0)
}

/// A ClientHello of somebody who knows nothing newer than TLS 1.2 (RFC 5246).
fn client_hello_12(host: &str) -> Vec<u8> {
    let mut extensions = Vec::new();
    if host.parse::<std::net::IpAddr>().is_err() {
        let name = [&[0][..], &sized(host.as_bytes())].concat();
        extensions.extend(extension(0, &sized(&name)));
    }
    // X25519, P-256; uncompressed points; ECDSA and RSA signatures; iris/1.
    extensions.extend(extension(10, &sized(&[0, 29, 0, 23])));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &sized(&[4, 3, 8, 7, 8, 4, 4, 1])));
    extensions.extend(extension(16, &sized(b"\x06iris/1")));
    // ECDHE with ECDSA and RSA, AES-GCM and ChaCha20.
    let suites = [0xc0, 0x2b, 0xc0, 0x2c, 0xcc, 0xa9, 0xc0, 0x2f, 0xc0, 0x30, 0xcc, 0xa8];
    let body =
        [&[3, 3][..], &[0x5a; 32], &[0], &sized(&suites), &[1, 0], &sized(&extensions)].concat();
    let handshake = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&handshake)].concat()
}

fn extension(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[0, kind][..], &sized(body)].concat()
}

/// With its length in two bytes before it.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hello_has_the_lengths_that_it_says() {
        for host in ["localhost", "127.0.0.1"] {
            let hello = client_hello_12(host);
            let record = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
            assert_eq!(record, hello.len() - 5);
            assert_eq!((hello[5], hello[6]), (1, 0), "a ClientHello below 64 KiB");
            let body = usize::from(u16::from_be_bytes([hello[7], hello[8]]));
            assert_eq!(body, hello.len() - 9);
        }
    }

    #[test]
    fn answers_are_judged() {
        assert!(refused_12(&[]).1);
        assert!(refused_12(&[ALERT, 3, 3, 0, 2, 2, 70]).1);
        assert!(!refused_12(&[HANDSHAKE, 3, 3, 0, 2, 2, 70]).1);
        assert!(refused_plaintext(&[ALERT, 3, 3, 0, 2, 2, 50]).1);
        assert!(!refused_plaintext(b"HTTP/1.1 400 Bad Request").1);
    }
}
