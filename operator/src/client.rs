//! The way to the API server: every request has a deadline, none is repeated behind the caller's back,
//! and what changes something is sent only while this replica leads.
//!
//! Never retries: a request that failed is for the caller to judge.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use prometheus::IntCounterVec;
use tower::{BoxError, Layer, Service};

use crate::leader::Lead;
use iris_runtime::metrics::Metrics;

/// A request, other than a watch, that has no answer after this long has failed.
const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A watch is silent for no longer: the API server ends each before that.
const READ_TIMEOUT: Duration = Duration::from_secs(330);

/// A client that anything may use.
pub fn connect(mut config: Config) -> Result<Client, kube::Error> {
    // Fifteen tries of up to 1,000 s each would outlast every deadline here.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(DEADLINE);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(ClientBuilder::try_from(config)?.build())
}

/// Requests to the API server.
#[derive(Debug, Clone)]
pub struct ClientMetrics {
    requests: IntCounterVec,
}

impl ClientMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "Requests to the API server, by method and outcome";
        let name = "iris_operator_api_requests_total";
        Self { requests: metrics.counters(name, help, &["method", "outcome"]) }
    }
}

/// The same client, counted and with deadlines; with a lead, it changes things only while that holds.
pub fn guarded(client: &Client, metrics: &ClientMetrics, lead: Option<Lead>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let inner = client.clone();
    let service = tower::service_fn(move |request| {
        let client = inner.clone();
        async move { client.send(request).await }
    });
    let layer = GuardLayer { metrics: metrics.clone(), lead };
    ClientBuilder::new(service, namespace).with_layer(&layer).build()
}

/// Whether a request was not sent because another replica leads.
pub fn is_not_leading(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotLeading>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[derive(Debug, thiserror::Error)]
#[error("not sent: another replica leads")]
struct NotLeading;

#[derive(Debug, thiserror::Error)]
#[error("no answer within {DEADLINE:?}")]
struct NoAnswer;

struct GuardLayer {
    metrics: ClientMetrics,
    lead: Option<Lead>,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, metrics: self.metrics.clone(), lead: self.lead.clone() }
    }
}

struct Guard<S> {
    inner: S,
    metrics: ClientMetrics,
    lead: Option<Lead>,
}

type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Answer<B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.method().clone();
        let counter = self.metrics.requests.clone();
        if changes_something(&method) && self.lead.as_ref().is_some_and(|lead| !lead.holds()) {
            counter.with_label_values(&[method.as_str(), "not_leading"]).inc();
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = if watch {
                answer.await.map_err(Into::into)
            } else {
                match tokio::time::timeout(DEADLINE, answer).await {
                    Ok(answer) => answer.map_err(Into::into),
                    Err(_) => Err(NoAnswer.into()),
                }
            };
            let outcome = match &answer {
                Ok(response) if response.status().is_success() => "ok",
                Ok(response) if response.status().is_server_error() => "server_error",
                Ok(_) => "refused",
                Err(_) => "no_answer",
            };
            counter.with_label_values(&[method.as_str(), outcome]).inc();
            answer
        })
    }
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
