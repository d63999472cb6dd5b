//! Durations as people write them: `500ms`, `60s`, `2m`, `1h`.

use std::time::Duration;

/// No longer one is read: nobody waits for ten years, and no clock is out of its range by that.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

/// Reads one.
///
/// # Errors
/// In words that show how to write it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let error = || format!("not a duration: {text:?}; write for example 500ms, 60s, 2m or 1h");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| error())?;
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(error()),
    };
    let seconds =
        Some(number * seconds).filter(|seconds| *seconds <= SECONDS_MAX).ok_or_else(error)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in
            [("500ms", 500), ("60s", 60_000), ("90", 90_000), ("1.5m", 90_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "one", "1 s", "1.2.3s", "4000000000000000h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
