//! I9: a move refuses nothing for good and pauses its shard for a moment only.
//!
//! The pause of a move is the longest time in which a send of the shard waits for its answer while the
//! move goes on. Which conversations belong to a shard is not in a history; every pause that overlaps a
//! move counts as the move's, so a run with other faults at the same time is held to wider bounds.

use std::collections::BTreeMap;

use crate::history::{Device, Index, What};

use super::{Bounds, Findings};

pub(super) fn check(index: &Index<'_>, bounds: &Bounds, findings: &mut Findings) {
    let moves = moves(index);
    if moves.is_empty() {
        return;
    }
    let pauses = pauses(index);
    let mut gaps = Vec::with_capacity(moves.len());
    for (began, ended) in &moves {
        let overlaps = pauses.iter().filter(|(from, to)| from <= ended && began <= to);
        let gap = overlaps.map(|(from, to)| to - from).max().unwrap_or_default();
        if gap > bounds.move_gap_max_us {
            let text = format!("a send waited {} ms while a shard moved", gap / 1000);
            findings.add(*began, text);
        }
        gaps.push(gap);
    }
    gaps.sort_unstable();
    let p99 = gaps[(gaps.len() * 99).div_ceil(100).saturating_sub(1)];
    if p99 > bounds.move_gap_p99_us {
        let text = format!("the 99th of 100 moves paused its shard for {} ms", p99 / 1000);
        findings.add(index.ends_at, text);
    }
    for (message, sending) in &index.sends {
        let refused = sending.told.iter().find(|(at, outcome)| {
            let during = moves.iter().any(|(began, ended)| began <= at && at <= ended);
            let moved = matches!(outcome, crate::history::Outcome::Refused(code) if *code >= 5000);
            during && moved
        });
        if let Some((at, _)) = refused {
            let text =
                format!("message {} was refused for good because its shard moved", message.0);
            findings.add(*at, text);
        }
    }
}

/// Every move's beginning and end; one that did not end lasts to the end of the history.
fn moves(index: &Index<'_>) -> Vec<(u64, u64)> {
    let mut open: BTreeMap<u32, u64> = BTreeMap::new();
    let mut moves = Vec::new();
    for event in index.events {
        match &event.what {
            What::MoveBegan { shard } => {
                open.insert(*shard, event.at);
            }
            What::MoveEnded { shard } => {
                moves.extend(open.remove(shard).map(|began| (began, event.at)));
            }
            _ => {}
        }
    }
    moves.extend(open.into_values().map(|began| (began, index.ends_at)));
    moves
}

/// For each device, the times in which something waited and nothing was answered.
fn pauses(index: &Index<'_>) -> Vec<(u64, u64)> {
    let mut waits: BTreeMap<Device, (u64, u64, u64)> = BTreeMap::new();
    let mut pauses = Vec::new();
    for event in index.events {
        match &event.what {
            What::Send { by, number, .. } => {
                let (since, sent, decided) = waits.entry(*by).or_insert((event.at, 0, 0));
                if sent == decided {
                    *since = event.at;
                }
                *sent = *number;
            }
            What::Decided { by, number, .. } => {
                if let Some((since, _, decided)) = waits.get_mut(by)
                    && number > decided
                {
                    pauses.push((*since, event.at));
                    (*since, *decided) = (event.at, *number);
                }
            }
            _ => {}
        }
    }
    let waiting = waits.into_values().filter(|(_, sent, decided)| sent > decided);
    pauses.extend(waiting.map(|(since, _, _)| (since, index.ends_at)));
    pauses
}
