//! Inboxes: pages of places from rows of runs.

use iris_core::account::{InboxContent, InboxItem};
use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::seq::InboxSeq;
use iris_core::shard::{Flush, InboxRun};

use super::fixture::{World, at, empty_flush, failed, notice, place, run};
use super::{Verdict, check, none, same, suite};

suite! {
    every_kind_of_place_comes_back,
    a_range_brings_its_places_and_no_others,
    pages_follow_each_other_without_gap_or_overlap,
    a_page_brings_at_least_one_place,
    places_that_are_gone_are_missing,
    a_place_comes_from_the_newest_of_overlapping_runs,
    the_order_in_which_overlapping_runs_arrive_means_nothing,
    an_erased_place_stays_erased,
    runs_cross_every_border,
    the_largest_messages_fit,
    inboxes_do_not_mix,
}

async fn write(world: &World<'_>, epoch: u32, pos: u64, runs: Vec<InboxRun>) -> Verdict {
    let flush = Flush { inbox: runs, ..empty_flush(epoch, pos) };
    world.flush(world.shard(), &flush).await
}

async fn read(
    world: &World<'_>,
    account: AccountId,
    (after, upto): (u64, u64),
    bytes_max: usize,
) -> Result<Vec<InboxItem>, String> {
    let read = world.store.inbox(account, InboxSeq(after), InboxSeq(upto), bytes_max);
    read.await.map_err(failed)
}

fn places(items: &[InboxItem]) -> Vec<u64> {
    items.iter().map(|item| item.seq.0).collect()
}

/// Places with the clocks that say which run they came from.
fn clocks(items: &[InboxItem]) -> Vec<(u64, u64)> {
    items.iter().map(|item| (item.seq.0, item.clock.0)).collect()
}

async fn every_kind_of_place_comes_back(world: &World<'_>) -> Verdict {
    let account = world.account();
    let with = |seq, content| InboxItem { seq: InboxSeq(seq), clock: Hlc(seq + 70), content };
    let items = vec![
        place(account, 1, 71, 0),
        with(2, InboxContent::Notice(notice(account))),
        with(3, InboxContent::Hole),
        place(account, 4, 74, 3000),
    ];
    let run = InboxRun { account, items: items.clone(), timestamp: at(1, 9) };
    write(world, 1, 9, vec![run]).await?;
    same!(read(world, account, (0, 4), usize::MAX).await?, items, "the places");
    Ok(())
}

async fn a_range_brings_its_places_and_no_others(world: &World<'_>) -> Verdict {
    let account = world.account();
    write(world, 1, 9, vec![run(account, 1..=80, 1, at(1, 9))]).await?;
    for (after, upto) in [(0, 80), (0, 1), (79, 80), (31, 32), (30, 33), (32, 64), (70, 500)] {
        let found = places(&read(world, account, (after, upto), usize::MAX).await?);
        check!(found.iter().copied().eq(after + 1..=upto.min(80)), "{after}..{upto}: {found:?}");
    }
    for (after, upto) in [(5, 5), (9, 3), (80, 90), (5000, 6000)] {
        let found = read(world, account, (after, upto), usize::MAX).await?;
        none!(found, "places {after}..{upto}");
    }
    Ok(())
}

async fn pages_follow_each_other_without_gap_or_overlap(world: &World<'_>) -> Verdict {
    let account = world.account();
    let items: Vec<_> = (1..=300).map(|seq| place(account, seq, 1, 200 + seq as usize)).collect();
    let runs: Vec<_> = items
        .chunks(17)
        .map(|items| InboxRun { account, items: items.to_vec(), timestamp: at(1, 9) })
        .collect();
    write(world, 1, 9, runs).await?;
    let (bytes_max, mut after, mut found) = (8 * 1024, 0, Vec::new());
    while after < 300 {
        let page = read(world, account, (after, 300), bytes_max).await?;
        let bytes: usize = page.iter().map(InboxItem::weight).sum();
        check!(bytes <= bytes_max, "a page of {bytes} bytes");
        let next = items.get(usize::try_from(after).unwrap_or_default() + page.len());
        let full = next.is_none_or(|next| bytes + next.weight() > bytes_max);
        check!(full, "a page of {bytes} bytes that could hold more");
        after = page.last().map(|item| item.seq.0).ok_or("an empty page before the end")?;
        found.extend(page);
    }
    check!(found == items, "the pages together differ: {:?}", places(&found));
    Ok(())
}

async fn a_page_brings_at_least_one_place(world: &World<'_>) -> Verdict {
    let account = world.account();
    write(world, 1, 9, vec![run(account, 1..=5, 1, at(1, 9))]).await?;
    same!(places(&read(world, account, (0, 5), 0).await?), [1], "a page of no bytes");
    same!(places(&read(world, account, (3, 5), 1).await?), [4], "a page of one byte");
    Ok(())
}

async fn places_that_are_gone_are_missing(world: &World<'_>) -> Verdict {
    let account = world.account();
    let stamp = at(1, 9);
    let runs = vec![run(account, 40..=45, 1, stamp), run(account, 60..=61, 1, stamp)];
    write(world, 1, 9, runs).await?;
    let all = [40, 41, 42, 43, 44, 45, 60, 61];
    same!(places(&read(world, account, (0, 100), usize::MAX).await?), all, "all of it");
    same!(places(&read(world, account, (44, 60), usize::MAX).await?), [45, 60], "around the gap");
    none!(places(&read(world, account, (45, 59), usize::MAX).await?), "in the gap");
    same!(places(&read(world, account, (0, 3000), 0).await?), [40], "the first there is");
    Ok(())
}

async fn a_place_comes_from_the_newest_of_overlapping_runs(world: &World<'_>) -> Verdict {
    let account = world.account();
    write(world, 1, 9, vec![run(account, 1..=40, 1, at(1, 9))]).await?;
    write(world, 2, 9, vec![run(account, 20..=60, 2, at(2, 9))]).await?;
    // A deposed owner's run that is longer, begins later, and arrives last.
    write(world, 1, 80, vec![run(account, 55..=70, 3, at(1, 80))]).await?;
    let expected = |seq| match seq {
        1..=19 => (seq, 1),
        20..=60 => (seq, 2),
        _ => (seq, 3),
    };
    for (after, upto) in [(0, 70), (19, 25), (10, 59), (58, 62), (35, 36), (69, 70)] {
        let found = clocks(&read(world, account, (after, upto), usize::MAX).await?);
        let wanted: Vec<_> = (after + 1..=upto).map(expected).collect();
        same!(found, wanted, "places {after}..{upto}");
    }
    Ok(())
}

async fn the_order_in_which_overlapping_runs_arrive_means_nothing(world: &World<'_>) -> Verdict {
    let runs = [(1, 1..=12, 1), (2, 4..=6, 2), (3, 6..=20, 3), (4, 11..=11, 4)];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
    let mut seen = Vec::new();
    for order in orders {
        let account = world.account();
        for index in order {
            let (epoch, places, clock) = runs[index].clone();
            write(world, epoch, 9, vec![run(account, places, clock, at(epoch, 9))]).await?;
        }
        seen.push(clocks(&read(world, account, (0, 30), usize::MAX).await?));
    }
    let newest = |seq: u64| {
        let covers = |run: &&(u32, std::ops::RangeInclusive<u64>, u64)| run.1.contains(&seq);
        runs.iter().filter(covers).map(|run| run.2).max().map(|clock| (seq, clock))
    };
    let expected: Vec<_> = (1..=20).filter_map(newest).collect();
    for found in seen {
        same!(found, expected, "the places");
    }
    Ok(())
}

async fn an_erased_place_stays_erased(world: &World<'_>) -> Verdict {
    let account = world.account();
    let message = run(account, 5..=7, 1, at(2, 30));
    let hole = |seq| InboxItem { seq: InboxSeq(seq), clock: Hlc(1), content: InboxContent::Hole };
    write(world, 2, 30, vec![message.clone()]).await?;
    let erased = InboxRun { account, items: vec![hole(6)], timestamp: at(2, 31) };
    write(world, 2, 31, vec![erased]).await?;
    // The same flush again, and a late one of an older owner.
    write(world, 2, 30, vec![message]).await?;
    write(world, 1, 99, vec![run(account, 6..=6, 1, at(1, 99))]).await?;
    let found = read(world, account, (4, 7), usize::MAX).await?;
    same!(places(&found), [5, 6, 7], "the places");
    check!(
        found.iter().map(|item| item.content == InboxContent::Hole).eq([false, true, false]),
        "what was erased is back: {found:?}"
    );
    Ok(())
}

async fn runs_cross_every_border(world: &World<'_>) -> Verdict {
    let account = world.account();
    let stamp = at(1, 9);
    let runs = vec![run(account, 980..=2100, 1, stamp), run(account, 4090..=4100, 1, stamp)];
    write(world, 1, 9, runs).await?;
    for (after, upto) in [(979, 2100), (1022, 1024), (1023, 1025), (1010, 1060), (2046, 2050)] {
        let found = places(&read(world, account, (after, upto), usize::MAX).await?);
        check!(found.iter().copied().eq(after + 1..=upto), "{after}..{upto}: {found:?}");
    }
    let far = places(&read(world, account, (2099, 5000), usize::MAX).await?);
    check!(far.iter().copied().eq((2100..=2100).chain(4090..=4100)), "across a gap: {far:?}");
    Ok(())
}

async fn the_largest_messages_fit(world: &World<'_>) -> Verdict {
    let account = world.account();
    let size = iris_core::limits::BODIES_BYTES_MAX;
    let items: Vec<_> = (1..=6).map(|seq| place(account, seq, 1, size)).collect();
    let runs = items.iter().map(|item| InboxRun {
        account,
        items: vec![item.clone()],
        timestamp: at(1, 9),
    });
    write(world, 1, 9, runs.collect()).await?;
    let found = read(world, account, (0, 6), usize::MAX).await?;
    check!(found == items, "the messages differ: {:?}", places(&found));
    let page = read(world, account, (1, 6), 2 * size + 4096).await?;
    same!(places(&page), [2, 3], "a page of two");
    Ok(())
}

async fn inboxes_do_not_mix(world: &World<'_>) -> Verdict {
    let (one, other) = (world.account(), world.account());
    let stamp = at(1, 9);
    write(world, 1, 9, vec![run(one, 1..=4, 1, stamp), run(other, 3..=9, 2, stamp)]).await?;
    let found = clocks(&read(world, one, (0, 50), usize::MAX).await?);
    check!(found.into_iter().eq((1..=4).map(|seq| (seq, 1))), "the one");
    let found = clocks(&read(world, other, (0, 50), usize::MAX).await?);
    check!(found.into_iter().eq((3..=9).map(|seq| (seq, 2))), "the other");
    Ok(())
}
