//! The suite, on the store in memory and on a real etcd; and what only one of them can show.

#![allow(clippy::unwrap_used, reason = "a test says where it failed")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use iris_coord::etcd::EtcdCoord;
use iris_coord::memory::MemoryCoord;
use iris_coord::{Commit, Coord, CoordError, Guard, Write, conformance};
use iris_testing::Etcd;
use tokio::time::{Instant, timeout};

fn put(key: &str) -> Write {
    Write::Put { key: key.to_owned(), value: Bytes::new(), lease: None }
}

async fn etcd() -> Etcd {
    Etcd::start(None).await.unwrap()
}

#[tokio::test]
async fn memory_conforms() {
    conformance::all(Arc::new(MemoryCoord::new())).await.unwrap();
}

#[tokio::test]
async fn memory_forgets_and_fails_as_told() {
    let coord = MemoryCoord::new();
    let Commit::Done(first) = coord.commit(&[], &[put("a")]).await.unwrap() else { panic!() };
    coord.commit(&[], &[put("b")]).await.unwrap();
    let (_, now) = coord.list("").await.unwrap();
    let mut watching = coord.watch("", now).await.unwrap();
    coord.compact(now);
    let mut late = coord.watch("", first).await.unwrap();
    assert_eq!(late.next().await, Some(Err(CoordError::Compacted)));
    assert_eq!(late.next().await, None);
    coord.set_down(true);
    assert!(matches!(watching.next().await, Some(Err(CoordError::Unavailable(_)))));
    assert!(matches!(coord.get("a").await, Err(CoordError::Unavailable(_))));
    coord.set_down(false);
    assert!(coord.get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn etcd_conforms() {
    let etcd = etcd().await;
    let coord = EtcdCoord::connect(&etcd.config()).await.unwrap();
    conformance::all(Arc::new(coord)).await.unwrap();
}

/// What was committed is there after `kill -9`; meanwhile calls fail within their deadline, writes as
/// unknown; and the same handle works again.
#[tokio::test]
async fn etcd_comes_back() {
    let mut etcd = etcd().await;
    let coord = EtcdCoord::connect(&etcd.config()).await.unwrap();
    let Commit::Done(revision) = coord.commit(&[], &[put("kept")]).await.unwrap() else { panic!() };
    let mut events = coord.watch("", revision).await.unwrap();
    etcd.kill().unwrap();
    let broken = timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert!(matches!(broken, Some(Err(CoordError::Unavailable(_)))), "{broken:?}");
    let begun = Instant::now();
    let read = coord.get("kept").await;
    assert!(matches!(read, Err(CoordError::Unavailable(_))), "{read:?}");
    let written = coord.commit(&[], &[put("lost")]).await;
    assert!(matches!(written, Err(CoordError::Unknown(_))), "{written:?}");
    assert!(begun.elapsed() < Duration::from_secs(8));
    etcd.restart().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let found = loop {
        match coord.get("kept").await {
            Ok(found) => break found,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    let guard = Guard::Unchanged("kept".to_owned(), found.unwrap().modified);
    assert!(matches!(coord.commit(&[guard], &[put("next")]).await, Ok(Commit::Done(_))));
}

#[tokio::test]
async fn prefixes_keep_regions_apart() {
    let etcd = etcd().await;
    let mut other = etcd.config();
    other.prefix = "/iris/other/".to_owned();
    let one = EtcdCoord::connect(&etcd.config()).await.unwrap();
    let other = EtcdCoord::connect(&other).await.unwrap();
    one.commit(&[], &[put("a")]).await.unwrap();
    assert_eq!(other.list("").await.unwrap().0, []);
    assert_eq!(one.list("").await.unwrap().0.len(), 1);
}

/// Certificates made for a test, by openssl as the development cluster's are.
mod pki {
    use std::path::Path;
    use std::process::Command;

    fn openssl(dir: &Path, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn authority(dir: &Path, name: &str) {
        let (key, cert, subject) =
            (format!("{name}.key"), format!("{name}.crt"), format!("/CN={name}"));
        #[rustfmt::skip]
        openssl(dir, &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-keyout", &key, "-out", &cert, "-subj", &subject]);
    }

    pub(super) fn leaf(dir: &Path, authority: &str, name: &str) {
        let (key, request, cert) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        let (subject, ca, ca_key) =
            (format!("/CN={name}"), format!("{authority}.crt"), format!("{authority}.key"));
        std::fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1").unwrap();
        #[rustfmt::skip]
        openssl(dir, &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", &key, "-out", &request, "-subj", &subject]);
        #[rustfmt::skip]
        openssl(dir, &["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key,
            "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", &cert]);
    }
}

/// etcd is reached by mutual TLS; strangers are refused; and a handle goes on after its certificate was
/// replaced by one of another authority, without a restart.
#[tokio::test]
async fn mutual_tls_with_rotation() {
    let files = tempfile::tempdir().unwrap();
    let dir = files.path();
    for authority in ["old", "new"] {
        pki::authority(dir, authority);
    }
    pki::leaf(dir, "old", "server");
    pki::leaf(dir, "old", "first");
    pki::leaf(dir, "new", "second");
    let copy = |from: &str, to: &str| {
        std::fs::copy(dir.join(from), dir.join(to)).unwrap();
    };
    let bundle = ["old.crt", "new.crt"].map(|name| std::fs::read(dir.join(name)).unwrap()).concat();
    std::fs::write(dir.join("ca.crt"), bundle).unwrap();
    copy("first.crt", "tls.crt");
    copy("first.key", "tls.key");
    let etcd = Etcd::start(Some(dir)).await.unwrap();
    let coord = EtcdCoord::connect(&etcd.config()).await.unwrap();
    coord.commit(&[], &[put("a")]).await.unwrap();
    // Without a certificate, nothing.
    let stranger = tempfile::tempdir().unwrap();
    pki::authority(stranger.path(), "own");
    pki::leaf(stranger.path(), "own", "tls");
    std::fs::copy(dir.join("ca.crt"), stranger.path().join("ca.crt")).unwrap();
    let mut config = etcd.config();
    config.tls_path = Some(stranger.path().to_owned());
    let refused = EtcdCoord::connect(&config).await.err();
    assert!(refused.is_some(), "a stranger was let in");
    copy("second.crt", "tls.crt");
    copy("second.key", "tls.key");
    let before = Instant::now();
    tokio::time::sleep(Duration::from_secs(11)).await;
    coord.commit(&[], &[put("b")]).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(20));
    assert_eq!(coord.list("").await.unwrap().0.len(), 2);
}
