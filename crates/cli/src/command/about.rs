//! `iris edit`, `iris delete`, `iris react`: messages about messages.

use std::time::Duration;

use iris_client::Draft;
use iris_client::place::{Content, Place};
use iris_core::message::{About, Act, Address};
use iris_core::seq::ConvSeq;

use crate::args::{Delete, Edit, React};
use crate::connect::{Context, Opened};
use crate::failure::Failure;

use super::ruling::Rulings;
use super::send::answered;

const PATIENCE: Duration = Duration::from_secs(20);
/// As many places as a device keeps, of its inbox and of large groups.
const ALL: usize = 20_000;

pub(super) async fn edit(context: &mut Context, args: Edit) -> Result<(), Failure> {
    say(context, &args.message, Act::Edit, args.text.join(" ")).await
}

pub(super) async fn delete(context: &mut Context, args: Delete) -> Result<(), Failure> {
    say(context, &args.message, Act::Delete, String::new()).await
}

pub(super) async fn react(context: &mut Context, args: React) -> Result<(), Failure> {
    say(context, &args.message, Act::React, args.with).await
}

async fn say(context: &mut Context, name: &str, act: Act, text: String) -> Result<(), Failure> {
    let mut opened = context.reach(PATIENCE).await?;
    let (to, mut about) = find(&opened, name).await?;
    about.act = act;
    let own = opened.client.login_data().account;
    if act != Act::React && about.author != own {
        return Err(Failure::new("somebody else wrote this message")
            .hint("only who wrote a message edits or deletes it"));
    }
    let mut draft = Draft::to(to, text)?;
    draft.about = Some(about);
    let receipt = opened.client.handle().send_draft(draft).await?;
    let mut rulings = Rulings::default();
    answered(context, &mut opened, &mut rulings, (to, receipt), PATIENCE).await?;
    opened.close().await
}

/// The conversation and the author, name and clock of a message that this device has.
async fn find(opened: &Opened, name: &str) -> Result<(Address, About), Failure> {
    let name = name.to_ascii_lowercase();
    let own = opened.client.login_data().account;
    let places = opened.client.handle().history(ALL, None).await?;
    let named = |place: &Place| {
        // What is on its way to a group has no place there that could be named.
        let to = place.peer().filter(|_| !place.is_on_its_way())?;
        let (author, msg_id, clock) = match &place.content {
            Content::Incoming(message) => (message.sender.account, message.msg_id, message.clock),
            Content::Sent(message) => (own, message.msg_id, message.clock),
            Content::Notice(_) | Content::Hole => return None,
        };
        let at = place.in_group().map_or(ConvSeq(0), |at| at.place);
        let about = About { act: Act::React, author, msg_id, clock, place: at };
        msg_id.to_string().starts_with(&name).then_some((to, about))
    };
    let mut found: Vec<_> = places.iter().filter_map(named).collect();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::new(format!("this device has no message {name}"))
            .hint("`iris history NAME` and `iris listen --json` show the names of messages")),
        _ => Err(Failure::new(format!("several messages begin with {name}"))
            .hint("write more of the name")),
    }
}
