//! Logs: one JSON object a line, with the ids of the surrounding spans.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For machines.
    Json,
    /// For people.
    Text,
}

/// Sends logs to standard error. The level is `RUST_LOG`'s, by default `info` for Iris and `warn` for
/// libraries. A second call in a process does nothing.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(
            "warn,iris_operator=info,iris_controlplane=info,iris_dataplane=info,\
             iris_runtime=info,iris_store=info,iris_coord=info,iris_client=info",
        )
    });
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false))
            .try_init(),
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
    };
    if installed.is_err() {
        tracing::debug!("logs were set up before");
    } else if format == LogFormat::Json {
        // A line like all others: whoever collects logs must not miss it.
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    }
}
