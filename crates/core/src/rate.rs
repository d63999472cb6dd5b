//! How fast a device, an account and a conversation may send.
//!
//! A bucket is one number: the time at which it is full again. It costs nothing while nobody sends and
//! needs no timer.

use std::collections::BTreeMap;

use crate::clock::MonoUs;
use crate::id::DeviceNo;
use crate::limits;
use crate::message::Address;

/// A rate with a burst on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In a second, over time; at least 1.
    pub per_second: u32,
    /// At once, after a pause; at least 1.
    pub burst: u32,
}

/// The rates at which sends are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of each device.
    pub device: Rate,
    /// Of all devices of an account.
    pub account: Rate,
    /// Of an account to one address.
    pub conversation: Rate,
}

impl Rate {
    /// What one takes, in nanoseconds: whole microseconds would be nothing above a million a second.
    fn one_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.max(1))
    }
}

impl Rates {
    /// A device sends so fast, and its account twice as fast; each may be ahead by some seconds.
    pub fn of_devices(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let rate = |per_second: u32| Rate {
            per_second,
            burst: per_second.saturating_mul(limits::SEND_BURST_SECONDS),
        };
        let account = rate(per_second.saturating_mul(2));
        Self { device: rate(per_second), account, conversation: rate(per_second) }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::of_devices(limits::SENDS_PER_SECOND)
    }
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// When it is full again if one is taken now, in nanoseconds.
    fn after_one(self, now: MonoUs, rate: Rate) -> u64 {
        self.full_at_ns.max(now.0 * 1000) + rate.one_ns()
    }

    /// In how many microseconds it has one; nothing when it has one now.
    fn wait_us(self, now: MonoUs, rate: Rate) -> u64 {
        let all = rate.one_ns() * u64::from(rate.burst.max(1));
        self.after_one(now, rate).saturating_sub(now.0 * 1000 + all).div_ceil(1000)
    }

    fn take(&mut self, now: MonoUs, rate: Rate) {
        self.full_at_ns = self.after_one(now, rate);
    }

    fn is_full(self, now: MonoUs) -> bool {
        self.full_at_ns <= now.0 * 1000
    }
}

/// How fast one account sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    account: Bucket,
    devices: BTreeMap<DeviceNo, Bucket>,
    conversations: BTreeMap<Address, Bucket>,
}

impl Pace {
    /// Takes one send, or says for how many milliseconds there is none.
    pub(crate) fn take(
        &mut self,
        now: MonoUs,
        rates: Rates,
        (device, to): (DeviceNo, Address),
    ) -> Result<(), u32> {
        let of_device = self.devices.get(&device).copied().unwrap_or_default();
        let conversation = self.conversations.get(&to).copied().unwrap_or_default();
        let waits = [
            self.account.wait_us(now, rates.account),
            of_device.wait_us(now, rates.device),
            conversation.wait_us(now, rates.conversation),
        ];
        let wait_us = waits.into_iter().max().unwrap_or_default();
        if wait_us > 0 {
            return Err(u32::try_from(wait_us.div_ceil(1000)).unwrap_or(u32::MAX));
        }
        self.account.take(now, rates.account);
        self.forget_full(now);
        self.devices.entry(device).or_default().take(now, rates.device);
        // With that many conversations at once the account's own rate is what bounds it.
        if self.conversations.len() < limits::PACED_CONVERSATIONS_MAX
            || self.conversations.contains_key(&to)
        {
            self.conversations.entry(to).or_default().take(now, rates.conversation);
        }
        Ok(())
    }

    /// A full bucket is as good as none.
    fn forget_full(&mut self, now: MonoUs) {
        if self.conversations.len() >= limits::PACED_CONVERSATIONS_MAX {
            self.conversations.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.devices.len() >= limits::DEVICES_MAX {
            self.devices.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AccountId;

    fn to(n: u8) -> Address {
        Address::Account(AccountId::from_bytes(&[n; 16]).unwrap())
    }

    /// Offers a send every `every_us` for `seconds`; how many are taken.
    fn taken(pace: &mut Pace, every_us: u64, seconds: u64, of: (DeviceNo, Address)) -> u64 {
        let times = (0..seconds * 1_000_000).step_by(usize::try_from(every_us).unwrap());
        let rates = Rates::of_devices(100);
        times.map(|at| u64::from(pace.take(MonoUs(at), rates, of).is_ok())).sum()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let found = taken(&mut Pace::default(), 1_000, 10, (DeviceNo(1), to(1)));
        let burst = u64::from(100 * limits::SEND_BURST_SECONDS);
        assert!(found.abs_diff(burst + 1_000) <= 1, "{found}");
    }

    #[test]
    fn the_highest_rate_is_a_rate() {
        let (mut pace, rates) = (Pace::default(), Rates::of_devices(1_000_000));
        let all = (0..5_000_000)
            .take_while(|_| pace.take(MonoUs(0), rates, (DeviceNo(1), to(1))).is_ok());
        assert_eq!(all.count(), 4_000_000, "the device's burst");
    }

    #[test]
    fn below_the_rate_nothing_waits() {
        assert_eq!(taken(&mut Pace::default(), 10_000, 30, (DeviceNo(1), to(1))), 3_000);
    }

    #[test]
    fn the_wait_is_what_it_takes() {
        let (mut pace, rates) = (Pace::default(), Rates::of_devices(100));
        let of = (DeviceNo(1), to(1));
        let mut now = MonoUs(5_000_000);
        for _ in 0..5_000 {
            if let Err(wait_ms) = pace.take(now, rates, of) {
                assert!(wait_ms <= 10, "{wait_ms}");
                now = MonoUs(now.0 + u64::from(wait_ms) * 1000);
                assert_eq!(pace.take(now, rates, of), Ok(()));
            }
        }
    }

    #[test]
    fn each_device_and_conversation_has_its_own_and_the_account_one_for_all() {
        let (mut pace, rates) = (Pace::default(), Rates::of_devices(100));
        let mut all = 0;
        for device in 1..=10 {
            for n in 1..=10 {
                while pace.take(MonoUs(0), rates, (DeviceNo(device), to(n))).is_ok() {
                    all += 1;
                }
            }
        }
        assert_eq!(all, 200 * limits::SEND_BURST_SECONDS, "the account's burst");
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let (mut pace, rates) = (Pace::default(), Rates::of_devices(1_000));
        for n in 0..5_000_u128 {
            let account = AccountId::from_bytes(&n.to_be_bytes()).unwrap();
            let device = DeviceNo(u32::try_from(n % 100).unwrap());
            let now = MonoUs(u64::try_from(n).unwrap() * 1_000);
            pace.take(now, rates, (device, Address::Account(account))).unwrap();
            assert!(pace.conversations.len() <= limits::PACED_CONVERSATIONS_MAX);
            assert!(pace.devices.len() <= limits::DEVICES_MAX);
        }
    }
}
