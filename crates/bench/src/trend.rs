//! A straight line through readings.

/// What a line by least squares says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// The mean of the readings.
    pub(crate) mean: f64,
    /// How much they grow in a unit of time.
    pub(crate) slope: f64,
    /// The standard error of the slope.
    pub(crate) error: f64,
}

impl Trend {
    /// Of times and readings; nothing of fewer than three, or all of one time.
    pub(crate) fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 3 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "there are few readings")]
        let n = points.len() as f64;
        let mean_of = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (at, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let spread: f64 = points.iter().map(|(t, _)| (t - at).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = points.iter().map(|(t, y)| (t - at) * (y - mean)).sum::<f64>() / spread;
        let rest: f64 =
            points.iter().map(|(t, y)| (y - mean - slope * (t - at)).powi(2)).sum::<f64>();
        Some(Self { mean, slope, error: (rest / (n - 2.0) / spread).sqrt() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_noise_is_its_error() {
        let exact = Trend::of(&[(0.0, 10.0), (1.0, 12.0), (2.0, 14.0)]).unwrap();
        assert_eq!((exact.mean, exact.slope, exact.error), (12.0, 2.0, 0.0));
        let noisy = Trend::of(&[(0.0, 10.0), (1.0, 13.0), (2.0, 12.0), (3.0, 15.0)]).unwrap();
        assert!((noisy.slope - 1.4).abs() < 1e-9 && noisy.error > 0.4, "{noisy:?}");
        assert_eq!(Trend::of(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Trend::of(&[(1.0, 1.0); 3]), None);
    }
}
