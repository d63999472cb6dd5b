//! The session log and its fences.

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use iris_core::clock::WallMs;
use iris_core::id::{LaneId, LaneNo};
use iris_core::limits::{BLOCK_BYTES_MAX, LOG_CHUNK_BLOCKS};
use iris_core::seq::BlockSeq;

use super::fixture::{World, block, failed};
use super::{Verdict, check, none, same, suite};
use crate::{LogRow, Suspect};

suite! {
    a_session_says_how_many_lanes_it_has,
    a_block_is_read_as_it_was_written,
    a_block_may_be_written_again,
    a_read_brings_what_is_there_and_no_more,
    lanes_do_not_mix,
    a_tail_is_the_newest_blocks,
    a_tail_goes_on_in_the_chunk_before,
    a_tail_skips_a_chunk_without_blocks,
    a_lower_chunk_never_hides_a_higher_one,
    a_read_crosses_chunks,
    a_long_tail_comes_whole,
    a_fence_is_seen_by_every_read_after_it,
    a_second_fence_is_a_fence_too,
    of_append_and_fence_one_is_seen,
    what_sessions_panicked_over_is_there_for_the_shard,
}

/// Opens a lane's chunk and appends blocks of a few bytes.
async fn append(world: &World<'_>, lane: LaneId, seqs: &[u64]) -> Result<Vec<LogRow>, String> {
    let mut rows = Vec::new();
    let mut chunk = None;
    for seq in seqs {
        if chunk < Some(seq / LOG_CHUNK_BLOCKS) {
            chunk = Some(seq / LOG_CHUNK_BLOCKS);
            world.store.open_chunk(lane, seq / LOG_CHUNK_BLOCKS).await.map_err(failed)?;
        }
        let row = block(*seq, seq.to_be_bytes().to_vec());
        world.store.append(lane, &row).await.map_err(failed)?;
        rows.push(row);
    }
    Ok(rows)
}

fn seqs(rows: &[LogRow]) -> Vec<u64> {
    rows.iter().map(|row| row.seq.0).collect()
}

async fn read(
    world: &World<'_>,
    lane: LaneId,
    range: std::ops::Range<u64>,
    limit: usize,
) -> Result<Vec<LogRow>, String> {
    let (from, end) = (BlockSeq(range.start), BlockSeq(range.end));
    world.store.read(lane, from, end, limit).await.map_err(failed)
}

async fn a_session_says_how_many_lanes_it_has(world: &World<'_>) -> Verdict {
    let session = world.session();
    same!(world.store.lanes(session).await.map_err(failed)?, None, "lanes before");
    for _ in 0..2 {
        world.store.open_session(session, 255).await.map_err(failed)?;
        same!(world.store.lanes(session).await.map_err(failed)?, Some(255), "lanes");
    }
    same!(world.store.lanes(world.session()).await.map_err(failed)?, None, "another's lanes");
    Ok(())
}

async fn a_block_is_read_as_it_was_written(world: &World<'_>) -> Verdict {
    let lane = world.lane();
    world.store.open_chunk(lane, 0).await.map_err(failed)?;
    let all: Vec<u8> = (0..=255).collect();
    let large = all.repeat(BLOCK_BYTES_MAX / 256 + 8);
    let rows = [block(0, all), block(1, Bytes::new()), block(2, large)];
    for row in &rows {
        world.store.append(lane, row).await.map_err(failed)?;
    }
    check!(read(world, lane, 0..3, 10).await? == rows, "the blocks read differ");
    let tail = world.store.tail(lane, 10).await.map_err(failed)?;
    check!(tail == rows, "the blocks of the tail differ");
    Ok(())
}

async fn a_block_may_be_written_again(world: &World<'_>) -> Verdict {
    let lane = world.lane();
    let rows = append(world, lane, &[0, 1, 2]).await?;
    for row in rows.iter().rev() {
        world.store.append(lane, row).await.map_err(failed)?;
    }
    same!(read(world, lane, 0..10, 10).await?, rows, "the blocks");
    Ok(())
}

async fn a_read_brings_what_is_there_and_no_more(world: &World<'_>) -> Verdict {
    let lane = world.lane();
    append(world, lane, &[1, 2, 3, 6, 7, 9]).await?;
    same!(seqs(&read(world, lane, 0..100, 100).await?), [1, 2, 3, 6, 7, 9], "everything");
    same!(seqs(&read(world, lane, 2..7, 100).await?), [2, 3, 6], "2..7");
    same!(seqs(&read(world, lane, 2..100, 3).await?), [2, 3, 6], "three from 2 on");
    none!(seqs(&read(world, lane, 4..6, 100).await?), "a hole");
    none!(seqs(&read(world, lane, 10..100, 100).await?), "above the end");
    none!(seqs(&read(world, lane, 3..3, 100).await?), "nothing");
    #[allow(clippy::reversed_empty_ranges, reason = "what a careless caller may ask for")]
    let reversed = read(world, lane, 7..3, 100).await?;
    none!(seqs(&reversed), "less than nothing");
    none!(seqs(&read(world, lane, 0..100, 0).await?), "none");
    Ok(())
}

async fn lanes_do_not_mix(world: &World<'_>) -> Verdict {
    let lane = world.lane();
    let neighbour = LaneId { lane: LaneNo(lane.lane.0 + 1), ..lane };
    let stranger = LaneId { session: world.session(), ..lane };
    append(world, lane, &[0, 1]).await?;
    append(world, neighbour, &[5]).await?;
    for (lane, expected) in [(lane, vec![0, 1]), (neighbour, vec![5]), (stranger, vec![])] {
        same!(seqs(&read(world, lane, 0..100, 100).await?), expected, "the blocks of {lane}");
        let tail = world.store.tail(lane, 100).await.map_err(failed)?;
        same!(seqs(&tail), expected, "the tail of {lane}");
    }
    Ok(())
}

async fn a_tail_is_the_newest_blocks(world: &World<'_>) -> Verdict {
    let lane = world.lane();
    let rows = append(world, lane, &[0, 1, 2, 4, 5]).await?;
    for limit in [0, 1, 3, 5, 8] {
        let tail = world.store.tail(lane, limit).await.map_err(failed)?;
        let skipped = rows.len().saturating_sub(limit);
        same!(tail, rows[skipped..], "a tail of {limit}");
    }
    Ok(())
}

async fn a_tail_goes_on_in_the_chunk_before(world: &World<'_>) -> Verdict {
    let (lane, border) = (world.lane(), LOG_CHUNK_BLOCKS);
    let written = [border - 3, border - 2, border - 1, border, border + 1];
    append(world, lane, &written).await?;
    for limit in [1, 2, 3, 5, 100] {
        let tail = world.store.tail(lane, limit).await.map_err(failed)?;
        let skipped = written.len().saturating_sub(limit);
        same!(seqs(&tail), written[skipped..], "a tail of {limit}");
    }
    Ok(())
}

async fn a_tail_skips_a_chunk_without_blocks(world: &World<'_>) -> Verdict {
    let (lane, border) = (world.lane(), LOG_CHUNK_BLOCKS);
    append(world, lane, &[border, border + 1]).await?;
    world.store.open_chunk(lane, 2).await.map_err(failed)?;
    let tail = world.store.tail(lane, 100).await.map_err(failed)?;
    same!(seqs(&tail), [border, border + 1], "the tail");
    let fresh = world.lane();
    world.store.open_chunk(fresh, 0).await.map_err(failed)?;
    let tail = world.store.tail(fresh, 100).await.map_err(failed)?;
    none!(seqs(&tail), "the tail of a lane without blocks");
    Ok(())
}

async fn a_lower_chunk_never_hides_a_higher_one(world: &World<'_>) -> Verdict {
    let (lane, border) = (world.lane(), LOG_CHUNK_BLOCKS);
    append(world, lane, &[border - 1, border]).await?;
    // A write that was delayed, or repeated.
    world.store.open_chunk(lane, 0).await.map_err(failed)?;
    let tail = world.store.tail(lane, 1).await.map_err(failed)?;
    same!(seqs(&tail), [border], "the tail");
    Ok(())
}

async fn a_read_crosses_chunks(world: &World<'_>) -> Verdict {
    let (lane, border) = (world.lane(), LOG_CHUNK_BLOCKS);
    let written =
        [border - 2, border - 1, border, border + 1, 2 * border - 1, 2 * border, 2 * border + 1];
    append(world, lane, &written).await?;
    same!(seqs(&read(world, lane, 0..3 * border, 100).await?), written, "everything");
    same!(seqs(&read(world, lane, 0..u64::MAX, 100).await?), written, "everything there is");
    let middle = read(world, lane, border - 1..2 * border + 1, 100).await?;
    same!(seqs(&middle), written[1..6], "the middle");
    let three = read(world, lane, border - 1..3 * border, 3).await?;
    same!(seqs(&three), written[1..4], "three of it");
    Ok(())
}

async fn a_long_tail_comes_whole(world: &World<'_>) -> Verdict {
    let lane = world.lane();
    world.store.open_chunk(lane, 0).await.map_err(failed)?;
    let rows: Vec<_> = (0..300).map(|seq| block(seq, vec![7; 2000])).collect();
    for some in rows.chunks(20) {
        try_join_all(some.iter().map(|row| world.store.append(lane, row))).await.map_err(failed)?;
    }
    let tail = world.store.tail(lane, 250).await.map_err(failed)?;
    check!(tail == rows[50..], "the tail differs: {:?}", seqs(&tail));
    check!(read(world, lane, 0..1000, 1000).await? == rows, "the blocks differ");
    Ok(())
}

async fn a_fence_is_seen_by_every_read_after_it(world: &World<'_>) -> Verdict {
    for _ in 0..20 {
        let (session, by) = (world.session(), world.session());
        same!(world.store.fenced(session).await.map_err(failed)?, None, "the fence before");
        world.store.fence(session, by).await.map_err(failed)?;
        let reads = join_all((0..4).map(|_| world.store.fenced(session))).await;
        for read in reads {
            same!(read.map_err(failed)?, Some(by), "the fence");
        }
        same!(world.store.fenced(by).await.map_err(failed)?, None, "the successor's own fence");
    }
    Ok(())
}

async fn a_second_fence_is_a_fence_too(world: &World<'_>) -> Verdict {
    let (session, one, other) = (world.session(), world.session(), world.session());
    world.store.fence(session, one).await.map_err(failed)?;
    world.store.fence(session, other).await.map_err(failed)?;
    world.store.fence(session, one).await.map_err(failed)?;
    let found = world.store.fenced(session).await.map_err(failed)?;
    check!(found == Some(one) || found == Some(other), "fenced by {found:?}");
    Ok(())
}

/// The heart of the commit rule: the owner writes its block and then reads the fence, the successor
/// writes the fence and then reads the tail. Never do both see nothing.
async fn of_append_and_fence_one_is_seen(world: &World<'_>) -> Verdict {
    for round in 0..60_u64 {
        let lane = world.lane();
        world.store.open_chunk(lane, 0).await.map_err(failed)?;
        let row = block(0, round.to_be_bytes().to_vec());
        let owner = async {
            world.store.append(lane, &row).await?;
            world.store.fenced(lane.session).await
        };
        let successor = async {
            for _ in 0..round % 4 {
                tokio::task::yield_now().await;
            }
            world.store.fence(lane.session, world.session()).await?;
            world.store.tail(lane, 8).await
        };
        let (fence, tail) = futures::join!(owner, successor);
        let acknowledged = fence.map_err(failed)?.is_none();
        let recovered = tail.map_err(failed)?.len() == 1;
        check!(!acknowledged || recovered, "round {round}: acknowledged, and not in the tail");
    }
    Ok(())
}

async fn what_sessions_panicked_over_is_there_for_the_shard(world: &World<'_>) -> Verdict {
    let (store, shard, other) = (world.store, world.shard().shard, world.shard().shard);
    none!(store.suspects(shard).await.map_err(failed)?, "before any");
    let suspect = |input: &str, until| Suspect {
        session: world.session(),
        version: "1.2".to_owned(),
        input: input.to_owned(),
        until: WallMs(until),
    };
    // Several sessions may say the same.
    let mut written = vec![
        suspect("message 7 of device 1", 1_900_000_000_000),
        suspect("message 7 of device 1", 1_900_000_000_001),
        suspect("", 1),
    ];
    for row in &written {
        store.suspect(shard, row).await.map_err(failed)?;
        store.suspect(shard, row).await.map_err(failed)?;
    }
    let mut found = store.suspects(shard).await.map_err(failed)?;
    found.sort_by_key(|row| row.session);
    written.sort_by_key(|row| row.session);
    same!(found, written, "what was written");
    none!(store.suspects(other).await.map_err(failed)?, "of another shard");
    Ok(())
}
