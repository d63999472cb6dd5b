//! Waiting before the next try: exponential, with full jitter, bounded.

use std::time::Duration;

/// After Brooker, "Exponential Backoff and Jitter" (2015): each wait is drawn from zero to a bound that
/// doubles, so that callers that failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    bound: Duration,
}

impl Backoff {
    /// Waits from `first` on, never longer than `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, bound: first }
    }

    /// For calls between pods: 50 ms to 2 s.
    pub fn between_pods() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// How long to wait now. At least a quarter of the bound, so that a loop never spins.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(self.max);
        bound / 4 + bound.mul_f64(0.75 * fastrand::f64())
    }

    /// Waits.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }

    /// The call succeeded: the next failure starts again from the first wait.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80));
        let waits: Vec<_> = (0..6).map(|_| backoff.next_wait()).collect();
        for (wait, bound) in waits.iter().zip([10, 20, 40, 80, 80, 80]) {
            let bound = Duration::from_millis(bound);
            assert!(*wait <= bound && *wait >= bound / 4, "{wait:?} of {bound:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(10));
    }
}
