//! `iris send`.

use std::time::Duration;

use iris_client::{Draft, Receipt};
use iris_core::message::Address;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin};

use crate::args::Send;
use crate::connect::{Context, Opened};
use crate::failure::Failure;

use super::ruling::Rulings;

pub(super) async fn run(context: &mut Context, args: Send) -> Result<(), Failure> {
    let mut opened = context.reach(args.timeout).await?;
    let to = opened.address(&args.to).await?;
    if args.lines {
        lines(context, &mut opened, (to, args.expires), args.timeout).await?;
    } else {
        let body = if args.text.is_empty() {
            let mut bytes = Vec::new();
            stdin().read_to_end(&mut bytes).await?;
            bytes
        } else {
            args.text.join(" ").into_bytes()
        };
        if body.is_empty() {
            return Err(Failure::new("an empty message is not sent")
                .hint("write it behind the name, or pipe it to standard input"));
        }
        let receipt = opened.client.handle().send_draft(draft(to, body, args.expires)?).await?;
        let mut rulings = Rulings::default();
        answered(context, &mut opened, &mut rulings, (to, receipt), args.timeout).await?;
    }
    opened.close().await
}

/// A message for each line of standard input; each is told when it is decided.
async fn lines(
    context: &mut Context,
    opened: &mut Opened,
    (to, expires): (Address, Option<Duration>),
    patience: Duration,
) -> Result<(), Failure> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut receipts = std::collections::VecDeque::new();
    let mut rulings = Rulings::default();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            continue;
        }
        let draft = draft(to, line.into_bytes(), expires)?;
        receipts.push_back(opened.client.handle().send_draft(draft).await?);
        // Many may be under way; those that were answered meanwhile are told in their order.
        if receipts.len() >= 256
            && let Some(receipt) = receipts.pop_front()
        {
            answered(context, opened, &mut rulings, (to, receipt), patience).await?;
        }
    }
    for receipt in receipts {
        answered(context, opened, &mut rulings, (to, receipt), patience).await?;
    }
    Ok(())
}

fn draft(to: Address, body: Vec<u8>, expires: Option<Duration>) -> Result<Draft, Failure> {
    let mut draft = Draft::to(to, body)?;
    if let Some(expires) = expires {
        let millis = u64::try_from(expires.as_millis()).unwrap_or(u64::MAX);
        draft.expires_at_ms = iris_client::wall_ms().saturating_add(millis);
    }
    Ok(draft)
}

/// Waits for the decision about a message, and tells it.
pub(super) async fn answered(
    context: &mut Context,
    opened: &mut Opened,
    rulings: &mut Rulings,
    (to, receipt): (Address, Receipt),
    patience: Duration,
) -> Result<(), Failure> {
    match to {
        Address::Account(_) => rulings.answered(context, opened, receipt, patience).await,
        Address::Group(_) => rulings.answered_by_group(context, opened, receipt, patience).await,
    }
}
