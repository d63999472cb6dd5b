//! `iris send`.

use std::time::Duration;

use iris_client::{Draft, Event, Outcome, Receipt};
use iris_core::id::AccountId;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin};
use tokio::time::{Instant, timeout_at};

use crate::args::Send;
use crate::connect::{Context, Opened};
use crate::failure::Failure;
use crate::soak::named;

pub(super) async fn run(context: &mut Context, args: Send) -> Result<(), Failure> {
    let mut opened = context.reach(args.timeout).await?;
    let to = opened.find(&args.to).await?;
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
        answered(context, &mut opened, receipt, args.timeout).await?;
    }
    opened.close().await
}

/// A message for each line of standard input; each is told when it is decided.
async fn lines(
    context: &mut Context,
    opened: &mut Opened,
    (to, expires): (AccountId, Option<Duration>),
    patience: Duration,
) -> Result<(), Failure> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut receipts = std::collections::VecDeque::new();
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
            answered(context, opened, receipt, patience).await?;
        }
    }
    for receipt in receipts {
        answered(context, opened, receipt, patience).await?;
    }
    Ok(())
}

fn draft(to: AccountId, body: Vec<u8>, expires: Option<Duration>) -> Result<Draft, Failure> {
    let mut draft = Draft::new(to, body)?;
    if let Some(expires) = expires {
        let millis = u64::try_from(expires.as_millis()).unwrap_or(u64::MAX);
        draft.expires_at_ms = iris_client::wall_ms().saturating_add(millis);
    }
    Ok(draft)
}

/// Waits for the server's decision, and tells it.
pub(super) async fn answered(
    context: &mut Context,
    opened: &mut Opened,
    mut receipt: Receipt,
    patience: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + patience;
    let msg_id = receipt.msg_id();
    let decided = loop {
        tokio::select! {
            decided = timeout_at(until, &mut receipt) => match decided {
                Ok(decided) => break decided?,
                Err(_) => return Err(late(patience)),
            },
            event = opened.client.next() => if let Some(Event::Nacked { code, .. }) = event {
                context.output.note(&format!("the server asks to wait ({})", named(code)));
            },
        }
    };
    let value = |outcome: &str, code: u32| {
        json!({
            "event": outcome,
            "msg_id": msg_id.to_string(),
            "client_seq": decided.client_seq.0,
            "code": if code == 0 { None } else { Some(code) },
        })
    };
    match decided.outcome {
        Outcome::Accepted => {
            let text = format!("accepted ({msg_id})");
            context.output.result(&text, &value("accepted", 0))
        }
        Outcome::Refused { code } => {
            if context.output.is_json() {
                context.output.result("", &value("refused", code))?;
            }
            Err(Failure::new(format!("the message was refused: {}", named(code))))
        }
    }
}

fn late(patience: Duration) -> Failure {
    Failure::new(format!("no decision in {} s", patience.as_secs())).hint(
        "the message is on this device's disk and goes out with the next connection; \
         --timeout waits longer",
    )
}
