//! History: pages of one conversation, and messages that leave it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::{Hlc, LogicalTimestamp};
use iris_core::id::{AccountId, MsgId};
use iris_core::message::{Address, Message};
use iris_core::seq::InboxSeq;
use iris_core::shard::{Erasure, Fetch, Flush, HistoryPage, HistoryPoint, InboxRun, IndexRow};

use super::fixture::{World, at, empty_flush, failed, message};
use super::{Verdict, check, none, same, suite};

suite! {
    a_page_brings_the_newest_of_its_conversation,
    pages_of_a_conversation_follow_each_other,
    messages_with_one_clock_are_all_found,
    the_largest_messages_of_a_conversation_fit,
    an_erased_message_is_in_no_page_and_no_place,
    an_erasure_takes_nothing_else,
    an_erasure_wins_over_rows_that_come_late,
    an_erasure_may_be_written_again,
    messages_expire_alone,
    an_erasure_leaves_what_expires_alone,
}

/// A message with `with`, at a place.
fn said(account: AccountId, with: AccountId, place: u64, clock: u64) -> InboxItem {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&place.to_be_bytes());
    let message = Message {
        sender: with,
        to: Address::Account(account),
        msg_id: MsgId(id),
        clock: Hlc(clock),
        expires_at_ms: 0,
        ..Arc::unwrap_or_clone(message(account, place, 60))
    };
    let content = InboxContent::Message(Arc::new(message));
    InboxItem { seq: InboxSeq(place), clock: Hlc(clock + 1), content }
}

/// The same, with another change.
fn changed(item: InboxItem, change: impl FnOnce(&mut Message)) -> InboxItem {
    let InboxContent::Message(message) = &item.content else { return item };
    let mut message = Message::clone(message);
    change(&mut message);
    InboxItem { content: InboxContent::Message(Arc::new(message)), ..item }
}

fn flush_of(account: AccountId, items: &[InboxItem], (epoch, pos): (u32, u64)) -> Flush {
    let timestamp = at(epoch, pos);
    let index = items.iter().filter_map(|item| match &item.content {
        InboxContent::Message(message) => Some(IndexRow {
            account,
            conversation: message.conversation(account),
            clock: message.clock,
            place: item.seq,
            timestamp,
        }),
        InboxContent::Notice(_) | InboxContent::Hole => None,
    });
    Flush {
        index: index.collect(),
        inbox: vec![InboxRun { account, items: items.to_vec(), timestamp }],
        ..empty_flush(epoch, pos)
    }
}

fn erasure(account: AccountId, item: &InboxItem, timestamp: LogicalTimestamp) -> Erasure {
    let InboxContent::Message(message) = &item.content else {
        unreachable!("only messages are erased")
    };
    Erasure {
        account,
        conversation: message.conversation(account),
        clock: message.clock,
        author: message.sender,
        msg_id: message.msg_id,
        timestamp,
    }
}

async fn page(
    world: &World<'_>,
    account: AccountId,
    with: AccountId,
    before: Option<HistoryPoint>,
    limit: u32,
) -> Result<HistoryPage, String> {
    let fetch = Fetch { conversation: Address::Account(with), before, limit };
    let mut page = world.store.history(account, fetch).await.map_err(failed)?;
    page.items.sort_by_key(|item| std::cmp::Reverse(item.seq));
    Ok(page)
}

fn places(page: &HistoryPage) -> Vec<u64> {
    page.items.iter().map(|item| item.seq.0).collect()
}

async fn inbox(world: &World<'_>, account: AccountId) -> Result<Vec<InboxItem>, String> {
    let read = world.store.inbox(account, InboxSeq(0), InboxSeq(9_999), usize::MAX);
    read.await.map_err(failed)
}

async fn a_page_brings_the_newest_of_its_conversation(world: &World<'_>) -> Verdict {
    let (account, ann, ben) = (world.account(), world.account(), world.account());
    let with = |place: u64| if place.is_multiple_of(3) { ann } else { ben };
    let items: Vec<_> =
        (1..=30).map(|place| said(account, with(place), place, 1000 + place)).collect();
    world.flush(world.shard(), &flush_of(account, &items, (1, 9))).await?;
    let found = page(world, account, ann, None, 4).await?;
    same!(places(&found), [30, 27, 24, 21], "the newest");
    let next = HistoryPoint { clock: Hlc(1021), place: InboxSeq(21) };
    same!(found.next, Some(next), "where the next page begins");
    let wanted: Vec<_> = [30, 27, 24, 21].map(|place| items[place - 1].clone()).to_vec();
    same!(found.items, wanted, "the messages");
    let all = page(world, account, ann, None, 50).await?;
    same!((all.items.len(), all.next), (10, None), "all of it");
    none!(page(world, account, world.account(), None, 50).await?.items, "with a stranger");
    none!(page(world, world.account(), ann, None, 50).await?.items, "of a stranger");
    Ok(())
}

async fn pages_of_a_conversation_follow_each_other(world: &World<'_>) -> Verdict {
    let (account, ann) = (world.account(), world.account());
    // Clocks are in another order than places: messages overtake each other.
    let clock = |place: u64| 1_000_000 + (place * 7919) % 3001;
    let items: Vec<_> = (1..=400).map(|place| said(account, ann, place, clock(place))).collect();
    world.flush(world.shard(), &flush_of(account, &items, (1, 9))).await?;
    let (mut found, mut before) = (Vec::new(), None);
    for _ in 0..100 {
        let fetch = Fetch { conversation: Address::Account(ann), before, limit: 33 };
        let page = world.store.history(account, fetch).await.map_err(failed)?;
        found.extend(page.items.iter().map(|item| item.seq.0));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let clocks: Vec<_> = found.iter().map(|place| clock(*place)).collect();
    for pair in clocks.chunks(33).collect::<Vec<_>>().windows(2) {
        let oldest = pair[0].iter().min();
        check!(oldest > pair[1].iter().max(), "a page is older than the next one: {pair:?}");
    }
    found.sort_unstable();
    check!(found.iter().copied().eq(1..=400), "every message once: {found:?}");
    Ok(())
}

async fn messages_with_one_clock_are_all_found(world: &World<'_>) -> Verdict {
    let (account, ann) = (world.account(), world.account());
    let items: Vec<_> = (1..=7).map(|place| said(account, ann, place, 500)).collect();
    world.flush(world.shard(), &flush_of(account, &items, (1, 9))).await?;
    let mut found = Vec::new();
    let mut before = None;
    for _ in 0..10 {
        let page = page(world, account, ann, before, 2).await?;
        found.extend(places(&page));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    same!(found, [7, 6, 5, 4, 3, 2, 1], "all of them, once");
    Ok(())
}

async fn the_largest_messages_of_a_conversation_fit(world: &World<'_>) -> Verdict {
    let (account, ann) = (world.account(), world.account());
    let large = |place| {
        let body = bytes::Bytes::from(vec![3; iris_core::limits::BODY_BYTES_MAX]);
        let bodies = iris_core::message::Bodies::Shared(body);
        changed(said(account, ann, place, 100 + place), |message| message.bodies = bodies)
    };
    let items: Vec<_> = (1..=20).map(large).collect();
    world.flush(world.shard(), &flush_of(account, &items, (1, 9))).await?;
    let found = page(world, account, ann, None, 50).await?;
    same!(found.items.len(), 20, "the messages");
    Ok(())
}

async fn an_erased_message_is_in_no_page_and_no_place(world: &World<'_>) -> Verdict {
    let (account, ann, shard) = (world.account(), world.account(), world.shard());
    let items: Vec<_> = (1..=40).map(|place| said(account, ann, place, 1000 + place)).collect();
    world.flush(shard, &flush_of(account, &items, (1, 9))).await?;
    // One in rows, and one that comes with the flush that erases it.
    let fresh = said(account, ann, 41, 1041);
    let erasures =
        vec![erasure(account, &items[16], at(1, 20)), erasure(account, &fresh, at(1, 21))];
    let flush = flush_of(account, std::slice::from_ref(&fresh), (1, 19));
    world.flush(shard, &Flush { erasures, ..flush }).await?;
    let found = places(&page(world, account, ann, None, 100).await?);
    check!(found.len() == 39 && !found.contains(&17) && !found.contains(&41), "pages: {found:?}");
    let left = inbox(world, account).await?;
    let holes: Vec<_> = left
        .iter()
        .filter(|item| item.content == InboxContent::Hole)
        .map(|item| item.seq.0)
        .collect();
    same!(holes, [17, 41], "holes");
    Ok(())
}

async fn an_erasure_takes_nothing_else(world: &World<'_>) -> Verdict {
    let (account, ann, shard) = (world.account(), world.account(), world.shard());
    let items: Vec<_> = (1..=40).map(|place| said(account, ann, place, 1000 + place)).collect();
    world.flush(shard, &flush_of(account, &items, (1, 9))).await?;
    let before = inbox(world, account).await?;
    // The same name by somebody else, another name, another clock: none is that message.
    let wrong = [
        Erasure { author: world.account(), ..erasure(account, &items[4], at(1, 30)) },
        Erasure { msg_id: MsgId([1; 16]), ..erasure(account, &items[5], at(1, 31)) },
        Erasure { clock: Hlc(5), ..erasure(account, &items[6], at(1, 32)) },
        Erasure {
            conversation: Address::Account(world.account()),
            ..erasure(account, &items[7], at(1, 33))
        },
        Erasure { account: world.account(), ..erasure(account, &items[8], at(1, 34)) },
    ];
    world.flush(shard, &Flush { erasures: wrong.to_vec(), ..empty_flush(1, 40) }).await?;
    same!(inbox(world, account).await?, before, "the inbox");
    // Neighbours of what was erased first stay erased when it is their turn.
    for (pos, place) in [(50, 9), (51, 11), (52, 10)] {
        let erasures = vec![erasure(account, &items[place], at(1, pos))];
        world.flush(shard, &Flush { erasures, ..empty_flush(1, pos) }).await?;
    }
    let left = inbox(world, account).await?;
    let is_hole = |item: &&InboxItem| item.content == InboxContent::Hole;
    let holes: Vec<_> = left.iter().filter(is_hole).map(|item| item.seq.0).collect();
    same!(holes, [10, 11, 12], "holes");
    same!(left.len(), 40, "places");
    Ok(())
}

async fn an_erasure_wins_over_rows_that_come_late(world: &World<'_>) -> Verdict {
    let (account, ann, shard) = (world.account(), world.account(), world.shard());
    let items: Vec<_> = (1..=10).map(|place| said(account, ann, place, 1000 + place)).collect();
    let flush = flush_of(account, &items, (1, 9));
    world.flush(shard, &flush).await?;
    let erasures = vec![erasure(account, &items[3], at(2, 20))];
    world.flush(shard, &Flush { erasures, ..empty_flush(2, 20) }).await?;
    let erased = inbox(world, account).await?;
    world.flush(shard, &flush).await?;
    let other = flush_of(account, &items[1..6], (1, 999));
    world.flush(shard, &other).await?;
    same!(inbox(world, account).await?, erased, "the inbox after late rows");
    Ok(())
}

async fn an_erasure_may_be_written_again(world: &World<'_>) -> Verdict {
    let (account, ann, shard) = (world.account(), world.account(), world.shard());
    let items: Vec<_> = (1..=10).map(|place| said(account, ann, place, 1000 + place)).collect();
    // Each follows from a message of its own, so no two are at one position.
    let erasures = (20..).zip(&items[2..5]);
    let erasures = erasures.map(|(pos, item)| erasure(account, item, at(1, pos))).collect();
    let flush = Flush { erasures, ..flush_of(account, &items, (1, 9)) };
    world.flush(shard, &flush).await?;
    let once = inbox(world, account).await?;
    for _ in 0..3 {
        world.flush(shard, &flush).await?;
    }
    same!(inbox(world, account).await?, once, "the inbox");
    same!(page(world, account, ann, None, 50).await?.items.len(), 7, "messages");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "stores go by the wall clock too")]
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is past its time is gone from what the store answers, or at least is known to be by its reader;
/// what is not stays, in the same row.
async fn messages_expire_alone(world: &World<'_>) -> Verdict {
    let (account, ann) = (world.account(), world.account());
    let soon = now_ms() + 2_500;
    let item = |place: u64| {
        let item = said(account, ann, place, 1000 + place);
        let expires = if place.is_multiple_of(2) { soon } else { 0 };
        changed(item, |message| message.expires_at_ms = expires)
    };
    let items: Vec<_> = (1..=9).map(item).collect();
    world.flush(world.shard(), &flush_of(account, &items, (1, 9))).await?;
    same!(inbox(world, account).await?, items, "the inbox at first");
    tokio::time::sleep(Duration::from_millis(soon.saturating_sub(now_ms()) + 1_500)).await;
    let now = iris_core::clock::WallMs(now_ms());
    let mut left = inbox(world, account).await?;
    left.iter_mut().for_each(|item| item.expire(now));
    same!(left.len(), 9, "places");
    let messages: Vec<_> =
        left.iter().filter(|i| i.content != InboxContent::Hole).map(|i| i.seq.0).collect();
    same!(messages, [1, 3, 5, 7, 9], "messages that stay");
    Ok(())
}

async fn an_erasure_leaves_what_expires_alone(world: &World<'_>) -> Verdict {
    let (account, ann, shard) = (world.account(), world.account(), world.shard());
    let later = now_ms() + 3_600_000;
    let item = |place: u64| {
        let item = said(account, ann, place, 1000 + place);
        changed(item, |message| message.expires_at_ms = if place > 2 { later } else { 0 })
    };
    let items: Vec<_> = (1..=4).map(item).collect();
    world.flush(shard, &flush_of(account, &items, (1, 9))).await?;
    for (pos, place, expected) in [(20, 1, vec![1, 3, 4]), (21, 3, vec![1, 3]), (22, 2, vec![1])] {
        let erasures = vec![erasure(account, &items[place], at(1, pos))];
        world.flush(shard, &Flush { erasures, ..empty_flush(1, pos) }).await?;
        let left = inbox(world, account).await?;
        let messages: Vec<_> =
            left.iter().filter(|i| i.content != InboxContent::Hole).map(|i| i.seq.0).collect();
        same!(messages, expected, "messages after place {} was erased", place + 1);
    }
    Ok(())
}
