//! Frames that a client writes.

use bytes::{Bytes, BytesMut};
use iris_proto::frame::{FrameType, encode_message};

pub(super) fn encoded(kind: FrameType, corr: Option<u32>, message: &impl prost::Message) -> Bytes {
    let mut out = BytesMut::new();
    encode_message(&mut out, kind, corr, message);
    out.freeze()
}
