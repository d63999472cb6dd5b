//! The only source of chance: everything that a run draws comes from its seed.

/// See the module.
#[derive(Debug, Clone)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The same draws for the same seed, for ever.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A generator of its own: what is drawn from it changes nothing here.
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// Evenly from `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high)
    }

    /// An index below `count`, which is not 0.
    pub fn index(&mut self, count: usize) -> usize {
        self.0.usize(..count)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// True so many times out of a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.0.u32(..1000) < per_mille
    }

    /// Exponentially, with this mean and at most ten times that.
    pub fn around(&mut self, mean: u64) -> u64 {
        let unit = 1.0 - self.0.f64();
        let mean = mean as f64;
        (-unit.ln() * mean).min(10.0 * mean) as u64
    }

    /// 16 bytes.
    pub fn bytes(&mut self) -> [u8; 16] {
        self.0.u128(..).to_be_bytes()
    }

    /// 128 bits.
    pub fn bits(&mut self) -> u128 {
        self.0.u128(..)
    }
}
