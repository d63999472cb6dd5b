//! Coordination by etcd, over mutual TLS.
//!
//! Every call has a deadline. Certificates that were rotated are in force within [`LOOK_AGAIN`], by a
//! new connection beside the old one; watches of the old one break and are begun again by their users.

mod convert;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, Identity, SortOrder, SortTarget, TlsOptions,
    Txn, TxnOpResponse, WatchOptions, WatchStream,
};
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::{Commit, Coord, CoordError, Event, Guard, LeaseId, Revision, Versioned, Write};
use convert::{Effect, failed};

/// A call has an answer after this long, or none.
const DEADLINE: Duration = Duration::from_secs(3);
/// A connection that answers no ping is given up after twice this long.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// The files of TLS are looked at again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How to reach a region's etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// URLs.
    pub endpoints: Vec<String>,
    /// A directory with `ca.crt`, `tls.crt` and `tls.key`; none without TLS.
    pub tls_path: Option<PathBuf>,
    /// Before every key.
    pub prefix: String,
}

/// See the module.
pub struct EtcdCoord {
    config: EtcdConfig,
    connected: Mutex<Connected>,
}

struct Connected {
    client: Client,
    files: blake3::Hash,
    looked_at: Instant,
}

impl EtcdCoord {
    /// Connects, and asks once, so that a mistake is told now.
    pub async fn connect(config: &EtcdConfig) -> Result<Self, CoordError> {
        let files = Files::read(config.tls_path.as_deref())?;
        let client = client(config, &files).await?;
        let connected = Connected { client, files: files.digest(), looked_at: Instant::now() };
        let coord = Self { config: config.clone(), connected: Mutex::new(connected) };
        coord.get("").await?;
        Ok(coord)
    }

    /// The client in force.
    async fn client(&self) -> Client {
        {
            let mut connected = self.connected.lock();
            if self.config.tls_path.is_none() || connected.looked_at.elapsed() < LOOK_AGAIN {
                return connected.client.clone();
            }
            connected.looked_at = Instant::now();
        }
        if let Err(error) = self.look_again().await {
            tracing::warn!(%error, "etcd's certificates cannot be reloaded; the old ones stay");
        }
        self.connected.lock().client.clone()
    }

    async fn look_again(&self) -> Result<(), CoordError> {
        let files = Files::read(self.config.tls_path.as_deref())?;
        if files.digest() == self.connected.lock().files {
            return Ok(());
        }
        let client = client(&self.config, &files).await?;
        let mut connected = self.connected.lock();
        connected.client = client;
        connected.files = files.digest();
        drop(connected);
        tracing::info!("etcd is reached by new certificates");
        Ok(())
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.config.prefix)
    }
}

/// What TLS needs, as it is in the files now.
struct Files(Option<[Vec<u8>; 3]>);

impl Files {
    fn read(directory: Option<&Path>) -> Result<Self, CoordError> {
        let Some(directory) = directory else { return Ok(Self(None)) };
        let read = |name: &str| {
            std::fs::read(directory.join(name)).map_err(|error| {
                CoordError::Denied(format!(
                    "{name} for etcd cannot be read in {}: {error}",
                    directory.display()
                ))
            })
        };
        Ok(Self(Some([read("ca.crt")?, read("tls.crt")?, read("tls.key")?])))
    }

    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for file in self.0.iter().flatten() {
            hasher.update(&(file.len() as u64).to_le_bytes());
            hasher.update(file);
        }
        hasher.finalize()
    }
}

async fn client(config: &EtcdConfig, files: &Files) -> Result<Client, CoordError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(KEEPALIVE)
        .with_keep_alive(KEEPALIVE, KEEPALIVE)
        .with_keep_alive_while_idle(true)
        // A member that lost its peers breaks its watches instead of going silent.
        .with_require_leader(true);
    if let Some([ca, certificate, key]) = &files.0 {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(ca))
            .identity(Identity::from_pem(certificate, key));
        options = options.with_tls(tls);
    }
    Client::connect(&config.endpoints, Some(options)).await.map_err(|e| failed(e, Effect::None))
}

/// Waits for an answer no longer than the deadline.
async fn call<T>(
    effect: Effect,
    answer: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, CoordError> {
    match timeout(DEADLINE, answer).await {
        Ok(answer) => answer.map_err(|error| failed(error, effect)),
        Err(_) => Err(effect.error(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

#[async_trait]
impl Coord for EtcdCoord {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordError> {
        let mut client = self.client().await;
        let found = call(Effect::None, client.get(self.full(key), None)).await?;
        found.kvs().first().map(|kv| convert::versioned(kv, &self.config.prefix)).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Versioned>, Revision), CoordError> {
        let mut client = self.client().await;
        let options = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Ascend);
        let found = call(Effect::None, client.get(self.full(prefix), Some(options))).await?;
        let revision = convert::revision(found.header())?;
        let values = found.kvs().iter().map(|kv| convert::versioned(kv, &self.config.prefix));
        Ok((values.collect::<Result<_, _>>()?, revision))
    }

    async fn commit(&self, guards: &[Guard], writes: &[Write]) -> Result<Commit, CoordError> {
        let mut client = self.client().await;
        let guards: Vec<_> = guards.iter().map(|guard| convert::guard(guard, self)).collect();
        let writes: Vec<_> = writes.iter().map(|write| convert::write(write, self)).collect();
        let changes = writes.len();
        let answer = call(Effect::Possible, client.txn(Txn::new().when(guards).and_then(writes)));
        let answer = answer.await?;
        if !answer.succeeded() {
            return Ok(Commit::Conflict);
        }
        let done = answer.op_responses();
        let complete = done.len() == changes
            && done.iter().all(|r| matches!(r, TxnOpResponse::Put(_) | TxnOpResponse::Delete(_)));
        if !complete {
            return Err(CoordError::Unknown("etcd answered for other writes".to_owned()));
        }
        Ok(Commit::Done(convert::revision(answer.header())?))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordError> {
        let mut client = self.client().await;
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        // A lease that nobody knows of ends by itself: nothing happened that matters.
        let granted = call(Effect::None, client.lease_grant(seconds, None)).await?;
        Ok(LeaseId(granted.id()))
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), CoordError> {
        let mut client = self.client().await;
        // The stream is opened for one renewal and closed: a renewal that shares nothing with the last
        // one cannot be held up by it.
        call(Effect::None, client.lease_keep_alive(lease.0)).await.map(drop)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordError> {
        let mut client = self.client().await;
        call(Effect::Possible, client.lease_revoke(lease.0)).await.map(drop)
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, CoordError>>, CoordError> {
        let mut client = self.client().await;
        let options = WatchOptions::new().with_prefix().with_start_revision(after.0 + 1);
        let stream = call(Effect::None, client.watch(self.full(prefix), Some(options))).await?;
        let watcher = Watcher { stream, prefix: self.config.prefix.clone() };
        Ok(stream::unfold(Some(watcher), Watcher::step).flat_map(stream::iter).boxed())
    }
}

struct Watcher {
    stream: WatchStream,
    prefix: String,
}

type Batch = Vec<Result<Event, CoordError>>;

impl Watcher {
    async fn step(this: Option<Self>) -> Option<(Batch, Option<Self>)> {
        let mut this = this?;
        let broken = |error: CoordError| Some((vec![Err(error)], None));
        let message = match this.stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return broken(CoordError::Unavailable("etcd ended the watch".to_owned())),
            Err(error) => return broken(failed(error, Effect::None)),
        };
        if message.compact_revision() > 0 {
            return broken(CoordError::Compacted);
        }
        if message.canceled() {
            let reason = message.cancel_reason().to_owned();
            return broken(CoordError::Unavailable(format!("etcd cancelled the watch: {reason}")));
        }
        let events = message.events().iter().map(|event| convert::event(event, &this.prefix));
        let events: Batch = events.collect();
        let sound = events.iter().all(Result::is_ok);
        Some((events, sound.then_some(this)))
    }
}
