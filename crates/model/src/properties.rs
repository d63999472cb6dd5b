//! What always holds, and what must happen somewhere for that to mean anything.

use stateright::Property;

use crate::state::{
    BlockSeq, EntryId, Epoch, Hold, Row, SHARDS, Session, SessionNo, Shard, State, Takeover,
};
use crate::{Bounds, ShardLog};

/// What clients are promised. The other two that always hold say how the owners keep it.
pub const PROMISES: [&str; 3] = [KEPT, AGREED, ONE_RELEASE];

/// What was acknowledged is in every later owner's state, once and in order.
pub const KEPT: &str = "a later owner recovers what was released, once and where it was";
/// All owners agree on what was before them: nothing that one of them had is lost or comes late.
pub const AGREED: &str = "a later owner recovers what an earlier one did, and more";
/// Two owners never acknowledge the same position.
pub const ONE_RELEASE: &str = "a position is released by one owner";
/// The commit rule: durable, then a fence read that saw none, then released.
pub const RULE: &str = "what is released is durable, and covered by a fence read";
/// The commit rule: in the order of the blocks.
pub const IN_ORDER: &str = "blocks are released in order";

pub(crate) fn all(bounds: Bounds) -> Vec<Property<ShardLog>> {
    let mut properties = always();
    properties.extend(takeovers());
    properties.extend(moves());
    if bounds.claims_at_once > 1 {
        properties.push(Property::sometimes("two claims of an epoch race", |_, state: &State| {
            (0..SHARDS).any(|shard| {
                state.sessions.iter().filter(|session| session.claims[shard].is_some()).count() > 1
            })
        }));
    }
    if bounds.deaths > 0 {
        properties.push(Property::sometimes(
            "a claim of a dead session is performed",
            |_, state| {
                any_shard(state, |state, shard, _| {
                    let row = shard.head_row();
                    row.recovered.is_none() && state.session(row.session).is_dead
                })
            },
        ));
        properties.push(Property::sometimes(
            "a seal of a dead recoverer is on its way",
            |_, state: &State| {
                state.sessions.iter().any(|session| session.is_dead && sealing(session).is_some())
            },
        ));
    }
    properties
}

fn always() -> Vec<Property<ShardLog>> {
    vec![
        Property::always(KEPT, |_, state| each_shard(state, released_is_recovered)),
        Property::always(AGREED, |_, state| each_shard(state, recovered_is_extended)),
        Property::always(ONE_RELEASE, |_, state| each_shard(state, positions_have_one_owner)),
        Property::always(RULE, |_, state| released_was_checked(state)),
        Property::always(IN_ORDER, |_, state| released_in_order(state)),
    ]
}

/// What must happen about takeovers.
fn takeovers() -> Vec<Property<ShardLog>> {
    vec![
        Property::sometimes("a tail that nobody released is taken over", |_, state| {
            any_sealed(state, |state, no, seal| {
                let released = state.session(no).released_below();
                released > 0 && seal > released && served_by_another(state, no)
            })
        }),
        Property::sometimes("a tail is cut off in the middle", |_, state| {
            any_sealed(state, |state, no, seal| seal > 0 && seal < state.session(no).next_block())
        }),
        Property::sometimes("a write of a fenced owner ends after its seal", |_, state| {
            any_sealed(state, |state, no, seal| {
                let late = state.session(no).blocks.get(usize::from(seal));
                late.is_some_and(|block| block.is_durable) && served_by_another(state, no)
            })
        }),
        Property::sometimes("two recoverers saw different ends of a lane", |_, state: &State| {
            let ends: Vec<_> = state.sessions.iter().filter_map(sealing).collect();
            ends.iter().any(|one| ends.iter().any(|other| one.0 == other.0 && one.1 != other.1))
        }),
        Property::sometimes(
            "a recoverer is taken over, and its own entries with it",
            |_, state| {
                any_shard(state, |state, shard, index| {
                    let sealed = |row: &Row| {
                        row.released_block.is_none() && state.session(row.session).seal.is_some()
                    };
                    shard.head() >= 3
                        && shard.rows.iter().take(2).all(sealed)
                        && releases(state, index, 1)
                        && releases(state, index, 2)
                        && shard.rows[2].recovered.is_some()
                })
            },
        ),
        Property::sometimes("a sealed session claims and serves", |_, state| {
            any_shard(state, |state, shard, _| {
                let row = shard.head_row();
                let is_sealed = state.session(row.session).seal.is_some();
                shard.head() > 1 && row.recovered.is_some() && is_sealed
            })
        }),
    ]
}

/// What must happen about moves.
fn moves() -> Vec<Property<ShardLog>> {
    vec![
        Property::sometimes("a shard moves, and both owners release", |_, state| {
            any_shard(state, |state, shard, index| {
                shard.epochs().zip(shard.rows.iter().skip(1)).any(|((epoch, from), to)| {
                    from.released_block.is_some()
                        && from.session != to.session
                        && releases(state, index, epoch)
                        && releases(state, index, epoch + 1)
                })
            })
        }),
        Property::sometimes("the source claims again what nobody took", |_, state| {
            any_shard(state, |_, shard, _| {
                shard.rows.windows(2).any(|pair| {
                    pair[0].session == pair[1].session && pair[0].released_block.is_some()
                })
            })
        }),
        Property::sometimes(
            "a release is on its way after the shard was taken over",
            |_, state| {
                any_shard(state, |state, shard, index| {
                    state.sessions.iter().any(|session| match session.holds[usize::from(index)] {
                        Hold::Releasing { epoch, .. } => epoch < shard.head(),
                        Hold::Nothing | Hold::Serving(_) | Hold::Drained { .. } => false,
                    })
                })
            },
        ),
        Property::sometimes("one lane ends by a release and by a seal", |_, state: &State| {
            let served = |shard: &Shard| shard.head() > 1 && shard.rows[1].recovered.is_some();
            let releases = state.shards.iter().filter(|s| s.rows[0].released_block.is_some());
            let is_sealed = state.session(0).seal.is_some();
            is_sealed && releases.count() == 1 && state.shards.iter().all(served)
        }),
    ]
}

/// The entries of an epoch with their positions in the shard.
fn entries(
    state: &State,
    shard: u8,
    epoch: Epoch,
    row: &Row,
) -> impl Iterator<Item = (usize, EntryId)> {
    let base = row.recovered.as_ref().map_or(0, |entries| entries.len());
    let session = row.session;
    let blocks = state.session(session).blocks_of(shard, epoch);
    (base..).zip(blocks.map(move |block| EntryId { session, block }))
}

fn released(
    state: &State,
    shard: u8,
    epoch: Epoch,
    row: &Row,
) -> impl Iterator<Item = (usize, EntryId)> {
    let lane = state.session(row.session);
    entries(state, shard, epoch, row).filter(|(_, entry)| lane.has_released(entry.block))
}

fn each_shard(state: &State, holds: fn(&State, u8, &Shard) -> bool) -> bool {
    (0..).zip(&state.shards).all(|(index, shard)| holds(state, index, shard))
}

fn released_is_recovered(state: &State, index: u8, shard: &Shard) -> bool {
    shard.epochs().all(|(epoch, row)| {
        let later = shard.epochs().filter(|(later, _)| *later > epoch);
        later.filter_map(|(_, later)| later.recovered.as_ref()).all(|recovered| {
            released(state, index, epoch, row)
                .all(|(position, entry)| recovered.get(position) == Some(&entry))
        })
    })
}

fn recovered_is_extended(_: &State, _: u8, shard: &Shard) -> bool {
    let recovered: Vec<_> = shard.rows.iter().filter_map(|row| row.recovered.as_ref()).collect();
    let once = |entries: &[EntryId]| {
        entries.iter().enumerate().all(|(place, entry)| !entries[..place].contains(entry))
    };
    recovered.windows(2).all(|pair| pair[1].starts_with(pair[0]))
        && recovered.iter().all(|e| once(e))
}

fn positions_have_one_owner(state: &State, index: u8, shard: &Shard) -> bool {
    let mut taken = 0_u64;
    shard.epochs().all(|(epoch, row)| {
        released(state, index, epoch, row).all(|(position, _)| {
            let bit = 1 << position;
            let is_free = taken & bit == 0;
            taken |= bit;
            is_free
        })
    })
}

fn released_was_checked(state: &State) -> bool {
    state.sessions.iter().all(|session| {
        (0..).zip(session.blocks.iter()).all(|(seq, block)| {
            !session.has_released(seq) || (block.is_durable && seq < session.checked)
        })
    })
}

fn released_in_order(state: &State) -> bool {
    state.sessions.iter().all(|session| session.released >> session.released_below() == 0)
}

fn any_sealed(state: &State, holds: fn(&State, SessionNo, BlockSeq) -> bool) -> bool {
    let seals = (0..).zip(&state.sessions).filter_map(|(no, session)| Some((no, session.seal?)));
    seals.into_iter().any(|(no, seal)| holds(state, no, seal))
}

fn any_shard(state: &State, holds: fn(&State, &Shard, u8) -> bool) -> bool {
    (0..).zip(&state.shards).any(|(index, shard)| holds(state, shard, index))
}

/// Whether a shard that a sealed session did not release is served by its successor.
fn served_by_another(state: &State, no: SessionNo) -> bool {
    state.shards.iter().any(|shard| {
        shard.rows.windows(2).any(|pair| {
            pair[0].session == no
                && pair[0].released_block.is_none()
                && pair[1].session != no
                && pair[1].recovered.is_some()
        })
    })
}

/// Whether the owner of an epoch released something of it.
fn releases(state: &State, shard: u8, epoch: Epoch) -> bool {
    let row = &state.shard(shard).rows[usize::from(epoch) - 1];
    released(state, shard, epoch, row).next().is_some()
}

fn sealing(session: &Session) -> Option<(SessionNo, BlockSeq)> {
    match session.takeover {
        Takeover::Sealing { of, end } => Some((of, end)),
        Takeover::Nothing | Takeover::Read { .. } => None,
    }
}
