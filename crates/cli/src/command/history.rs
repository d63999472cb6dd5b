//! `iris history`.

use std::time::Duration;

use iris_client::Fetch;

use crate::args::History;
use crate::connect::Context;
use crate::failure::Failure;

use super::print::Names;

const PATIENCE: Duration = Duration::from_secs(20);
/// Messages in one page.
const PAGE: usize = 100;

pub(super) async fn run(context: &mut Context, args: History) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let with = opened.find(&args.with).await?;
    let mut names = Names::of(context, &opened);
    names.add(with, &args.with);
    let (mut places, mut before) = (Vec::new(), None);
    while places.len() < args.count {
        let limit = u32::try_from(PAGE.min(args.count - places.len())).unwrap_or(u32::MAX);
        let page = opened.client.handle().fetch(Fetch { with, before, limit }).await?;
        places.extend(page.places);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    for place in places.iter().rev() {
        let text = names.named(place).unwrap_or_default();
        context.output.result(&text, &names.value(place))?;
    }
    if before.is_some() {
        context.output.note("-- there are older ones: --count shows more --");
    }
    opened.close().await
}
