//! HELLO: who is calling, and whether they are who they say.

use iris_core::clock::WallMs;
use iris_core::code::Code;
use iris_core::id::{DeviceId, DeviceNo};
use iris_core::limits;
use iris_core::seq::InboxSeq;
use iris_proto::client::Hello;

use crate::proof;
use crate::token::{TokenError, Tokens};

/// The version of the protocol that this edge speaks.
pub(super) const PROTO: u32 = 1;

/// A checked HELLO.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) device: DeviceId,
    pub(super) cursor: InboxSeq,
    /// It knows every change of a mark up to this version.
    pub(super) marks: u64,
    pub(super) stream_gen: u32,
    pub(super) window_messages: u32,
    pub(super) window_bytes: u32,
    /// When the access token ends, seconds since 1970.
    pub(super) expires_at_s: u64,
}

/// A refusal: its code, and words for people.
pub(super) type Refused = (Code, &'static str);

/// Checks a HELLO on a connection with this channel binding. Nothing is read from anywhere.
pub(super) fn check(
    hello: &Hello,
    binding: &[u8; 32],
    tokens: &Tokens,
    now: WallMs,
) -> Result<Caller, Refused> {
    if hello.proto_min > PROTO || hello.proto_max < PROTO {
        return Err((Code::UnsupportedVersion, "this server speaks iris/1, version 1"));
    }
    let access = tokens.access(&hello.access_token, now).map_err(refused)?;
    if DeviceNo(hello.device) != access.device.device {
        return Err((Code::AuthInvalid, "the token is of another device"));
    }
    let input = proof::hello_input(binding, access.device);
    if !proof::verify(&access.key, &input, &hello.proof) {
        return Err((Code::DeviceProof, "the proof does not fit the device's key"));
    }
    let window = hello.window.unwrap_or_default();
    if window.messages == 0 || window.bytes == 0 {
        return Err((Code::Protocol, "HELLO grants no credit"));
    }
    Ok(Caller {
        device: access.device,
        cursor: InboxSeq(hello.cursor),
        marks: hello.marks,
        stream_gen: hello.stream_gen,
        window_messages: window.messages.min(limits::WINDOW_MESSAGES_MAX),
        window_bytes: window.bytes.min(limits::WINDOW_BYTES_MAX),
        expires_at_s: access.expires_at_s,
    })
}

/// Checks the token of AUTH_REFRESH; answers when it ends.
pub(super) fn check_refresh(
    token: &str,
    device: DeviceId,
    tokens: &Tokens,
    now: WallMs,
) -> Result<u64, Refused> {
    let access = tokens.access(token, now).map_err(refused)?;
    if access.device == device {
        Ok(access.expires_at_s)
    } else {
        Err((Code::AuthInvalid, "the token is of another device"))
    }
}

fn refused(error: TokenError) -> Refused {
    match error {
        TokenError::Expired => (Code::AuthExpired, "the access token has expired"),
        TokenError::Invalid | TokenError::NoKey => {
            (Code::AuthInvalid, "the access token is not valid here")
        }
    }
}
