//! The governing loop: who died, who should own what, what the routes are.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use iris_coord::{Commit, Event, Revision, Write};
use iris_proto::coordinated::Session;
use iris_proto::coordinated_keys as keys;
use iris_runtime::backoff::Backoff;
use prost::Message as _;

use super::Leader;
use super::begin::session_from;
use crate::model::{About, Death};

/// How often time alone is looked at.
const TICK: Duration = Duration::from_millis(50);

impl Leader {
    /// Governs until this replica does not lead any more.
    pub(super) async fn govern(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.woken.notified() => {}
                _ = tick.tick() => {}
            }
            if let Err(error) = self.govern_once().await {
                tracing::warn!(%error, "the leader cannot write; it tries again");
                tokio::time::sleep(TICK).await;
            }
            if self.tasks.is_stopped() {
                return;
            }
        }
    }

    async fn govern_once(self: &Arc<Self>) -> Result<(), iris_coord::CoordError> {
        let now = self.deps.clock.now().mono;
        let (dead, unserved, live) = {
            let mut model = self.model.lock();
            let dead: Vec<_> = model
                .find_dead(now)
                .into_iter()
                .map(|(id, death)| (id, death, model.about_dead(id).cloned()))
                .collect();
            model.place(now);
            let served = |shard: &iris_core::id::ShardId| model.serving(*shard).is_some();
            let unserved = model.count().shards().filter(|shard| !served(shard)).count();
            (dead, unserved, model.members().len())
        };
        self.deps.metrics.unserved.set(i64::try_from(unserved).unwrap_or(i64::MAX));
        self.deps.metrics.sessions.set(i64::try_from(live).unwrap_or(i64::MAX));
        self.publish_routes();
        for (session, death, about) in dead {
            tracing::warn!(%session, ?death, pod = about.as_ref().map(|a| &a.pod), "dead");
            self.deps.metrics.deaths.with_label_values(&[death_label(death)]).inc();
            if let Some(about) = about {
                let put = Write::Put {
                    key: keys::dead(session),
                    value: record_of(session, about).encode_to_vec().into(),
                    lease: None,
                };
                self.commit(vec![put]).await?;
            }
        }
        self.write_assignments().await?;
        self.empty_leaving();
        Ok(())
    }

    /// Puts what changed on the board.
    pub(super) fn publish_routes(&self) {
        let mut board = self.board.lock();
        let changed = board.update(&self.model.lock());
        let changes = board.changes();
        drop(board);
        if changed {
            self.news.send_replace(changes);
        }
    }

    /// Writes to etcd, if this replica leads still; otherwise its leadership ends.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<(), iris_coord::CoordError> {
        match self.deps.coord.commit(std::slice::from_ref(&self.guard), &writes).await? {
            Commit::Done(_) => Ok(()),
            Commit::Conflict => {
                tracing::warn!("another replica leads");
                self.tasks.stop();
                Ok(())
            }
        }
    }

    /// Follows the sessions in etcd.
    pub(super) async fn follow_sessions(self: Arc<Self>, mut after: Revision) {
        let mut backoff = Backoff::between_pods();
        loop {
            match self.deps.coord.watch(keys::SESSIONS, after).await {
                Ok(mut events) => {
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => {
                                backoff.reset();
                                after = self.take_session(event).max(after);
                            }
                            Err(error) => {
                                tracing::debug!(%error, "sessions are listed again");
                                break;
                            }
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "sessions cannot be watched"),
            }
            backoff.wait().await;
            if let Ok(revision) = self.list_sessions().await {
                after = revision;
            }
        }
    }

    fn take_session(&self, event: Event) -> Revision {
        let now = self.deps.clock.now().mono;
        match event {
            Event::Put(put) => {
                if let Some((id, about)) = session_from(&put) {
                    self.change(|model| model.leased(id, about, now));
                }
                put.modified
            }
            Event::Delete { key, at } => {
                if let Some(id) = keys::session_of(keys::SESSIONS, &key) {
                    self.change(|model| model.lease_ended(id));
                }
                at
            }
        }
    }

    async fn list_sessions(&self) -> Result<Revision, iris_coord::CoordError> {
        let (found, revision) = self.deps.coord.list(keys::SESSIONS).await?;
        let now = self.deps.clock.now().mono;
        let sessions: Vec<_> = found.iter().filter_map(session_from).collect();
        self.change(|model| {
            let known: Vec<_> = model.members().keys().copied().collect();
            for id in known {
                if !sessions.iter().any(|(found, _)| *found == id) {
                    model.lease_ended(id);
                }
            }
            for (id, about) in sessions {
                model.leased(id, about, now);
            }
        });
        Ok(revision)
    }
}

fn death_label(death: Death) -> &'static str {
    match death {
        Death::Replaced => "replaced",
        Death::StreamBroken => "stream broken",
        Death::Silent => "silent",
        Death::LeaseEnded => "lease ended",
    }
}

fn record_of(session: iris_core::id::SessionId, about: About) -> Session {
    Session {
        session: session.to_bytes().to_vec().into(),
        pod: about.pod,
        pod_uid: about.pod_uid,
        node: about.node,
        zone: about.zone,
        address: about.address,
        lanes: about.lanes.into(),
        version: about.version,
        started_at_ms: about.started_at_ms,
    }
}
