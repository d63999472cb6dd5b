//! `iris watch`.

use std::time::Duration;

use iris_client::{ClientError, Event};
use tokio::time::Instant;

use crate::args::Watch;
use crate::connect::Context;
use crate::failure::Failure;

use super::listen::{Shower, passed};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn run(context: &mut Context, args: Watch) -> Result<(), Failure> {
    let mut opened = context.reach(PATIENCE).await?;
    let until = args.period.map(|period| Instant::now() + period);
    let mut accounts = Vec::with_capacity(args.names.len());
    for name in &args.names {
        accounts.push(opened.find(name).await?);
    }
    let shower = Shower::new(context, &opened, None);
    for account in accounts {
        opened.client.handle().watch(account, true).await?;
    }
    // Whoever only looks is not there themselves.
    opened.client.handle().away(true).await?;
    loop {
        let event = tokio::select! {
            event = opened.client.next() => event,
            () = passed(until) => break,
            signal = tokio::signal::ctrl_c() => { signal?; break }
        };
        match event {
            Some(Event::Presence { account, presence }) => {
                shower.presence(context, account, presence)?;
            }
            Some(Event::Stopped(stop)) => return Err(ClientError::from(stop).into()),
            Some(_) => {}
            None => return Err(ClientError::Closed.into()),
        }
    }
    opened.close().await
}
