//! `iris history`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use iris_client::place::{Content, Place};
use iris_client::{ClientError, Fetch, LogFetch};
use iris_core::group::Membership;
use iris_core::id::{GroupId, MsgId};
use iris_core::message::Address;
use iris_core::seq::ConvSeq;

use crate::args::History;
use crate::connect::{Context, Opened};
use crate::failure::Failure;

use super::print::Names;

const PATIENCE: Duration = Duration::from_secs(20);
/// Messages in one page.
const PAGE: usize = 100;
/// As many places as a device keeps, of its inbox and of large groups.
const ALL: usize = 20_000;

pub(super) async fn run(context: &mut Context, args: History) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let with = opened.address(&args.with).await?;
    let mut names = Names::of(context, &opened);
    let mut places = match with {
        Address::Account(account) => {
            names.add(account, &args.with);
            Vec::new()
        }
        Address::Group(group) => {
            names.add_group(group, &args.with);
            newest_of_log(&opened, group, args.count).await?
        }
    };
    let more = pages(&opened, with, args.count, &mut places).await?;
    let own = own_bodies(&opened, with).await?;
    for place in &mut places {
        fill_in(place, &own);
    }
    for place in places.iter().rev() {
        let text = names.named(place).unwrap_or_default();
        context.output.result(&text, &names.value(place))?;
    }
    if more {
        context.output.note("-- there are older ones: --count shows more --");
    }
    opened.close().await
}

/// Appends to `places`, newest first, until there are `count`. Answers whether there are older ones.
async fn pages(
    opened: &Opened,
    with: Address,
    count: usize,
    places: &mut Vec<Place>,
) -> Result<bool, Failure> {
    let mut before = None;
    while places.len() < count {
        let limit = u32::try_from(PAGE.min(count - places.len())).unwrap_or(u32::MAX);
        let page = opened.client.handle().fetch(Fetch { with, before, limit }).await?;
        places.extend(page.places);
        before = page.next;
        if before.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The newest messages of a large group's log, newest first; of another group none.
async fn newest_of_log(
    opened: &Opened,
    group: GroupId,
    count: usize,
) -> Result<Vec<Place>, Failure> {
    let handle = opened.client.handle();
    let groups = handle.list_groups().await?;
    let membership = groups.into_iter().find(|(id, _)| *id == group).map(|(_, known)| known);
    let Some(Membership { pulls: Some(pulls), until, .. }) = membership else {
        return Ok(Vec::new());
    };
    let head = match until {
        Some(until) => until,
        None => match handle.list_members(group, None).await {
            Ok(page) => page.head,
            Err(ClientError::Refused { .. }) => pulls,
            Err(error) => return Err(error.into()),
        },
    };
    let mut behind = behind(pulls, head, count);
    let mut found = Vec::new();
    loop {
        let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let page = handle.read_log(LogFetch { group, behind, limit }).await?;
        let last = page.messages.last().and_then(Place::in_group).map(|at| at.place);
        found.extend(page.messages);
        match last {
            Some(last) if page.more => behind = last,
            Some(_) | None => break,
        }
    }
    found.reverse();
    found.truncate(count);
    Ok(found)
}

/// Where to begin to read, so that about `count` messages follow.
fn behind(pulls: ConvSeq, head: ConvSeq, count: usize) -> ConvSeq {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    ConvSeq(head.0.saturating_sub(count)).max(pulls)
}

/// What this device wrote: the server does not send it back.
async fn own_bodies(opened: &Opened, with: Address) -> Result<BTreeMap<MsgId, Bytes>, Failure> {
    let own = opened.client.login_data().account;
    let places = opened.client.handle().history(ALL, Some(with)).await?;
    let written = places.into_iter().filter_map(|place| match place.content {
        Content::Incoming(message) if message.sender.account == own => {
            Some((message.msg_id, message.body))
        }
        Content::Sent(message) => Some((message.msg_id, message.body)),
        Content::Incoming(_) | Content::Notice(_) | Content::Hole => None,
    });
    Ok(written.collect())
}

fn fill_in(place: &mut Place, own: &BTreeMap<MsgId, Bytes>) {
    let (msg_id, body) = match &mut place.content {
        Content::Incoming(message) => (message.msg_id, &mut message.body),
        Content::Sent(message) => (message.msg_id, &mut message.body),
        Content::Notice(_) | Content::Hole => return,
    };
    if let Some(written) = own.get(&msg_id).filter(|_| body.is_empty()) {
        body.clone_from(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_from_where_the_wanted_messages_begin() {
        assert_eq!(behind(ConvSeq(10), ConvSeq(100), 20), ConvSeq(80));
        assert_eq!(behind(ConvSeq(90), ConvSeq(100), 20), ConvSeq(90));
        assert_eq!(behind(ConvSeq(1), ConvSeq(5), 20), ConvSeq(1));
    }
}
