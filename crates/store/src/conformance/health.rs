//! What a store says of itself.

use super::fixture::{World, failed};
use super::{Verdict, check, suite};

suite! { a_store_says_what_it_is }

async fn a_store_says_what_it_is(world: &World<'_>) -> Verdict {
    let report = world.store.report().await.map_err(failed)?;
    check!(!report.version.is_empty(), "no version");
    check!(report.replication >= 1, "no copies: {report:?}");
    check!(report.schema >= 1, "no schema: {report:?}");
    check!(report.unfit.is_empty(), "unfit: {:?}", report.unfit);
    let few = report.replication < 3;
    check!(few != report.development_only.is_empty(), "{report:?}");
    Ok(())
}
