//! The loop of each kind: one object after another, a bounded number side by side, each by itself.
//!
//! One object never stops the others: an error is written into its own status and tried again after a
//! wait of its own, a panic is an error, and an object that cannot be decoded is told so.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use iris_runtime::backoff::Backoff;
use iris_runtime::clock::millis;
use iris_runtime::metrics::{LATENCY_BUCKETS, Metrics};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, applier};
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::Mutex;
use prometheus::{HistogramVec, IntCounterVec};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::context::Context;
use crate::error::{Error, Remedy};
use crate::hub::Key;
use crate::status::{self, Reported};

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A look that takes longer is given up and begun again: it hangs.
const LOOK_MAX: Duration = Duration::from_secs(120);
/// An object that cannot be decoded is told so again after this long.
const UNREADABLE_RETRY: Duration = Duration::from_secs(300);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);

/// What a kind's reconciler does with one object.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Kind: Reported;
    /// Objects that are looked at side by side.
    const SIDE_BY_SIDE: u16 = 8;

    /// Brings the world closer to what the object says; says when to look again.
    fn reconcile(
        &self,
        context: &Context,
        object: Arc<Self::Kind>,
    ) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// When to look again, if nothing changes before.
#[derive(Debug)]
pub enum Next {
    /// After so long.
    After(Duration),
    /// Not.
    OnChange,
    /// As after an error that the status tells already.
    Held(Error),
}

/// What the loops do.
#[derive(Debug, Clone)]
pub struct LoopMetrics {
    looks: IntCounterVec,
    seconds: HistogramVec,
}

impl LoopMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            looks: metrics.counters(
                "iris_operator_reconciles_total",
                "Objects looked at, by kind and result (ok, or the category of the error)",
                &["kind", "result"],
            ),
            seconds: metrics.histograms(
                "iris_operator_reconcile_seconds",
                "How long a look takes",
                &LATENCY_BUCKETS,
                &["kind"],
            ),
        }
    }
}

/// Runs a kind's loop until its queue ends.
pub async fn run<R: Reconciler>(
    reconciler: R,
    context: Context,
    store: Store<DeserializeGuard<R::Kind>>,
    queue: mpsc::Receiver<Key>,
    metrics: LoopMetrics,
) {
    let shell = Arc::new(Shell { reconciler, context, metrics, waits: Mutex::default() });
    let queue = ReceiverStream::new(queue)
        .map(|key| Ok::<_, Infallible>(ObjectRef::new(&key.name).within(&key.namespace)));
    let config = Config::default().concurrency(R::SIDE_BY_SIDE).debounce(DEBOUNCE);
    let looks = applier(
        |object, shell: Arc<Shell<R>>| Box::pin(async move { shell.look(object).await }),
        |_, wait: &Retry, _| Action::requeue(wait.0),
        shell,
        store,
        queue,
        config,
    );
    // What went wrong is in the object's status and in the log already.
    looks.for_each(|_| std::future::ready(())).await;
}

/// After which wait to try again.
#[derive(Debug, thiserror::Error)]
#[error("to be tried again after {0:?}")]
struct Retry(Duration);

struct Shell<R: Reconciler> {
    reconciler: R,
    context: Context,
    metrics: LoopMetrics,
    waits: Mutex<HashMap<String, Backoff>>,
}

impl<R: Reconciler> Shell<R> {
    async fn look(&self, object: Arc<DeserializeGuard<R::Kind>>) -> Result<Action, Retry> {
        let object = match &object.0 {
            Ok(object) => Arc::new(object.clone()),
            Err(unreadable) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                return Ok(self.unreadable(&namespace, &name, &unreadable.error).await);
            }
        };
        let kind = <R::Kind as kube::Resource>::kind(&());
        let begun = tokio::time::Instant::now();
        let look = self.reconciler.reconcile(&self.context, Arc::clone(&object));
        let result =
            match tokio::time::timeout(LOOK_MAX, AssertUnwindSafe(look).catch_unwind()).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => {
                    Err(Error::Internal("a look at this object panicked; see the log".into()))
                }
                Err(_) => Err(Error::waiting("TookTooLong", format!("no end within {LOOK_MAX:?}"))),
            };
        let result_label = match &result {
            Ok(Next::After(_) | Next::OnChange) => "ok",
            Ok(Next::Held(error)) | Err(error) => error.category(),
        };
        self.metrics.looks.with_label_values(&[&*kind, result_label]).inc();
        let seconds = Duration::from_millis(millis(begun.elapsed())).as_secs_f64();
        self.metrics.seconds.with_label_values(&[&*kind]).observe(seconds);
        let id = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        match result {
            Ok(Next::After(wait)) => {
                self.waits.lock().remove(&id);
                Ok(Action::requeue(wait.mul_f64(0.9 + 0.2 * fastrand::f64())))
            }
            Ok(Next::OnChange) => {
                self.waits.lock().remove(&id);
                Ok(Action::await_change())
            }
            Ok(Next::Held(error)) => {
                self.tell(&object, &error).await;
                Err(Retry(self.wait(id).min(error.wait_max())))
            }
            Err(error) => {
                self.tell(&object, &error).await;
                self.report(&object, &error).await;
                Err(Retry(self.wait(id).min(error.wait_max())))
            }
        }
    }

    fn wait(&self, id: String) -> Duration {
        let mut waits = self.waits.lock();
        waits.entry(id).or_insert_with(|| Backoff::new(FIRST_WAIT, LAST_WAIT)).next_wait()
    }

    async fn tell(&self, object: &Arc<R::Kind>, error: &Error) {
        let kind = <R::Kind as kube::Resource>::kind(&());
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let category = error.category();
        if matches!(error, Error::Waiting { .. } | Error::NotLeading) {
            tracing::info!(%kind, namespace, name, category, %error, "not as wanted yet");
            return;
        }
        tracing::warn!(%kind, namespace, name, category, %error, "not as wanted");
        if error.remedy() == Remedy::Person {
            self.context.events.warning(&**object, category, error.to_string()).await;
        }
    }

    async fn report(&self, object: &Arc<R::Kind>, error: &Error) {
        let kind = <R::Kind as kube::Resource>::kind(&());
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        if matches!(error, Error::NotLeading) {
            return;
        }
        let status = status::of_failure(&**object, error, self.context.now());
        if let Err(error) = status::write(&self.context.client, &**object, &status, None).await {
            tracing::warn!(%kind, namespace, name, %error, "the reason could not be written either");
        }
    }

    async fn unreadable(&self, namespace: &str, name: &str, why: &str) -> Action {
        let kind = <R::Kind as kube::Resource>::kind(&());
        tracing::error!(%kind, namespace, name, why, "an object cannot be read");
        self.metrics.looks.with_label_values(&[&*kind, "Unreadable"]).inc();
        let client = &self.context.client;
        let now = self.context.now();
        let told = status::write_undecodable::<R::Kind>(client, namespace, name, why, now).await;
        if let Err(error) = told {
            tracing::warn!(%kind, namespace, name, %error, "its status could not be written");
        }
        Action::requeue(UNREADABLE_RETRY)
    }
}
