//! The frame of iris/1 around every payload.
//!
//! ```text
//! len:u24be  type:u8  flags:u8  [corr:u32be if flags & 0x01]  payload
//! ```
//! `len` counts what follows the five bytes of the header: `corr`, where present, and the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the correlation id and the payload.
pub const HEADER_BYTES: usize = 5;
/// The most that any negotiated limit may allow a frame.
pub const FRAME_BYTES_HARD_MAX: u32 = 1024 * 1024;

const FLAG_CORR: u8 = 0x01;
const FLAG_IGNORABLE: u8 = 0x80;
/// Types from here on are skipped by who does not know them.
const IGNORABLE_FROM: u8 = 0x80;

/// Whether who does not know this type of frame skips it; between pods types are wider than on the wire.
pub fn is_ignorable(kind: u32) -> bool {
    kind >= u32::from(IGNORABLE_FROM)
}

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        /// A type of frame. The numbers are the protocol's and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FrameType {
            $($(#[$doc])* $name = $number),*
        }

        impl FrameType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number on the wire.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The type with this number.
            pub fn from_number(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|t| t.number() == number)
            }
        }
    };
}

frame_types! {
    /// Client: the first frame.
    Hello = 0x01,
    /// Server: the answer to it.
    Welcome = 0x02,
    /// Client: a message.
    Send = 0x03,
    /// Server: sends are decided.
    SendAck = 0x04,
    /// Server: a send consumed nothing.
    SendNack = 0x05,
    /// Server: places of the inbox.
    Deliver = 0x06,
    /// Client: places are on its disk.
    Ack = 0x07,
    /// Client: a page of history, please.
    Fetch = 0x08,
    /// Server: a page of history.
    Page = 0x09,
    /// Both: worth something only now.
    Signal = 0x0a,
    /// Both: how far conversations were received and read.
    Receipt = 0x0b,
    /// Client: it watches accounts.
    Subscribe = 0x0c,
    /// Client: it does not any more.
    Unsubscribe = 0x0d,
    /// Server: a nonce for the proof, where the carrier hides the TLS exporter.
    Challenge = 0x0e,
    /// Server: a page of a large group's log.
    LogPage = 0x0f,
    /// Client: a correlated call.
    Call = 0x10,
    /// Server: its result.
    CallResult = 0x11,
    /// Both: answer me.
    Ping = 0x20,
    /// Both: the answer.
    Pong = 0x21,
    /// Both: more credit.
    Window = 0x22,
    /// Client: a new access token.
    AuthRefresh = 0x23,
    /// Server: please leave.
    GoAway = 0x24,
    /// Server: the end, and why.
    Error = 0x2f,
}

/// A frame as it was read: its type may be one that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The type's number.
    pub kind: u8,
    /// Links a call and its result.
    pub corr: Option<u32>,
    /// The protobuf payload.
    pub payload: Bytes,
}

/// Why a stream of bytes is not one of frames. The connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than the limit.
    #[error("a frame of {bytes} bytes is above the limit of {max}")]
    TooLarge {
        /// What was announced.
        bytes: u32,
        /// The limit.
        max: u32,
    },
    /// Flags that nobody defined.
    #[error("unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// Shorter than its own correlation id.
    #[error("a frame of {0} bytes has no room for its correlation id")]
    Truncated(u32),
}

impl Frame {
    /// A frame of a known type.
    pub fn new(kind: FrameType, payload: Bytes) -> Self {
        Self { kind: kind.number(), corr: None, payload }
    }

    /// Its type, where this program knows it.
    pub fn known(&self) -> Option<FrameType> {
        FrameType::from_number(self.kind)
    }

    /// Whether who does not know its type skips it, by the number alone.
    pub fn is_ignorable(&self) -> bool {
        is_ignorable(self.kind.into())
    }

    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES + if self.corr.is_some() { 4 } else { 0 } + self.payload.len()
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode_with(out, self.kind, self.corr, self.payload.len(), |out| {
            out.put_slice(&self.payload);
        });
    }

    /// Takes the next frame off `input`; nothing when it is not all there yet. Nothing is allocated for
    /// a frame before all of it has arrived, and no frame above `max_bytes` is waited for.
    pub fn decode(input: &mut BytesMut, max_bytes: u32) -> Result<Option<Self>, FrameError> {
        let Some(&[a, b, c, kind, flags]) = input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]);
        if length > max_bytes {
            return Err(FrameError::TooLarge { bytes: length, max: max_bytes });
        }
        let unknown = flags & !(FLAG_CORR | FLAG_IGNORABLE);
        if unknown != 0 {
            return Err(FrameError::UnknownFlags(flags));
        }
        let has_corr = flags & FLAG_CORR != 0;
        if has_corr && length < 4 {
            return Err(FrameError::Truncated(length));
        }
        let total = HEADER_BYTES + length as usize;
        if input.len() < total {
            return Ok(None);
        }
        let mut body = input.split_to(total).freeze();
        body.advance(HEADER_BYTES);
        let corr = has_corr.then(|| body.get_u32());
        Ok(Some(Self { kind, corr, payload: body }))
    }
}

/// Appends a message as a frame, without a buffer of its own.
pub fn encode_message(
    out: &mut BytesMut,
    kind: FrameType,
    corr: Option<u32>,
    message: &impl prost::Message,
) {
    encode_with(out, kind.number(), corr, message.encoded_len(), |out| {
        message.encode_raw(out);
    });
}

fn encode_with(
    out: &mut BytesMut,
    kind: u8,
    corr: Option<u32>,
    payload_bytes: usize,
    payload: impl FnOnce(&mut BytesMut),
) {
    let length = payload_bytes + if corr.is_some() { 4 } else { 0 };
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    assert!(length <= FRAME_BYTES_HARD_MAX, "a frame of {length} bytes was made here");
    out.reserve(HEADER_BYTES + length as usize);
    let [_, a, b, c] = length.to_be_bytes();
    out.put_slice(&[a, b, c, kind, if corr.is_some() { FLAG_CORR } else { 0 }]);
    if let Some(corr) = corr {
        out.put_u32(corr);
    }
    payload(out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back_however_the_bytes_arrive(
            frames in proptest::collection::vec(
                (any::<u8>(), proptest::option::of(any::<u32>()), proptest::collection::vec(any::<u8>(), 0..300)),
                0..8,
            ),
            chunk in 1usize..64,
        ) {
            let frames: Vec<_> = frames
                .into_iter()
                .map(|(kind, corr, payload)| Frame { kind, corr, payload: payload.into() })
                .collect();
            let mut wire = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&mut wire));
            let (mut input, mut found) = (BytesMut::new(), Vec::new());
            for bytes in wire.chunks(chunk) {
                input.extend_from_slice(bytes);
                while let Some(frame) = Frame::decode(&mut input, 1000).unwrap() {
                    found.push(frame);
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut input, 256) {}
        }
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_by_its_header_alone() {
        let mut input = BytesMut::from(&[0x04, 0x00, 0x01, 0x03, 0x00][..]);
        let error = Frame::decode(&mut input, 256 * 1024).unwrap_err();
        assert_eq!(error, FrameError::TooLarge { bytes: 262_145, max: 262_144 });
        let mut flags = BytesMut::from(&[0, 0, 0, 0x03, 0x42][..]);
        assert_eq!(Frame::decode(&mut flags, 100), Err(FrameError::UnknownFlags(0x42)));
        let mut short = BytesMut::from(&[0, 0, 2, 0x10, 0x01, 0, 0][..]);
        assert_eq!(Frame::decode(&mut short, 100), Err(FrameError::Truncated(2)));
    }
}
