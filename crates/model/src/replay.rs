//! What a claimed shard is recovered from: every ownership before, up to its release or seal.
//!
//! Never starts at a checkpoint: the log is read from the shard's first entry.

use crate::state::{BlockSeq, Entries, EntryId, Epoch, Row, SessionNo, ShardNo, State};

/// The oldest ownership of the session that it has not recovered.
fn claimed(state: &State, session: SessionNo, shard: ShardNo) -> Option<Epoch> {
    let mut rows = state.shard(shard).epochs();
    rows.find(|(_, row)| row.session == session && row.recovered.is_none()).map(|(epoch, _)| epoch)
}

/// Where an ownership ends; with a claim that neither waited for, at the end of what is written.
fn end_of(state: &State, row: &Row) -> BlockSeq {
    let session = state.session(row.session);
    row.released_block.or(session.seal).unwrap_or(session.next_block())
}

/// The entries before an ownership of a shard, in order, and whether a read may miss each.
fn parts(
    state: &State,
    shard: ShardNo,
    before: Epoch,
) -> impl Iterator<Item = (EntryId, bool)> + '_ {
    let earlier = state.shard(shard).epochs().take_while(move |(epoch, _)| *epoch < before);
    earlier.flat_map(move |(epoch, row)| {
        let end = end_of(state, row);
        let session = state.session(row.session);
        let blocks = session.blocks_of(shard, epoch);
        let inside = blocks.filter(move |block| *block >= row.first_block && *block < end);
        inside.map(move |block| {
            let entry = EntryId { session: row.session, block };
            (entry, !session.blocks[usize::from(block)].is_durable)
        })
    })
}

/// How many of the blocks that a replay reads it may miss. None, unless something is wrong.
pub(crate) fn unsure(state: &State, session: SessionNo, shard: ShardNo) -> usize {
    let Some(epoch) = claimed(state, session, shard) else { return 0 };
    parts(state, shard, epoch).filter(|(_, unsure)| *unsure).count()
}

/// What the session recovers of a shard, and for which ownership.
pub(crate) fn replay(
    state: &State,
    session: SessionNo,
    shard: ShardNo,
    unseen: u8,
) -> Option<(Epoch, Entries)> {
    let epoch = claimed(state, session, shard)?;
    let mut place = 0;
    let seen = parts(state, shard, epoch).filter(|(_, unsure)| {
        let missed = *unsure && unseen & (1 << place) != 0;
        place += u8::from(*unsure);
        !missed
    });
    Some((epoch, seen.map(|(entry, _)| entry).collect()))
}
