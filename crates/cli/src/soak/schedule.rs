//! When each message of a run is due: an open loop, at a fixed rate, whatever the server does.
//!
//! Message `k` of the whole run is due `k / rate` seconds after its beginning; senders take turns.

use std::time::Duration;

use super::SoakArgs;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    rate: f64,
    senders: u64,
    total: u64,
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a run has fewer messages and microseconds than an f64 counts exactly"
)]
impl Schedule {
    /// `rate` messages in a second from `senders` senders together.
    pub(super) fn new(rate: f64, senders: usize, duration: Duration) -> Self {
        let total = (rate * duration.as_secs_f64()).round() as u64;
        Self { rate, senders: senders as u64, total }
    }

    /// Ends the run after `total` messages.
    pub(super) fn end_at(&mut self, total: u64) {
        self.total = self.total.min(total);
    }

    /// All messages of the run.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many are due by `now`, in microseconds since the beginning.
    pub(super) fn due_by(&self, now_us: u64) -> u64 {
        let due = (now_us as f64 * self.rate / 1e6).floor() as u64 + 1;
        due.min(self.total)
    }

    /// When the `k`th of the run is due.
    pub(super) fn due_at(&self, k: u64) -> u64 {
        (k as f64 * 1e6 / self.rate).round() as u64
    }

    /// Who sends the `k`th.
    pub(super) fn sender(&self, k: u64) -> usize {
        (k % self.senders) as usize
    }

    /// When the `n`th of a sender is due.
    pub(super) fn due_of(&self, sender: usize, n: u64) -> u64 {
        self.due_at(n * self.senders + sender as u64)
    }
}

/// Which devices of the pairs write. Of the first pairs one only reads, and slowly: the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roles {
    slow: usize,
    devices: usize,
}

impl Roles {
    pub(super) fn of(args: &SoakArgs) -> Self {
        let devices = args.pairs as usize * 2;
        Self { slow: devices * args.slow as usize / 100, devices }
    }

    /// How many devices are slow.
    pub(super) fn slow(&self) -> usize {
        self.slow
    }

    pub(super) fn is_slow(&self, device: usize) -> bool {
        device < self.slow * 2 && device % 2 == 1
    }

    /// The devices that write, in order.
    pub(super) fn writers(&self) -> Vec<usize> {
        (0..self.devices).filter(|device| !self.is_slow(*device)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_device_has_a_partner_who_is_not() {
        for (slow, expected) in [(0, vec![0, 1, 2, 3, 4, 5]), (1, vec![0, 2, 3, 4, 5])] {
            assert_eq!(Roles { slow, devices: 6 }.writers(), expected);
        }
        let half = Roles { slow: 3, devices: 6 };
        assert_eq!(half.writers(), [0, 2, 4]);
        assert!((0..6).all(|device| half.is_slow(device) != half.is_slow(device ^ 1)));
    }

    #[test]
    fn messages_come_at_the_rate_and_in_turn() {
        let schedule = Schedule::new(500.0, 3, Duration::from_secs(60));
        assert_eq!(schedule.total(), 30_000);
        assert_eq!(schedule.due_by(0), 1, "the first is due at once");
        assert_eq!(schedule.due_by(1_999), 1);
        assert_eq!(schedule.due_by(2_000), 2);
        assert_eq!(schedule.due_by(u64::from(u32::MAX)), 30_000);
        assert_eq!((schedule.sender(0), schedule.sender(1), schedule.sender(5)), (0, 1, 2));
        let mut sent = [0; 3];
        for k in 0..30_000 {
            let sender = schedule.sender(k);
            assert_eq!(schedule.due_of(sender, sent[sender]), schedule.due_at(k));
            sent[sender] += 1;
        }
        assert_eq!(sent, [10_000; 3]);
    }

    #[test]
    fn a_rate_below_one_in_a_second() {
        let schedule = Schedule::new(0.5, 2, Duration::from_secs(10));
        assert_eq!((schedule.total(), schedule.due_at(1)), (5, 2_000_000));
    }
}
