//! Questions to the server: asked again after a reconnect until they are answered or too late.
//!
//! Only questions that may be asked twice are here; none of them sends a message.

use std::collections::VecDeque;

use bytes::Bytes;
use iris_core::clock::MonoUs;
use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceNo, PublicKey};
use iris_proto::client as wire;
use iris_proto::frame::FrameType;
use prost::Message as _;

use super::Session;
use super::frames::encoded;
use super::input::Effect;

/// Calls of one session at the same time.
const CALLS_MAX: usize = 64;
/// The least wait before a call that was put off is repeated.
const RETRY_MS_MIN: u64 = 100;

/// Names a call for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOp {
    /// The devices of this account.
    ListDevices,
    /// Take a device's access for ever.
    RevokeDevice(DeviceNo),
    /// The account of a user name.
    FindAccount(String),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// The devices.
    Devices(Vec<DeviceInfo>),
    /// The account.
    Account(AccountId),
    /// It is done.
    Done,
}

/// A device of this account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number.
    pub device: DeviceNo,
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Whether it lost its access.
    pub revoked: bool,
    /// Since when, wall-clock milliseconds.
    pub added_at_ms: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalledOff {
    /// The server refuses.
    #[error("{text} ({code})")]
    Refused {
        /// Its code.
        code: u32,
        /// Its words.
        text: String,
    },
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Too many calls at once.
    #[error("too many calls at once")]
    TooMany,
    /// The session stopped.
    #[error("the session stopped")]
    Stopped,
    /// The answer was not one.
    #[error("the server's answer makes no sense")]
    Malformed,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    pending: VecDeque<Pending>,
    next_corr: u32,
}

#[derive(Debug)]
struct Pending {
    id: CallId,
    payload: wire::Call,
    until: MonoUs,
    state: CallState,
}

#[derive(Debug, PartialEq, Eq)]
enum CallState {
    /// To be asked, from this time on.
    Due(MonoUs),
    /// Asked on this connection.
    Asked(u32),
}

impl Calls {
    pub(super) fn add(
        &mut self,
        now: MonoUs,
        id: CallId,
        op: &CallOp,
        patience_ms: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.pending.len() >= CALLS_MAX {
            out.push(Effect::Called { id, answer: Err(CalledOff::TooMany) });
            return;
        }
        let until = MonoUs(now.0 + patience_ms * 1000);
        let state = CallState::Due(now);
        self.pending.push_back(Pending { id, payload: to_wire(op), until, state });
    }

    /// Asks what is due.
    pub(super) fn transmit(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        for call in &mut self.pending {
            if let CallState::Due(at) = call.state
                && at <= now
            {
                self.next_corr = self.next_corr.wrapping_add(1);
                call.state = CallState::Asked(self.next_corr);
                let frame = encoded(FrameType::Call, Some(self.next_corr), &call.payload);
                out.push(Effect::Transmit(frame));
            }
        }
    }

    /// The connection ended: everything is asked again on the next one.
    pub(super) fn forget_connection(&mut self, now: MonoUs) {
        for call in &mut self.pending {
            if let CallState::Asked(_) = call.state {
                call.state = CallState::Due(now);
            }
        }
    }

    pub(super) fn expire(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        self.pending.retain(|call| {
            if call.until <= now {
                out.push(Effect::Called { id: call.id, answer: Err(CalledOff::TimedOut) });
            }
            call.until > now
        });
    }

    pub(super) fn call_off(&mut self, out: &mut Vec<Effect>) {
        for call in self.pending.drain(..) {
            out.push(Effect::Called { id: call.id, answer: Err(CalledOff::Stopped) });
        }
    }

    pub(super) fn wake_at(&self, open: bool) -> Option<MonoUs> {
        let times = self.pending.iter().map(|call| match call.state {
            CallState::Due(at) if open => at.min(call.until),
            CallState::Due(_) | CallState::Asked(_) => call.until,
        });
        times.min()
    }

    fn answered(
        &mut self,
        now: MonoUs,
        corr: u32,
        result: wire::CallResult,
        out: &mut Vec<Effect>,
    ) {
        let asked = CallState::Asked(corr);
        let Some(at) = self.pending.iter().position(|call| call.state == asked) else {
            return;
        };
        let again_ms = u64::from(result.retry_after_ms).max(RETRY_MS_MIN);
        if is_put_off(result.code) {
            if let Some(call) = self.pending.get_mut(at) {
                call.state = CallState::Due(MonoUs(now.0 + again_ms * 1000));
            }
        } else if let Some(call) = self.pending.remove(at) {
            out.push(Effect::Called { id: call.id, answer: from_wire(result) });
        }
    }
}

impl Session {
    pub(super) fn call_result(
        &mut self,
        now: MonoUs,
        corr: Option<u32>,
        payload: Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), prost::DecodeError> {
        let result = wire::CallResult::decode(payload)?;
        if let Some(corr) = corr {
            self.calls.answered(now, corr, result, out);
        }
        Ok(())
    }
}

/// Whether the server wants to be asked again later.
fn is_put_off(code: u32) -> bool {
    code == u32::from(Code::RateLimited.number()) || (5000..6000).contains(&code)
}

fn to_wire(op: &CallOp) -> wire::Call {
    use wire::call::Op;
    let op = match op {
        CallOp::ListDevices => Op::ListDevices(wire::ListDevices {}),
        CallOp::RevokeDevice(device) => Op::RevokeDevice(wire::RevokeDevice { device: device.0 }),
        CallOp::FindAccount(handle) => {
            Op::FindAccount(wire::FindAccount { handle: handle.clone() })
        }
    };
    wire::Call { op: Some(op) }
}

fn from_wire(result: wire::CallResult) -> Result<CallAnswer, CalledOff> {
    use wire::call_result::Result as Kind;
    if result.code != 0 {
        return Err(CalledOff::Refused { code: result.code, text: result.text });
    }
    match result.result {
        None => Ok(CallAnswer::Done),
        Some(Kind::Account(found)) => {
            let account = AccountId::from_bytes(&found.account);
            account.map(CallAnswer::Account).map_err(|_| CalledOff::Malformed)
        }
        Some(Kind::Devices(list)) => {
            let devices = list.devices.into_iter().map(|info| {
                let key = PublicKey::from_bytes(&info.public_key);
                key.map(|key| DeviceInfo {
                    device: DeviceNo(info.device),
                    name: info.name,
                    key,
                    revoked: info.revoked,
                    added_at_ms: info.added_at_ms,
                })
            });
            let devices = devices.collect::<Result<_, _>>();
            devices.map(CallAnswer::Devices).map_err(|_| CalledOff::Malformed)
        }
    }
}
