//! What a session may conclude from its fence reads.
//!
//! A read that saw no fence proves that, when it began, no successor had started to read the tails:
//! it releases what was durable then, and lets answers out for a while. It proves nothing about now.

use crate::clock::MonoUs;
use crate::limits;

/// The latest successful fence read of a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct FenceWatch {
    begun: Option<MonoUs>,
}

impl FenceWatch {
    /// A read that began at `begun` saw no fence.
    pub fn saw_none(&mut self, begun: MonoUs) {
        self.begun = Some(self.begun.map_or(begun, |before| before.max(begun)));
    }

    /// Whether an answer, or a derived row, may leave now.
    pub fn is_valid(&self, now: MonoUs) -> bool {
        self.begun.is_some_and(|begun| now.ms_since(begun) < limits::FENCE_READ_VALID_MS)
    }

    /// When the next read is due though nothing waits for release.
    pub fn idle_read_at(&self) -> MonoUs {
        let begun = self.begun.map_or(0, |begun| begun.0);
        MonoUs(begun + limits::FENCE_READ_IDLE_MS * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_good_for_two_seconds_from_its_beginning() {
        let mut watch = FenceWatch::default();
        assert!(!watch.is_valid(MonoUs(0)), "nothing was read yet");
        watch.saw_none(MonoUs(1_000_000));
        assert!(watch.is_valid(MonoUs(2_999_000)));
        assert!(!watch.is_valid(MonoUs(3_000_000)));
        watch.saw_none(MonoUs(500_000));
        assert!(watch.is_valid(MonoUs(2_999_000)), "an older read changes nothing");
        assert_eq!(watch.idle_read_at(), MonoUs(2_000_000));
    }
}
