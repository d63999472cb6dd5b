//! `iris block`, `iris unblock`, `iris contacts`, `iris privacy`: what a person wishes of others.

use std::collections::BTreeSet;
use std::time::Duration;

use iris_core::id::AccountId;
use iris_core::relation::{Audience, Tells, Wish};
use serde_json::json;

use crate::args::{Contacts, Person, Privacy, Reads, ShownTo};
use crate::connect::Context;
use crate::failure::Failure;

use super::print::Names;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn block(context: &mut Context, args: Person, on: bool) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let whom = opened.find(&args.name).await?;
    opened.client.handle().wish(Wish::Block(whom, on)).await?;
    let text = match on {
        true => format!("Nothing of {} reaches you any more.", args.name),
        false => format!("{} reaches you again.", args.name),
    };
    context.output.result(&text, &json!({"account": whom.to_string(), "blocked": on}))?;
    opened.close().await
}

pub(super) async fn contacts(context: &mut Context, args: Contacts) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let changes = [(args.add, true), (args.remove, false)];
    for (names, on) in changes {
        for name in names {
            let whom = opened.find(&name).await?;
            opened.client.handle().wish(Wish::Contact(whom, on)).await?;
        }
    }
    let wishes = opened.client.handle().wishes().await?;
    let names = Names::of(context, &opened);
    let list = |accounts: &BTreeSet<AccountId>| -> Vec<String> {
        accounts.iter().map(|account| names.account(*account)).collect()
    };
    let (contacts, blocked) = (list(&wishes.contacts), list(&wishes.blocked));
    let mut text = match contacts.as_slice() {
        [] => "No contacts.".to_owned(),
        names => names.join("\n"),
    };
    if !blocked.is_empty() {
        text.push_str(&format!("\nBlocked: {}", blocked.join(", ")));
    }
    context.output.result(&text, &json!({"contacts": contacts, "blocked": blocked}))?;
    opened.close().await
}

pub(super) async fn privacy(context: &mut Context, args: Privacy) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let presence = args.presence.map(|shown| match shown {
        ShownTo::Everyone => Audience::Everyone,
        ShownTo::Contacts => Audience::Contacts,
        ShownTo::Nobody => Audience::Nobody,
    });
    let reads = args.reads.map(|reads| match reads {
        Reads::Tell => Tells::Yes,
        Reads::Hide => Tells::No,
    });
    let wishes = presence.map(Wish::Presence).into_iter().chain(reads.map(Wish::TellReads));
    for wish in wishes {
        opened.client.handle().wish(wish).await?;
    }
    let wishes = opened.client.handle().wishes().await?;
    let presence = match wishes.presence {
        Audience::Everyone => "everyone",
        Audience::Contacts => "contacts",
        Audience::Nobody => "nobody",
    };
    let reads = match wishes.tells_reads {
        Tells::Yes => "tell",
        Tells::No => "hide",
    };
    let text = format!("presence  {presence}\nreads     {reads}");
    context.output.result(&text, &json!({"presence": presence, "reads": reads}))?;
    opened.close().await
}
