//! `IrisRebalance`: kept, and told that this version does not act on it.

use std::sync::Arc;

use iris_crds::IrisRebalance;
use iris_crds::conditions::Progress;

use crate::context::Context;
use crate::controller::{Next, Reconciler};
use crate::error::Error;
use crate::status::{self, Reported};

/// Looks after rebalances.
#[derive(Debug, Clone, Copy)]
pub struct RebalanceReconciler;

impl Reconciler for RebalanceReconciler {
    type Kind = IrisRebalance;

    async fn reconcile(
        &self,
        context: &Context,
        object: Arc<IrisRebalance>,
    ) -> Result<Next, Error> {
        let mut conditions = status::conditions_of(&*object, context.now());
        let (reason, message) = (
            "NotServed",
            "this version does not act on IrisRebalance: move single shards with IrisShardMigration",
        );
        conditions.set("Succeeded", false, reason, message);
        conditions.set_progress(Progress::Stuck { reason, message });
        let mut status = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation;
        IrisRebalance::set_conditions(&mut status, conditions.into_vec(), generation);
        status::write(&context.client, &*object, &status, None).await?;
        Ok(Next::OnChange)
    }
}
