//! `iris chat`.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use iris_client::{ClientError, Draft, Outcome};
use iris_core::message::Address;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::time::timeout;

use crate::args::Chat;
use crate::connect::Context;
use crate::failure::Failure;
use crate::soak::named;

use super::listen::{Shower, heard};

/// For the server to say that it knows what was read.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// For the server to answer, and at the end for what is under way.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn run(context: &mut Context, args: Chat) -> Result<(), Failure> {
    let mut opened = context.reach(PATIENCE).await?;
    let with = opened.address(&args.with).await?;
    let mut shower = Shower::new(context, &opened, Some((with, &args.with)));
    for place in opened.client.handle().history(args.last, Some(with)).await? {
        shower.put(context, &place)?;
        shower.skip(&place);
    }
    shower.tell_read(&opened).await?;
    if let Address::Account(with) = with {
        opened.client.handle().watch(with, true).await?;
    }
    let me = opened.client.login_data().handle.clone();
    context.output.note(&format!(
        "-- {me}, you are talking to {}: a line is a message, Control-D ends --",
        args.with
    ));
    let mut lines = BufReader::new(stdin()).lines();
    let mut receipts = FuturesUnordered::new();
    loop {
        tokio::select! {
            event = opened.client.next() => match event {
                Some(event) => {
                    heard(context, &opened, &mut shower, event)?;
                    shower.tell_read(&opened).await?;
                }
                None => return Err(ClientError::Closed.into()),
            },
            line = lines.next_line() => match line? {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => {
                    let draft = Draft::to(with, line.into_bytes())?;
                    receipts.push(opened.client.handle().send_draft(draft).await?);
                }
                None => break,
            },
            Some(decided) = receipts.next() => tell(context, decided)?,
            signal = tokio::signal::ctrl_c() => { signal?; break }
        }
    }
    let rest = async {
        while let Some(decided) = receipts.next().await {
            tell(context, decided)?;
        }
        Ok::<_, Failure>(())
    };
    match timeout(PATIENCE, rest).await {
        Ok(told) => told?,
        Err(_) => context.output.note(
            "-- the server has not answered all: what is left goes out with the next connection --",
        ),
    }
    opened.settled(READ_PATIENCE).await?;
    opened.close().await
}

fn tell(
    context: &mut Context,
    decided: Result<iris_client::Decided, ClientError>,
) -> Result<(), Failure> {
    if let Outcome::Refused { code } = decided?.outcome {
        context.output.note(&format!("-- a message was refused: {} --", named(code)));
    }
    Ok(())
}
