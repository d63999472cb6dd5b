//! I7: an epoch has one session, and nobody tells anything once it is fenced.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Index, Lane, SessionNo, What};

use super::{Bounds, Findings};

#[derive(Default)]
struct Known {
    owners: BTreeMap<(u32, u32), SessionNo>,
    released: BTreeSet<(u32, u32)>,
    fenced: BTreeMap<SessionNo, u64>,
    sealed: BTreeMap<Lane, u64>,
    let_go: BTreeMap<Lane, u64>,
}

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    let mut known = Known::default();
    for event in index.events {
        match &event.what {
            What::Claimed { shard, epoch, session } => {
                known.claimed(event.at, (*shard, *epoch), *session, findings);
            }
            What::Released { shard, epoch } => {
                known.released.insert((*shard, *epoch));
            }
            What::Fenced { session } => {
                known.fenced.entry(*session).or_insert(event.at);
            }
            What::LetGo { lane, upto, read_began } => {
                known.let_go(event.at, *lane, (*upto, *read_began), findings);
            }
            What::Sealed { lane, end } => known.sealed(event.at, *lane, *end, findings),
            _ => {}
        }
    }
}

impl Known {
    fn claimed(
        &mut self,
        at: u64,
        (shard, epoch): (u32, u32),
        session: SessionNo,
        findings: &mut Findings,
    ) {
        let owner = *self.owners.entry((shard, epoch)).or_insert(session);
        if owner != session {
            let text = format!(
                "epoch {epoch} of shard {shard} belongs to sessions {} and {}",
                owner.0, session.0
            );
            findings.add(at, text);
        }
        let before = epoch.checked_sub(1).and_then(|e| Some((e, *self.owners.get(&(shard, e))?)));
        if let Some((before, owner)) = before
            && !self.released.contains(&(shard, before))
            && !self.sealed.keys().any(|lane| lane.session == owner)
        {
            let text = format!(
                "epoch {epoch} of shard {shard} was claimed while session {} had {before}, neither \
                 released nor sealed",
                owner.0
            );
            findings.add(at, text);
        }
    }

    fn let_go(
        &mut self,
        at: u64,
        lane: Lane,
        (upto, read_began): (u64, u64),
        findings: &mut Findings,
    ) {
        let name = format!("lane {} of session {}", lane.lane, lane.session.0);
        if let Some(fenced) = self.fenced.get(&lane.session)
            && read_began > *fenced
        {
            let text = format!("{name} released blocks by a fence read that began after its fence");
            findings.add(at, text);
        }
        if let Some(end) = self.sealed.get(&lane)
            && upto > *end
        {
            findings.add(at, format!("{name} released up to {upto}; it was sealed at {end}"));
        }
        let released = self.let_go.entry(lane).or_default();
        *released = upto.max(*released);
    }

    fn sealed(&mut self, at: u64, lane: Lane, end: u64, findings: &mut Findings) {
        let end = *self.sealed.entry(lane).or_insert(end);
        let released = self.let_go.get(&lane).copied().unwrap_or_default();
        if released > end {
            let text = format!(
                "lane {} of session {} was sealed at {end}; it had released up to {released}",
                lane.lane, lane.session.0
            );
            findings.add(at, text);
        }
    }
}
