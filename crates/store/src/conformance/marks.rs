//! Marks and wishes.

use futures::future::try_join_all;
use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::limits;
use iris_core::mark::Mark;
use iris_core::relation::{Audience, Relations, Tells, Wish};
use iris_core::shard::{AccountRow, Flush, MarkRow};

use super::fixture::{World, account_row, at, empty_flush, failed};
use super::{Verdict, check, none, same, suite};

suite! {
    a_mark_is_read_as_it_was_written,
    parts_of_one_value_are_all_written,
    marks_only_grow_whatever_order_they_come_in,
    only_newer_marks_are_read,
    many_marks_come_in_parts,
    wishes_are_read_as_they_were_written,
    wishes_stay_when_only_the_account_changes,
    late_wishes_lose,
}

fn mark(own_read: u64, delivered: u64, read: u64, version: u64) -> Mark {
    Mark { own_read: Hlc(own_read), delivered: Hlc(delivered), read: Hlc(read), version }
}

fn flush_of(account: AccountId, marks: &[(AccountId, Mark)], pos: u64) -> Flush {
    let marks = marks.iter().map(|(with, mark)| MarkRow { account, with: *with, mark: *mark });
    Flush { marks: marks.collect(), ..empty_flush(1, pos) }
}

async fn read(
    world: &World<'_>,
    account: AccountId,
    above: u64,
) -> Result<Vec<(AccountId, Mark)>, String> {
    let page = world.store.marks(account, above, None).await.map_err(failed)?;
    Ok(page.marks)
}

async fn a_mark_is_read_as_it_was_written(world: &World<'_>) -> Verdict {
    let (account, with) = (world.account(), world.account());
    none!(read(world, account, 0).await?, "marks of nobody");
    // A clock is a time in milliseconds and a counter.
    let clock = (1_900_000_000_000 << 16) + 65_535;
    let whole = mark(clock, clock + 1, clock - 1, 12);
    world.flush(world.shard(), &flush_of(account, &[(with, whole)], 5)).await?;
    same!(read(world, account, 0).await?, [(with, whole)], "the mark");
    none!(read(world, with, 0).await?, "marks of the other one");
    Ok(())
}

async fn parts_of_one_value_are_all_written(world: &World<'_>) -> Verdict {
    let account = world.account();
    let mut marks = vec![
        (world.account(), mark(70, 70, 70, 70)),
        (world.account(), mark(0, 80, 80, 5)),
        (world.account(), mark(5, 9, 5, 9)),
        (world.account(), mark(9, 0, 0, 9)),
    ];
    world.flush(world.shard(), &flush_of(account, &marks, 5)).await?;
    // With its account, too, as most are.
    let other = world.account();
    let with_account = flush_of(other, &marks, 6);
    let accounts = vec![account_row(other, 6, at(1, 6))];
    world.flush(world.shard(), &Flush { accounts, ..with_account }).await?;
    marks.sort_unstable_by_key(|(with, _)| *with);
    same!(read(world, account, 0).await?, marks, "the marks");
    same!(read(world, other, 0).await?, marks, "the marks with their account");
    Ok(())
}

async fn marks_only_grow_whatever_order_they_come_in(world: &World<'_>) -> Verdict {
    let (account, with) = (world.account(), world.account());
    let mut parts = vec![
        mark(100, 0, 0, 1),
        mark(0, 50, 0, 2),
        mark(0, 70, 60, 3),
        mark(110, 0, 0, 4),
        mark(0, 80, 75, 5),
        mark(0, 80, 80, 6),
    ];
    fastrand::Rng::with_seed(world.random()).shuffle(&mut parts);
    let shard = world.shard();
    let mut known = Mark::default();
    for (part, pos) in parts.iter().zip(1..) {
        world.flush(shard, &flush_of(account, &[(with, *part)], pos)).await?;
        known = known.merge(*part);
        same!(read(world, account, 0).await?, [(with, known)], "after {part:?}");
    }
    let flushes: Vec<_> = parts
        .iter()
        .zip(20..)
        .map(|(part, pos)| flush_of(account, &[(with, *part)], pos))
        .collect();
    try_join_all(flushes.iter().map(|flush| world.flush(shard, flush))).await?;
    same!(read(world, account, 0).await?, [(with, mark(110, 80, 80, 6))], "after all at once");
    Ok(())
}

async fn only_newer_marks_are_read(world: &World<'_>) -> Verdict {
    let account = world.account();
    let marks: Vec<_> = (1..=9).map(|version| (world.account(), mark(0, 7, 0, version))).collect();
    world.flush(world.shard(), &flush_of(account, &marks, 5)).await?;
    let mut versions: Vec<_> =
        read(world, account, 6).await?.iter().map(|(_, mark)| mark.version).collect();
    versions.sort_unstable();
    same!(versions, [7, 8, 9], "versions above 6");
    none!(read(world, account, 9).await?, "versions above the newest");
    Ok(())
}

async fn many_marks_come_in_parts(world: &World<'_>) -> Verdict {
    let account = world.account();
    let count = u64::try_from(limits::MARKS_MAX).unwrap_or(u64::MAX) * 2 + 5;
    let mut marks: Vec<_> = (1..=count).map(|n| (world.account(), mark(n, 0, 0, n))).collect();
    world.flush(world.shard(), &flush_of(account, &marks, 5)).await?;
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..10 {
        let page = world.store.marks(account, 0, after).await.map_err(failed)?;
        check!(page.marks.len() <= limits::MARKS_MAX, "a part of {}", page.marks.len());
        found.extend(page.marks);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    marks.sort_unstable_by_key(|(with, _)| *with);
    same!(found, marks, "the marks");
    Ok(())
}

fn wishing(account: AccountId, relations: &Relations, (epoch, pos): (u32, u64)) -> Flush {
    let mut row = account_row(account, pos, at(epoch, pos));
    row.state.relations = relations.clone();
    let accounts = vec![AccountRow { relations: true, ..row }];
    Flush { accounts, ..empty_flush(epoch, pos) }
}

async fn wishes_of(world: &World<'_>, account: AccountId) -> Result<Option<Relations>, String> {
    let state = world.store.account(account).await.map_err(failed)?;
    Ok(state.map(|state| state.relations))
}

fn some_wishes(world: &World<'_>) -> Relations {
    let mut relations = Relations::default();
    for _ in 0..5 {
        relations.fulfil(Wish::Block(world.account(), true));
        relations.fulfil(Wish::Contact(world.account(), true));
    }
    relations.fulfil(Wish::Presence(Audience::Contacts));
    relations.fulfil(Wish::TellReads(Tells::No));
    relations
}

async fn wishes_are_read_as_they_were_written(world: &World<'_>) -> Verdict {
    let (account, shard, wishes) = (world.account(), world.shard(), some_wishes(world));
    world.flush(shard, &wishing(account, &wishes, (1, 5))).await?;
    same!(wishes_of(world, account).await?, Some(wishes), "the wishes");
    let none = Relations::default();
    world.flush(shard, &wishing(account, &none, (1, 6))).await?;
    same!(wishes_of(world, account).await?, Some(none), "no wishes");
    Ok(())
}

async fn wishes_stay_when_only_the_account_changes(world: &World<'_>) -> Verdict {
    let (account, shard, wishes) = (world.account(), world.shard(), some_wishes(world));
    world.flush(shard, &wishing(account, &wishes, (1, 5))).await?;
    let accounts = vec![account_row(account, 9, at(1, 9))];
    world.flush(shard, &Flush { accounts, ..empty_flush(1, 9) }).await?;
    same!(wishes_of(world, account).await?, Some(wishes), "the wishes");
    Ok(())
}

async fn late_wishes_lose(world: &World<'_>) -> Verdict {
    let (account, shard, wishes) = (world.account(), world.shard(), some_wishes(world));
    world.flush(shard, &wishing(account, &wishes, (2, 5))).await?;
    world.flush(shard, &wishing(account, &some_wishes(world), (1, 900))).await?;
    same!(wishes_of(world, account).await?, Some(wishes), "the wishes");
    Ok(())
}
