//! What the control plane serves. A replica that does not lead names the one that does.

mod describe;
mod owners;
mod region;
mod routing;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tonic::Status;
use tonic::metadata::MetadataValue;

use crate::leader::Leader;

pub use owners::OwnersService;
pub use region::RegionService;
pub use routing::RoutingService;

/// The metadata that names the leader's address.
const LEADER_HINT: &str = "iris-leader";

/// Who leads, as this replica knows: itself, another one, or nobody.
#[derive(Clone, Default)]
pub struct Lead {
    own: Arc<ArcSwapOption<Leader>>,
    other: Arc<Mutex<Option<String>>>,
}

impl Lead {
    /// This replica leads.
    pub fn begin(&self, leader: Arc<Leader>) {
        self.own.store(Some(leader));
        *self.other.lock() = None;
    }

    /// This replica does not lead; `other` is the leader's address, where it is known.
    pub fn follow(&self, other: Option<String>) {
        self.own.store(None);
        *self.other.lock() = other;
    }

    /// The leader, if it is this replica.
    pub(crate) fn leader(&self) -> Result<Arc<Leader>, Status> {
        match self.own.load_full().filter(|leader| !leader.tasks.is_stopped()) {
            Some(leader) => Ok(leader),
            None => {
                let mut status = Status::failed_precondition("this replica does not lead");
                let hint = self.other.lock().clone().unwrap_or_default();
                if let Ok(hint) = MetadataValue::try_from(hint) {
                    status.metadata_mut().insert(LEADER_HINT, hint);
                }
                Err(status)
            }
        }
    }
}
