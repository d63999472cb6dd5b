//! What a message of a run says: of which run it is, in which direction, its number, when it was due.

use bytes::Bytes;
use iris_core::id::MsgId;

/// The least that a body has room for.
pub(super) const BODY_BYTES_MIN: usize = 32;

const MAGIC: &[u8; 4] = b"soak";

/// Names one message of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// Which run.
    pub(super) run: u64,
    /// In which direction.
    pub(super) direction: u32,
    /// Its number there.
    pub(super) number: u64,
    /// When it was due, in microseconds since the run began.
    pub(super) due_us: u64,
}

/// What a body turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// A whole message.
    Message(Tag),
    /// Of an earlier run, or of somebody else.
    Foreign,
    /// Of this run, and changed on its way.
    Damaged,
}

impl Tag {
    /// The body, of `bytes` bytes.
    pub(super) fn body(&self, bytes: usize) -> Bytes {
        let mut body = Vec::with_capacity(bytes.max(BODY_BYTES_MIN));
        body.extend_from_slice(MAGIC);
        body.extend_from_slice(&self.direction.to_be_bytes());
        body.extend_from_slice(&self.run.to_be_bytes());
        body.extend_from_slice(&self.number.to_be_bytes());
        body.extend_from_slice(&self.due_us.to_be_bytes());
        body.resize(bytes.max(BODY_BYTES_MIN), filler(self.number));
        body.into()
    }

    /// What a body says, where one of `bytes` bytes was sent.
    pub(super) fn read(body: &[u8], run: u64, bytes: usize) -> Body {
        let number = |at: usize| body.get(at..at + 8).and_then(|b| b.try_into().ok());
        let (Some(MAGIC), Some(found)) = (body.first_chunk::<4>(), number(8)) else {
            return Body::Foreign;
        };
        if u64::from_be_bytes(found) != run {
            return Body::Foreign;
        }
        let direction = body.get(4..8).and_then(|b| b.try_into().ok());
        let (Some(direction), Some(n), Some(due)) = (direction, number(16), number(24)) else {
            return Body::Damaged;
        };
        let tag = Self {
            run,
            direction: u32::from_be_bytes(direction),
            number: u64::from_be_bytes(n),
            due_us: u64::from_be_bytes(due),
        };
        let whole = body.len() == bytes.max(BODY_BYTES_MIN);
        let filler = filler(tag.number);
        if whole && body[BODY_BYTES_MIN..].iter().all(|byte| *byte == filler) {
            Body::Message(tag)
        } else {
            Body::Damaged
        }
    }

    /// The message's name.
    pub(super) fn msg_id(&self) -> MsgId {
        let mut id = [0; 16];
        // The upper half of the run is enough to tell runs apart.
        id[..4].copy_from_slice(&self.run.to_be_bytes()[..4]);
        id[4..8].copy_from_slice(&self.direction.to_be_bytes());
        id[8..].copy_from_slice(&self.number.to_be_bytes());
        MsgId(id)
    }

    /// The direction and number of a message's name; nothing for another run's.
    pub(super) fn of_msg_id(id: &MsgId, run: u64) -> Option<(u32, u64)> {
        let of_run = id.0[..4] == run.to_be_bytes()[..4];
        let direction = id.0[4..8].try_into().ok()?;
        let number = id.0[8..].try_into().ok()?;
        of_run.then(|| (u32::from_be_bytes(direction), u64::from_be_bytes(number)))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "any byte that differs between neighbours does")]
fn filler(number: u64) -> u8 {
    (number % 251) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u64 = 0x0123_4567_89ab_cdef;

    fn tag() -> Tag {
        Tag { run: RUN, direction: 7, number: 300, due_us: 99 }
    }

    #[test]
    fn bodies_and_names_come_back() {
        for bytes in [0, BODY_BYTES_MIN, 256] {
            let body = tag().body(bytes);
            assert_eq!(body.len(), bytes.max(BODY_BYTES_MIN));
            assert_eq!(Tag::read(&body, RUN, bytes), Body::Message(tag()));
        }
        assert_eq!(Tag::of_msg_id(&tag().msg_id(), RUN), Some((7, 300)));
        assert_eq!(Tag::of_msg_id(&tag().msg_id(), !RUN), None);
    }

    #[test]
    fn what_is_not_ours_and_what_was_changed_is_told_apart() {
        let body = tag().body(64);
        assert_eq!(Tag::read(&body, RUN + 1, 64), Body::Foreign);
        assert_eq!(Tag::read(b"hello", RUN, 64), Body::Foreign);
        assert_eq!(Tag::read(&body[..63], RUN, 64), Body::Damaged);
        assert_eq!(Tag::read(&body[..20], RUN, 64), Body::Damaged);
        let mut changed = body.to_vec();
        changed[63] ^= 1;
        assert_eq!(Tag::read(&changed, RUN, 64), Body::Damaged);
    }
}
