//! What is said in groups: bodies that are kept apart from inboxes, and the logs that have them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::{Hlc, WallMs};
use iris_core::group::{Change, Group, InGroup, Place, Reach, Settings, stamp};
use iris_core::id::{AccountId, DeviceNo, GroupId, MsgId};
use iris_core::message::{Address, Bodies, Message};
use iris_core::seq::{ConvSeq, HomeGen, InboxSeq, ShardSeq};
use iris_core::shard::{Fetch, Flush, GroupRow, InboxRun, IndexRow, LogErasure, LogFetch, LogRow};

use super::fixture::{World, at, empty_flush, failed, message};
use super::history::now_ms;
use super::{Verdict, check, none, same, suite};

suite! {
    bodies_that_are_apart_come_back,
    an_inbox_has_no_body_that_is_apart,
    bodies_count_in_the_weight_of_a_page,
    a_change_without_a_body_is_no_hole,
    what_is_erased_in_the_log_is_a_hole_in_every_inbox,
    an_erasure_in_the_log_takes_nothing_else,
    an_erasure_in_the_log_wins_whoever_writes_later,
    a_body_that_is_apart_expires,
    a_part_of_a_log_begins_and_ends_where_it_should,
    a_log_ends_at_the_head_of_its_group,
    a_log_goes_on_behind_what_has_expired,
}

const HOME: HomeGen = HomeGen(0);

/// A message to a group, at its place.
fn said(group: GroupId, place: u64, reach: Reach, size: usize) -> Arc<Message> {
    let count = iris_core::id::ShardCount::new(65_536).expect("a power of two");
    let tenant = iris_core::id::TenantNo(0);
    let sender = AccountId::in_shard(group.shard(count), count, tenant, u128::from(place % 7));
    let mut id = [8; 16];
    id[..8].copy_from_slice(&place.to_be_bytes());
    let place_in = Place { seq: ConvSeq(place), reach };
    Arc::new(Message {
        sender,
        to: Address::Group(group),
        msg_id: MsgId(id),
        clock: Hlc((1 << 41) + place),
        expires_at_ms: 0,
        group: Some(Box::new(InGroup { place: Some(place_in), ..InGroup::default() })),
        ..Arc::unwrap_or_clone(message(sender, place, size))
    })
}

/// The same, with another change.
fn changed(message: &Arc<Message>, change: impl FnOnce(&mut Message)) -> Arc<Message> {
    let mut message = Message::clone(message);
    change(&mut message);
    Arc::new(message)
}

/// What a member's shard writes of messages that an account got, from a place in its inbox on.
fn shared(
    (account, first): (AccountId, u64),
    messages: &[Arc<Message>],
    (epoch, pos): (u32, u64),
) -> Flush {
    let timestamp = at(epoch, pos);
    let item = |(message, place): (&Arc<Message>, u64)| InboxItem {
        seq: InboxSeq(place),
        clock: Hlc(message.clock.0 + 1),
        content: InboxContent::Message(Arc::clone(message)),
    };
    let items: Vec<_> = messages.iter().zip(first..).map(item).collect();
    let index = messages.iter().zip(&items).map(|(message, item)| IndexRow {
        account,
        conversation: message.to,
        clock: message.clock,
        place: item.seq,
        timestamp,
    });
    Flush {
        index: index.collect(),
        inbox: vec![InboxRun { account, items, timestamp }],
        logs: logs_of(messages.iter().filter(|message| message.is_kept_apart())),
        ..empty_flush(epoch, pos)
    }
}

fn logs_of<'a>(messages: impl IntoIterator<Item = &'a Arc<Message>>) -> Vec<LogRow> {
    let row = |message: &Arc<Message>| match message.to {
        Address::Group(group) => {
            LogRow { group, message: Arc::clone(message), timestamp: stamp::whole(HOME) }
        }
        Address::Account(_) => unreachable!("only groups have logs"),
    };
    messages.into_iter().map(row).collect()
}

/// What the group's shard writes of messages of a large group.
fn logged(
    (group, head): (GroupId, u64),
    messages: &[Arc<Message>],
    (epoch, pos): (u32, u64),
) -> Flush {
    let state = Group {
        pos: ShardSeq(pos),
        head: ConvSeq(head),
        version: ConvSeq(1),
        reach: Reach::Pull,
        settings: Settings::default(),
        members: BTreeMap::new(),
    };
    let row = GroupRow { group, state, members: Vec::new(), timestamp: at(epoch, pos) };
    Flush { groups: vec![row], logs: logs_of(messages), ..empty_flush(epoch, pos) }
}

fn erasure(message: &Message) -> LogErasure {
    let (Address::Group(group), Some(place)) = (message.to, message.place()) else {
        unreachable!("only groups have logs")
    };
    LogErasure {
        group,
        place: place.seq,
        author: message.sender,
        msg_id: message.msg_id,
        timestamp: stamp::erased(HOME),
    }
}

fn erasing(message: &Message, at: (u32, u64)) -> Flush {
    Flush { log_erasures: vec![erasure(message)], ..empty_flush(at.0, at.1) }
}

async fn inbox(world: &World<'_>, account: AccountId) -> Result<Vec<InboxItem>, String> {
    let read = world.store.inbox(account, InboxSeq(0), InboxSeq(9_999), usize::MAX);
    read.await.map_err(failed)
}

async fn history(
    world: &World<'_>,
    account: AccountId,
    group: GroupId,
) -> Result<Vec<InboxItem>, String> {
    let fetch = Fetch { conversation: Address::Group(group), before: None, limit: 100 };
    let mut page = world.store.history(account, fetch).await.map_err(failed)?;
    page.items.sort_by_key(|item| item.seq);
    Ok(page.items)
}

async fn log(
    world: &World<'_>,
    group: GroupId,
    (after, upto): (u64, Option<u64>),
    limit: u32,
) -> Result<Vec<Arc<Message>>, String> {
    let fetch = LogFetch { group, after: ConvSeq(after), upto: upto.map(ConvSeq), limit };
    world.store.group_log(fetch).await.map_err(failed)
}

fn places(messages: &[Arc<Message>]) -> Vec<u64> {
    messages.iter().filter_map(|message| message.place()).map(|place| place.seq.0).collect()
}

fn holes(items: &[InboxItem]) -> Vec<u64> {
    let is_hole = |item: &&InboxItem| item.content == InboxContent::Hole;
    items.iter().filter(is_hole).map(|item| item.seq.0).collect()
}

async fn bodies_that_are_apart_come_back(world: &World<'_>) -> Verdict {
    let (group, other, shard) = (world.group(), world.group(), world.shard());
    let (ann, ben) = (world.account(), world.account());
    // Small groups, larger ones, several at once, across partitions, with a body for each device.
    let mut messages: Vec<_> =
        (1000..1050).map(|place| said(group, place, Reach::Apart, 60)).collect();
    messages.extend((1..40).map(|place| said(other, place, Reach::Inline, 60)));
    messages.extend((40..60).map(|place| said(other, place, Reach::Apart, 3000)));
    let each = vec![(DeviceNo(1), vec![1; 90].into()), (DeviceNo(9), vec![2; 70].into())];
    messages
        .push(changed(&said(other, 60, Reach::Pull, 0), |m| m.bodies = Bodies::PerDevice(each)));
    let of_ann = shared((ann, 1), &messages, (1, 9));
    let of_ben = shared((ben, 5000), &messages[30..], (1, 9));
    let both = Flush {
        inbox: [of_ann.inbox.clone(), of_ben.inbox.clone()].concat(),
        index: [of_ann.index.clone(), of_ben.index].concat(),
        ..of_ann.clone()
    };
    world.flush(shard, &both).await?;
    let expected = of_ann.inbox.into_iter().flat_map(|run| run.items).collect::<Vec<_>>();
    check!(inbox(world, ann).await? == expected, "the inbox differs");
    check!(history(world, ann, group).await? == expected[..50], "the history differs");
    check!(history(world, ann, other).await? == expected[50..], "the other history differs");
    let expected = of_ben.inbox.into_iter().flat_map(|run| run.items).collect::<Vec<_>>();
    check!(inbox(world, ben).await? == expected, "the other inbox differs");
    Ok(())
}

/// What an inbox says of a body that no log has: nothing, as it has none itself.
async fn an_inbox_has_no_body_that_is_apart(world: &World<'_>) -> Verdict {
    let (group, account) = (world.group(), world.account());
    let messages = [
        said(group, 1, Reach::Inline, 60),
        said(group, 2, Reach::Apart, 60),
        said(group, 3, Reach::Pull, 60),
    ];
    let flush = Flush { logs: Vec::new(), ..shared((account, 1), &messages, (1, 9)) };
    world.flush(world.shard(), &flush).await?;
    same!(holes(&inbox(world, account).await?), [2, 3], "holes");
    let found = history(world, account, group).await?;
    same!(found.iter().map(|item| item.seq.0).collect::<Vec<_>>(), [1], "history");
    Ok(())
}

async fn bodies_count_in_the_weight_of_a_page(world: &World<'_>) -> Verdict {
    let (group, account) = (world.group(), world.account());
    let messages: Vec<_> = (1..=200).map(|place| said(group, place, Reach::Apart, 2000)).collect();
    world.flush(world.shard(), &shared((account, 1), &messages, (1, 9))).await?;
    let (bytes_max, mut after, mut found) = (20 * 1024, 0, Vec::new());
    while after < 200 {
        let read = world.store.inbox(account, InboxSeq(after), InboxSeq(200), bytes_max);
        let page = read.await.map_err(failed)?;
        let bytes: usize = page.iter().map(InboxItem::weight).sum();
        check!(bytes <= bytes_max, "a page of {bytes} bytes");
        check!(after + 9 > 200 || page.len() == 9, "a page of {} places", page.len());
        after = page.last().map(|item| item.seq.0).ok_or("an empty page before the end")?;
        found.extend(page.iter().map(|item| item.seq.0));
    }
    check!(found.iter().copied().eq(1..=200), "the pages together: {found:?}");
    let read = world.store.inbox(account, InboxSeq(3), InboxSeq(200), 1);
    same!(read.await.map_err(failed)?.len(), 1, "places in a page of one byte");
    Ok(())
}

/// A roster changes by messages that often say nothing.
async fn a_change_without_a_body_is_no_hole(world: &World<'_>) -> Verdict {
    let (group, account) = (world.group(), world.account());
    let who = vec![world.account()];
    let remove = changed(&said(group, 5, Reach::Apart, 0), |message| {
        let place = message.place();
        let change = Some(Change::Remove(who));
        message.group = Some(Box::new(InGroup { change, place, ..InGroup::default() }));
    });
    let flush = shared((account, 1), std::slice::from_ref(&remove), (1, 9));
    world.flush(world.shard(), &flush).await?;
    let found = inbox(world, account).await?.into_iter().map(|item| item.content);
    same!(found.collect::<Vec<_>>(), [InboxContent::Message(remove)], "the inbox");
    Ok(())
}

async fn what_is_erased_in_the_log_is_a_hole_in_every_inbox(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    let (ann, ben) = (world.account(), world.account());
    let messages: Vec<_> = (1..=6).map(|place| said(group, place, Reach::Apart, 60)).collect();
    world.flush(shard, &shared((ann, 1), &messages, (1, 9))).await?;
    // One that was in rows, and one that comes with the flush that erases it.
    let of_ben = shared((ben, 11), &messages, (1, 10));
    let log_erasures = vec![erasure(&messages[2]), erasure(&messages[5])];
    let flush = Flush { log_erasures, ..of_ben };
    for _ in 0..2 {
        world.flush(shard, &flush).await?;
        same!(holes(&inbox(world, ann).await?), [3, 6], "holes of the one");
        same!(holes(&inbox(world, ben).await?), [13, 16], "holes of the other");
        let found = history(world, ann, group).await?;
        let found: Vec<_> = found.iter().map(|item| item.seq.0).collect();
        same!(found, [1, 2, 4, 5], "history");
    }
    Ok(())
}

async fn an_erasure_in_the_log_takes_nothing_else(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    let messages: Vec<_> = (1..=8).map(|place| said(group, place, Reach::Pull, 60)).collect();
    world.flush(shard, &logged((group, 8), &messages, (1, 9))).await?;
    let wrong = [
        LogErasure { author: world.account(), ..erasure(&messages[0]) },
        LogErasure { msg_id: MsgId([1; 16]), ..erasure(&messages[1]) },
        LogErasure { place: ConvSeq(4), ..erasure(&messages[2]) },
        LogErasure { place: ConvSeq(99), ..erasure(&messages[4]) },
        LogErasure { group: world.group(), ..erasure(&messages[5]) },
    ];
    world.flush(shard, &Flush { log_erasures: wrong.to_vec(), ..empty_flush(1, 30) }).await?;
    same!(log(world, group, (0, None), 50).await?, messages, "the log");
    none!(log(world, group, (98, Some(99)), 50).await?, "a place that was never written");
    world.flush(shard, &erasing(&messages[3], (1, 40))).await?;
    let mut expected = messages.clone();
    expected[3] = Arc::new(messages[3].without_body());
    same!(log(world, group, (0, None), 50).await?, expected, "the log with one erased");
    Ok(())
}

/// Many shards write a place, and what they say of it has positions of their own.
async fn an_erasure_in_the_log_wins_whoever_writes_later(world: &World<'_>) -> Verdict {
    let (group, account) = (world.group(), world.account());
    let messages: Vec<_> = (1..=3).map(|place| said(group, place, Reach::Apart, 60)).collect();
    world.flush(world.shard(), &shared((account, 1), &messages, (5, 900))).await?;
    world.flush(world.shard(), &erasing(&messages[1], (1, 7))).await?;
    same!(holes(&inbox(world, account).await?), [2], "holes");
    let other = shared((world.account(), 1), &messages, (9, 1000));
    world.flush(world.shard(), &other).await?;
    same!(holes(&inbox(world, account).await?), [2], "holes after others wrote it");
    // Another home counts places anew: what it writes there is another message.
    let anew = said(group, 2, Reach::Apart, 70);
    let timestamp = stamp::whole(HomeGen(1));
    let row = LogRow { group, message: Arc::clone(&anew), timestamp };
    world.flush(world.shard(), &Flush { logs: vec![row], ..empty_flush(1, 1) }).await?;
    none!(holes(&inbox(world, account).await?), "holes in another home");
    Ok(())
}

async fn a_body_that_is_apart_expires(world: &World<'_>) -> Verdict {
    let (group, account, shard) = (world.group(), world.account(), world.shard());
    let (soon, later) = (now_ms() + 2_500, now_ms() + 3_600_000);
    let message = |place: u64| {
        let expires = [0, soon, later][usize::try_from(place % 3).unwrap_or_default()];
        changed(&said(group, place, Reach::Apart, 60), |message| message.expires_at_ms = expires)
    };
    let messages: Vec<_> = (1..=7).map(message).collect();
    let flush = shared((account, 1), &messages, (1, 9));
    world.flush(shard, &flush).await?;
    let expected = flush.inbox.iter().flat_map(|run| run.items.clone()).collect::<Vec<_>>();
    same!(inbox(world, account).await?, expected, "the inbox at first");
    // One that expires on its own, and one that does not yet, are erased as others are.
    let erased = |index: usize, pos| erasing(&messages[index], (1, pos));
    world.flush(shard, &erased(1, 20)).await?;
    world.flush(shard, &erased(2, 21)).await?;
    same!(holes(&inbox(world, account).await?), [2, 3], "holes");
    tokio::time::sleep(Duration::from_millis(soon.saturating_sub(now_ms()) + 1_500)).await;
    let mut left = inbox(world, account).await?;
    left.iter_mut().for_each(|item| item.expire(WallMs(now_ms())));
    same!(holes(&left), [1, 2, 3, 4, 7], "holes in the end");
    world.flush(shard, &logged((group, 7), &[], (1, 30))).await?;
    let left = log(world, group, (0, None), 50).await?;
    same!(places(&left), [1, 2, 3, 4, 5, 6, 7], "places, with or without bodies");
    let whole = |message: &&Arc<Message>| {
        !message.is_expired(WallMs(now_ms())) && !message.bodies.is_empty()
    };
    let left: Vec<_> = left.iter().filter(whole).map(Arc::clone).collect();
    same!(places(&left), [5, 6], "messages with bodies");
    Ok(())
}

async fn a_part_of_a_log_begins_and_ends_where_it_should(world: &World<'_>) -> Verdict {
    let (group, other, shard) = (world.group(), world.group(), world.shard());
    let messages: Vec<_> = (1..=2100).map(|place| said(group, place, Reach::Pull, 40)).collect();
    world.flush(shard, &logged((group, 2100), &messages, (1, 9))).await?;
    world.flush(shard, &logged((other, 9), &[said(other, 9, Reach::Pull, 40)], (1, 10))).await?;
    for (after, upto, limit, expected) in [
        (0, None, 3, 1..=3),
        (0, Some(2), 50, 1..=2),
        (1020, None, 9, 1021..=1029),
        (1022, Some(1024), 9, 1023..=1024),
        (1023, Some(1024), 9, 1024..=1024),
        (2090, None, 50, 2091..=2100),
        (2040, Some(5000), 20, 2041..=2060),
        (1000, None, 1100, 1001..=2100),
    ] {
        let found = places(&log(world, group, (after, upto), limit).await?);
        check!(found.iter().copied().eq(expected), "{after}..{upto:?} of {limit}: {found:?}");
    }
    let found = log(world, group, (1000, None), 40).await?;
    check!(found == messages[1000..1040], "the messages differ");
    for (after, upto) in [(2100, None), (7, Some(7)), (9, Some(3)), (5000, None)] {
        none!(log(world, group, (after, upto), 50).await?, "places {after}..{upto:?}");
    }
    none!(log(world, world.group(), (0, None), 50).await?, "places of no group");
    Ok(())
}

/// Rows above the head come in any order: whoever read one would never read the one before it.
async fn a_log_ends_at_the_head_of_its_group(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    let messages: Vec<_> = (1..=9).map(|place| said(group, place, Reach::Pull, 40)).collect();
    world.flush(shard, &logged((group, 4), &messages[..4], (1, 9))).await?;
    let under_way = Flush { logs: logs_of(&messages[6..]), ..empty_flush(1, 10) };
    world.flush(shard, &under_way).await?;
    same!(places(&log(world, group, (2, None), 50).await?), [3, 4], "while they are under way");
    none!(log(world, group, (4, Some(9)), 50).await?, "above the head");
    world.flush(shard, &logged((group, 9), &messages[4..], (1, 11))).await?;
    same!(places(&log(world, group, (2, None), 50).await?), [3, 4, 5, 6, 7, 8, 9], "then");
    Ok(())
}

async fn a_log_goes_on_behind_what_has_expired(world: &World<'_>) -> Verdict {
    let (group, shard) = (world.group(), world.shard());
    // What is left of a long log.
    let first = 40 * 1024 + 700;
    let messages: Vec<_> =
        (first..first + 500).map(|place| said(group, place, Reach::Pull, 40)).collect();
    world.flush(shard, &logged((group, first + 499), &messages, (1, 9))).await?;
    for after in [0, 5, 1023, 3000, 39 * 1024, 40 * 1024 + 699] {
        let found = places(&log(world, group, (after, None), 400).await?);
        check!(found.iter().copied().eq(first..first + 400), "behind {after}: {found:?}");
    }
    let gone = (world.group(), 90_000);
    world.flush(shard, &logged(gone, &[], (1, 10))).await?;
    none!(log(world, gone.0, (3, None), 50).await?, "a log of which nothing is left");
    Ok(())
}
