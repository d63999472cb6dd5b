//! How much an edge takes on: handshakes, logins and questions of devices that wait to be linked by token
//! bucket, connections by count.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::config::EdgeConfig;

/// See the module.
pub(super) struct Admission {
    handshakes: DefaultDirectRateLimiter,
    logins: DefaultDirectRateLimiter,
    links: DefaultDirectRateLimiter,
    connections: Arc<AtomicUsize>,
    connections_max: usize,
}

/// A place among the connections; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    pub(super) fn new(config: &EdgeConfig) -> Self {
        Self {
            handshakes: limiter(config.handshakes_per_second),
            logins: limiter(config.logins_per_second),
            links: limiter(config.links_per_second),
            connections: Arc::new(AtomicUsize::new(0)),
            connections_max: config.connections_max,
        }
    }

    /// Waits for the right to begin a handshake: meanwhile clients wait in the listen queue, which
    /// costs nothing here.
    pub(super) async fn handshake(&self) {
        self.handshakes.until_ready().await;
    }

    /// Whether a login may be passed on now.
    pub(super) fn login(&self) -> bool {
        self.logins.check().is_ok()
    }

    /// Whether a device that waits to be linked may ask now. Those who wait take nothing from people who
    /// log in, or whose tokens are old.
    pub(super) fn link(&self) -> bool {
        self.links.check().is_ok()
    }

    /// A place for a connection; nothing when all are taken.
    pub(super) fn place(&self) -> Option<Place> {
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(&self.connections));
        (before < self.connections_max).then_some(place)
    }
}

/// A bucket that holds a quarter of a second's worth.
fn limiter(per_second: u32) -> DefaultDirectRateLimiter {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(per_second / 4).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use iris_core::id::ShardCount;

    use super::*;

    #[test]
    fn who_waits_to_be_linked_takes_no_login() {
        let config = EdgeConfig::new("e".to_owned(), ShardCount::new(1).unwrap());
        let admission = Admission::new(&config);
        assert!((0..100).any(|_| !admission.link()), "there is a bound");
        assert!(admission.login());
    }

    #[test]
    fn places_are_given_back() {
        let count = ShardCount::new(1).unwrap();
        let config = EdgeConfig { connections_max: 2, ..EdgeConfig::new("e".to_owned(), count) };
        let admission = Admission::new(&config);
        let first = admission.place().unwrap();
        let _second = admission.place().unwrap();
        assert!(admission.place().is_none());
        drop(first);
        assert!(admission.place().is_some());
    }
}
