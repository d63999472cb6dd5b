//! The access token: renewed before it ends, on the connection that goes on.

use iris_core::clock::MonoUs;
use iris_proto::client as wire;
use iris_proto::frame::FrameType;

use super::frames::encoded;
use super::input::{Effect, Refresh};
use super::rng::{Backoff, Rng};
use super::{Session, Stop};

/// A token that is good for less than this is as good as none for a new connection.
const LEAST_US: u64 = 1_000_000;
/// Tokens that are of no use so soon after they were given are asked for again with growing waits only.
const TOO_SOON_US: u64 = 5_000_000;

#[derive(Debug)]
pub(super) struct TokenState {
    access: Option<String>,
    taken_at: Option<MonoUs>,
    until: MonoUs,
    /// When to ask for the next one.
    refresh_at: MonoUs,
    refreshing: bool,
    backoff: Backoff,
}

impl TokenState {
    pub(super) fn new(access: Option<(String, u64)>, rng: &mut Rng) -> Self {
        let mut state = Self {
            access: None,
            taken_at: None,
            until: MonoUs(0),
            refresh_at: MonoUs(0),
            refreshing: false,
            backoff: Backoff::default(),
        };
        if let Some((access, valid_ms)) = access {
            state.take(MonoUs(0), access, valid_ms, rng);
            state.taken_at = None;
        }
        state
    }

    fn take(&mut self, now: MonoUs, access: String, valid_ms: u64, rng: &mut Rng) {
        // Devices that got their tokens together do not come back together.
        let early_ms = valid_ms / 5 + rng.upto(valid_ms / 10);
        self.access = Some(access);
        self.taken_at = Some(now);
        self.until = MonoUs(now.0 + valid_ms * 1000);
        self.refresh_at = MonoUs(now.0 + (valid_ms - early_ms) * 1000);
        self.refreshing = false;
    }

    /// The token, as long as it may be shown.
    pub(super) fn usable(&self, now: MonoUs) -> Option<&str> {
        let good = self.until.0 > now.0 + LEAST_US;
        self.access.as_deref().filter(|_| good)
    }

    fn is_new(&self, now: MonoUs) -> bool {
        self.taken_at.is_some_and(|at| now.us_since(at) < TOO_SOON_US)
    }

    /// It ended, or the server does not take it any more: the next one is asked for.
    pub(super) fn spoil(&mut self, now: MonoUs, rng: &mut Rng) {
        if self.access.take().is_none() {
            return;
        }
        let wait_ms = if self.is_new(now) { self.backoff.next_ms(rng) } else { 0 };
        self.refresh_at = MonoUs(now.0 + wait_ms * 1000);
    }
}

impl Session {
    pub(super) fn watch_token(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        if self.stopped().is_none() && !self.token.refreshing && self.token.refresh_at <= now {
            self.token.refreshing = true;
            out.push(Effect::RefreshTokens);
        }
    }

    pub(super) fn token_wake_at(&self) -> Option<MonoUs> {
        let waits = self.stopped().is_none() && !self.token.refreshing;
        waits.then_some(self.token.refresh_at)
    }

    pub(super) fn refreshed(
        &mut self,
        now: MonoUs,
        access: String,
        valid_ms: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.is_open() {
            let refresh = wire::AuthRefresh { access_token: access.clone() };
            out.push(Effect::Transmit(encoded(FrameType::AuthRefresh, None, &refresh)));
        }
        if !self.token.is_new(now) {
            self.token.backoff.reset();
        }
        self.token.take(now, access, valid_ms, &mut self.rng);
    }

    pub(super) fn not_refreshed(&mut self, now: MonoUs, why: Refresh, out: &mut Vec<Effect>) {
        self.token.refreshing = false;
        let retry_ms = match why {
            Refresh::Refused { code, text, .. } if (2000..3000).contains(&code) => {
                return self.stop(Stop::of_login(code, text), out);
            }
            Refresh::Refused { retry_after_ms, .. } => u64::from(retry_after_ms),
            Refresh::Unreachable { .. } => 0,
        };
        let wait_ms = self.token.backoff.next_ms(&mut self.rng).max(retry_ms);
        self.token.refresh_at = MonoUs(now.0 + wait_ms * 1000);
    }
}
