//! Kubernetes Events: what happened to an object, for `kubectl describe`. The reason is the category
//! of an error or the name of a transition.
//!
//! Nothing depends on an Event: one that cannot be written is logged and forgotten.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::names::MANAGER;

/// The same Event is not repeated for this long.
const QUIET: Duration = Duration::from_secs(300);
/// Objects whose last Event is remembered; beyond, the oldest are forgotten and may repeat.
const REMEMBERED_MAX: usize = 4096;

/// Writes Events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    last: Arc<Mutex<HashMap<String, Last>>>,
}

struct Last {
    reason: String,
    note: String,
    at: Instant,
}

impl Events {
    /// Writes them as `pod`.
    pub fn new(client: Client, pod: &str) -> Self {
        let reporter =
            Reporter { controller: "iris.dev/operator".to_owned(), instance: Some(pod.to_owned()) };
        Self { recorder: Recorder::new(client, reporter), last: Arc::default() }
    }

    /// Something went as it should.
    pub async fn normal<K>(&self, object: &K, reason: &str, note: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Normal, reason, note.into()).await;
    }

    /// Something did not.
    pub async fn warning<K>(&self, object: &K, reason: &str, note: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Warning, reason, note.into()).await;
    }

    async fn publish<K>(&self, object: &K, type_: EventType, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        let reference = object.object_ref(&());
        let uid = reference.uid.clone().unwrap_or_default();
        if !self.is_news(uid, reason, &note) {
            return;
        }
        // An Event holds 1 kB.
        let note: String = note.chars().take(900).collect();
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note).filter(|note| !note.is_empty()),
            action: MANAGER.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::debug!(%error, reason, "an Event was not written");
        }
    }

    fn is_news(&self, uid: String, reason: &str, note: &str) -> bool {
        let mut last = self.last.lock();
        let now = Instant::now();
        if let Some(before) = last.get(&uid)
            && before.reason == reason
            && before.note == note
            && now.duration_since(before.at) < QUIET
        {
            return false;
        }
        if last.len() >= REMEMBERED_MAX {
            last.retain(|_, before| now.duration_since(before.at) < QUIET);
        }
        if last.len() >= REMEMBERED_MAX {
            last.clear();
        }
        last.insert(uid, Last { reason: reason.to_owned(), note: note.to_owned(), at: now });
        true
    }
}
