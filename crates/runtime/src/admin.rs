//! The admin port: health, readiness and metrics, over HTTPS. Nothing personal is ever on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use iris_net::{TcpListener, TcpStream};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use crate::metrics::Metrics;
use crate::task::Tasks;
use crate::tls::{self, Identity, MaterialError};

/// What a process says of itself. Each named check is either well or says why not.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

impl Health {
    /// No checks: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// The check is well.
    pub fn well(&self, check: &'static str) {
        let before = self.checks.lock().insert(check, None);
        if matches!(before, None | Some(Some(_))) {
            tracing::info!(check, "ready");
        }
    }

    /// The check is not well, because of `reason`.
    pub fn unwell(&self, check: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.checks.lock().insert(check, Some(reason.clone()));
        if before.flatten().as_ref() != Some(&reason) {
            tracing::info!(check, reason, "not ready");
        }
    }

    /// Why the process is not ready; empty when it is.
    pub fn problems(&self) -> BTreeMap<&'static str, String> {
        let checks = self.checks.lock();
        checks.iter().filter_map(|(name, why)| Some((*name, why.clone()?))).collect()
    }
}

#[derive(Clone)]
struct AdminState {
    health: Health,
    metrics: Metrics,
}

/// Serves the admin port until the tasks stop.
pub fn serve(
    listener: TcpListener,
    identity: &Identity,
    health: Health,
    metrics: Metrics,
    tasks: &Tasks,
) -> Result<(), MaterialError> {
    let config = identity.open_server_config(&[b"http/1.1"])?;
    let accepted = tls::accept(listener, config, tasks);
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(expose))
        .with_state(AdminState { health, metrics });
    tasks.spawn_critical("admin", async move {
        if let Err(error) = axum::serve(Accepted(accepted), app).await {
            tracing::error!(%error, "the admin port ended");
        }
    });
    Ok(())
}

async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    let problems = state.health.problems();
    if problems.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let lines: Vec<_> = problems.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat())
}

async fn expose(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.expose())
}

struct Accepted(mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>);

impl axum::serve::Listener for Accepted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.0.recv().await {
            Some(accepted) => accepted,
            // The acceptor ended with its tasks, and so does this server.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}
