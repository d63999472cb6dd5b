//! What every reconciler of a leader has at hand.

use std::sync::Arc;

use iris_crds::common::Time;
use iris_runtime::clock::SharedClock;
use kube::Client;

use crate::apply::Applier;
use crate::control::ControlPlanes;
use crate::events::Events;
use crate::hub::Stores;
use crate::keyring::Keyring;
use crate::leader::Lead;

/// What every reconciler of a leader has at hand.
#[derive(Clone)]
pub struct Context {
    /// Sends changes only while this replica leads.
    pub client: Client,
    /// What the watches have seen.
    pub stores: Stores,
    /// Applies what was built.
    pub applier: Applier,
    /// Tells people.
    pub events: Events,
    /// Asks control planes.
    pub control: ControlPlanes,
    /// The authorities of the clusters.
    pub keyring: Keyring,
    /// The time.
    pub clock: SharedClock,
    /// The right to act.
    pub lead: Lead,
    /// What the operator came with.
    pub built_in: Arc<BuiltIn>,
}

/// What the operator came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its namespace.
    pub namespace: String,
    /// The label that its own pods have, as `key=value`.
    pub pod_label: (String, String),
    /// `host:port` of its issuer.
    pub issuer: String,
    /// The image of owners, edges and the schema job.
    pub dataplane: String,
    /// The image of the control plane.
    pub control_plane: String,
}

impl Context {
    /// The time, for conditions.
    pub fn now(&self) -> Time {
        Time::from_unix(self.now_s())
    }

    /// Seconds since 1970.
    pub fn now_s(&self) -> u64 {
        self.clock.now().wall.0 / 1000
    }
}
