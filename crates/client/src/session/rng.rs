//! Jitter from a seed, and the waits between attempts to connect.

/// A small generator (splitmix64, Steele et al. 2014): for jitter, never for secrets.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `max`, both included.
    pub(super) fn upto(&mut self, max: u64) -> u64 {
        let wide = u128::from(self.next()) * (u128::from(max) + 1);
        u64::try_from(wide >> 64).unwrap_or(max)
    }
}

const FIRST_MS: u64 = 500;
const MAX_MS: u64 = 60_000;

/// Full jitter: each wait is drawn from zero to a bound that doubles.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    bound_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { bound_ms: FIRST_MS }
    }
}

impl Backoff {
    pub(super) fn next_ms(&mut self, rng: &mut Rng) -> u64 {
        let bound = self.bound_ms;
        self.bound_ms = (bound * 2).min(MAX_MS);
        rng.upto(bound)
    }

    pub(super) fn reset(&mut self) {
        self.bound_ms = FIRST_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_drawn_from_the_whole_interval_and_bounded() {
        let mut rng = Rng::new(1);
        let mut seen = Vec::new();
        for _ in 0..200 {
            let mut backoff = Backoff::default();
            for bound in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
                let wait = backoff.next_ms(&mut rng);
                assert!(wait <= bound);
                seen.push(wait * 100 / bound);
            }
        }
        assert!(seen.iter().any(|percent| *percent < 5) && seen.iter().any(|p| *p > 95));
        let mean = seen.iter().sum::<u64>() / u64::try_from(seen.len()).unwrap();
        assert!((45..55).contains(&mean), "{mean}");
    }
}
