//! How long a device's sends wait for an answer of any kind, and how long it is without a connection.
//!
//! No clock: times are arguments, in microseconds. An answer is SEND_ACK, SEND_NACK or the end of the
//! connection; after SEND_NACK the wait begins anew when the sends go out again.

/// One device. See the module.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Waits {
    connected: bool,
    /// Sends without a decision.
    undecided: u64,
    /// Since when the oldest of them waits, on this connection.
    since: Option<u64>,
    offline_since: Option<u64>,
    longest: Longest,
}

/// The longest waits, in microseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Longest {
    /// For an answer of any kind, on one connection.
    pub(super) answer_us: u64,
    /// For a connection.
    pub(super) connection_us: u64,
}

impl Longest {
    /// The longer of both, each.
    #[must_use]
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            answer_us: self.answer_us.max(other.answer_us),
            connection_us: self.connection_us.max(other.connection_us),
        }
    }
}

impl Waits {
    /// A message was given to the client.
    pub(super) fn submitted(&mut self, now: u64) {
        self.undecided += 1;
        if self.connected && self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// A message was decided.
    pub(super) fn decided(&mut self, now: u64) {
        self.undecided = self.undecided.saturating_sub(1);
        self.heard(now, now);
    }

    /// The server asked to send again after a pause.
    pub(super) fn told_to_retry(&mut self, now: u64, pause_us: u64) {
        self.heard(now, now.saturating_add(pause_us));
    }

    /// The server serves the device; what is undecided goes out again.
    pub(super) fn connected(&mut self, now: u64) {
        self.connected = true;
        if let Some(since) = self.offline_since.take() {
            let waited = now.saturating_sub(since);
            self.longest.connection_us = self.longest.connection_us.max(waited);
        }
        self.since = (self.undecided > 0).then_some(now);
    }

    /// It does not any more.
    pub(super) fn disconnected(&mut self, now: u64) {
        self.heard(now, now);
        self.since = None;
        if std::mem::take(&mut self.connected) {
            self.offline_since = Some(now);
        }
    }

    /// The longest waits, those included that have not ended.
    pub(super) fn longest(&self, now: u64) -> Longest {
        let waited = |since: Option<u64>| since.map_or(0, |since| now.saturating_sub(since));
        let now =
            Longest { answer_us: waited(self.since), connection_us: waited(self.offline_since) };
        self.longest.max(now)
    }

    fn heard(&mut self, now: u64, from: u64) {
        if let Some(since) = self.since.take() {
            self.longest.answer_us = self.longest.answer_us.max(now.saturating_sub(since));
        }
        self.since = (self.connected && self.undecided > 0).then_some(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected() -> Waits {
        let mut waits = Waits::default();
        waits.connected(0);
        waits
    }

    #[test]
    fn the_longest_silence_is_found() {
        let mut waits = connected();
        for n in [100, 200, 300] {
            waits.submitted(n);
        }
        waits.decided(500);
        waits.decided(1500);
        assert_eq!(waits.longest(1600).answer_us, 1000);
        // Nobody waits for anything after the last one.
        waits.decided(1700);
        assert_eq!(waits.longest(9000).answer_us, 1000);
    }

    #[test]
    fn a_retry_is_an_answer_and_its_pause_no_wait() {
        let mut waits = connected();
        waits.submitted(0);
        waits.told_to_retry(800, 500);
        waits.told_to_retry(2000, 500);
        assert_eq!(waits.longest(2600).answer_us, 800);
        assert_eq!(waits.longest(3600).answer_us, 1100, "the wait that goes on counts");
    }

    #[test]
    fn without_a_connection_nobody_waits_for_an_answer() {
        let mut waits = connected();
        waits.submitted(0);
        waits.disconnected(300);
        waits.disconnected(900);
        waits.submitted(1000);
        waits.connected(2300);
        waits.decided(2400);
        waits.decided(2500);
        assert_eq!(waits.longest(2500), Longest { answer_us: 300, connection_us: 2000 });
    }
}
