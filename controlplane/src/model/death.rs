//! Who is dead.

use std::collections::BTreeSet;

use iris_core::clock::MonoUs;
use iris_core::id::SessionId;

use super::{Member, Model, Stream};

/// A session whose stream broke may come back within this time.
const RECONNECT_US: u64 = 250_000;
/// A session that reports says something every 400 ms; this much silence is death.
const SILENCE_US: u64 = 1_600_000;
/// A new leader waits so long for sessions to report to it before it takes a broken lease for death.
pub(super) const SETTLE_US: u64 = 3_000_000;
/// A leader whose own clock jumped so far between two looks believes nothing that it has not heard since.
const PAUSE_US: u64 = 700_000;
/// Within this time, no more than half of the sessions are taken for dead. People whose owner is among the
/// others wait for so long, unless its pod is back before that.
const WINDOW_US: u64 = 5_000_000;

/// Why a session is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Death {
    /// Its pod has a newer session: it cannot be alive.
    Replaced,
    /// Its stream broke and it did not come back.
    StreamBroken,
    /// It reports nothing.
    Silent,
    /// It has neither a lease nor a stream.
    LeaseEnded,
}

impl Model {
    /// Declares sessions dead, as far as the limits allow. Call it several times a second.
    pub fn find_dead(&mut self, now: MonoUs) -> Vec<(SessionId, Death)> {
        let paused = now.us_since(self.ticked_at) > PAUSE_US;
        self.ticked_at = now;
        if paused {
            // It was this leader that slept: nobody could be heard meanwhile.
            for member in self.members.values_mut() {
                member.heard_at = now;
                if let Stream::Broken(at) = &mut member.stream {
                    *at = now;
                }
            }
            return Vec::new();
        }
        let suspects: Vec<_> = self
            .members
            .iter()
            .filter_map(|(id, member)| self.death_of(*id, member, now).map(|death| (*id, death)))
            .collect();
        let mut dead = Vec::new();
        for (session, death) in suspects {
            if self.may_bury(death, now) {
                self.bury(session, now);
                dead.push((session, death));
            }
        }
        dead
    }

    /// Whether a session was declared dead, or is one that nobody heard of since this leader began.
    pub fn is_dead(&self, session: SessionId, now: MonoUs) -> bool {
        let settled = now.us_since(self.began) >= SETTLE_US;
        self.dead.contains_key(&session) || (settled && !self.members.contains_key(&session))
    }

    fn death_of(&self, id: SessionId, member: &Member, now: MonoUs) -> Option<Death> {
        let newer = |other: &Member| {
            other.about.pod == member.about.pod
                && other.about.started_at_ms > member.about.started_at_ms
        };
        if self.members.iter().any(|(other, m)| *other != id && newer(m)) {
            return Some(Death::Replaced);
        }
        match member.stream {
            Stream::Open if now.us_since(member.heard_at) >= SILENCE_US => Some(Death::Silent),
            Stream::Broken(at) if now.us_since(at) >= RECONNECT_US => Some(Death::StreamBroken),
            Stream::Never if !member.leased && now.us_since(self.began) >= SETTLE_US => {
                Some(Death::LeaseEnded)
            }
            Stream::Open | Stream::Broken(_) | Stream::Never => None,
        }
    }

    /// The first death of a while is believed, and more of them as long as those who live are no fewer:
    /// when most owners fall silent at once, it is more likely this leader that is cut off. A session
    /// whose pod has a newer one is dead beyond doubt.
    fn may_bury(&mut self, death: Death, now: MonoUs) -> bool {
        while self.deaths.front().is_some_and(|at| now.us_since(*at) >= WINDOW_US) {
            self.deaths.pop_front();
        }
        let before = self.members.len() + self.deaths.len();
        death == Death::Replaced || self.deaths.is_empty() || 2 * (self.deaths.len() + 1) <= before
    }

    fn bury(&mut self, session: SessionId, now: MonoUs) {
        if let Some(member) = self.members.remove(&session) {
            self.dead.insert(session, member.about);
            self.deaths.push_back(now);
        }
    }

    /// Dead sessions that no head row names any more: nobody needs to remember them.
    pub fn forget_dead(&mut self) -> Vec<SessionId> {
        let named: BTreeSet<_> = self
            .heads
            .iter()
            .flatten()
            .filter(|row| row.released_block.is_none())
            .map(|row| row.session)
            .collect();
        let gone: Vec<_> = self.dead.keys().filter(|id| !named.contains(id)).copied().collect();
        // Only when every shard's head is known: an unknown one may name any of them.
        if self.heads.iter().any(Option::is_none) {
            return Vec::new();
        }
        for session in &gone {
            self.dead.remove(session);
        }
        gone
    }
}
