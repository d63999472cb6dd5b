//! Following the control plane's routes.

use std::sync::Arc;
use std::time::Duration;

use iris_proto::control::WatchRequest;
use iris_proto::control::routing_client::RoutingClient;
use iris_runtime::backoff::Backoff;
use tonic::Code;

use super::Routes;
use crate::control::ControlPlane;

/// The leader sends something at least so often, or is taken for lost.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Follows the leader's routes for ever; meanwhile the table holds what was known last.
pub async fn follow(control: Arc<ControlPlane>, pod: String, routes: Arc<Routes>) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match follow_once(&control, &pod, &routes, &mut backoff).await {
            Ok(()) => tracing::debug!("the route stream ended"),
            Err(error) => tracing::debug!(error, "no routes from the control plane"),
        }
        backoff.wait().await;
    }
}

async fn follow_once(
    control: &ControlPlane,
    pod: &str,
    routes: &Routes,
    backoff: &mut Backoff,
) -> Result<(), String> {
    let channel = control.connect().await.map_err(|error| error.to_string())?;
    let mut client = RoutingClient::new(channel);
    let stream = client.watch(WatchRequest { pod: pod.to_owned() }).await;
    let mut stream = stream
        .inspect_err(|status| {
            if status.code() == Code::FailedPrecondition {
                control.note_refusal(status);
            }
        })
        .map_err(|status| status.to_string())?
        .into_inner();
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, stream.message()).await;
        let next = next.map_err(|_| "the leader is silent".to_owned())?;
        match next.map_err(|status| status.to_string())? {
            Some(update) => {
                backoff.reset();
                routes.apply(update);
            }
            None => return Ok(()),
        }
    }
}
