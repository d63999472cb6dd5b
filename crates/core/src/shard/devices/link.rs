//! Devices that come into an account without its password: a device that is in it vouches for them.
//!
//! Vouching is a decision like that of a login. The first tokens are none: they are of the generation
//! that a new device begins with, and may be asked for until the device used one. So whoever repeats
//! the question changes nothing.

#[cfg(test)]
mod tests;

use crate::account::Account;
use crate::clock::{MonoUs, Now, WallMs};
use crate::code::Code;
use crate::id::{AccountId, DeviceNo, PublicKey};
use crate::limits;

use super::super::Shard;
use super::super::effect::{CallAnswer, DirectoryAnswer, Effect, ToConn};
use super::super::hot::{Conn, Waiting};
use super::super::input::{Input, Token};
use super::super::release::Awaiting;
use super::{MOVING, moving};

/// The generation of refresh tokens that a device begins with.
const FIRST: u32 = 1;
const HOUR_MS: u64 = 3_600_000;

impl Shard {
    pub(in super::super) fn link_device(
        &mut self,
        now: Now,
        (conn, corr): (Conn, u32),
        device: (PublicKey, String),
        out: &mut Vec<Effect>,
    ) {
        let Some((account, _)) = self.attached(conn) else { return };
        let answer = match self.vouch(now, account, device, out) {
            Ok(device) => CallAnswer::Linked(device),
            Err((code, text)) => CallAnswer::Refused(code, text),
        };
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
    }

    /// The device with this key, added where there is none.
    fn vouch(
        &mut self,
        now: Now,
        account: AccountId,
        (key, name): (PublicKey, String),
        out: &mut Vec<Effect>,
    ) -> Result<DeviceNo, (Code, &'static str)> {
        if !self.admitting {
            return Err((Code::OwnerMoving, MOVING));
        }
        if name.len() > limits::DEVICE_NAME_BYTES_MAX {
            return Err((Code::Invalid, "the device's name is too long"));
        }
        let state = self.account(account).ok_or((Code::NotFound, "no such account"))?;
        match state.device_of(&key) {
            // Not 2003, which would say so of the device that asks.
            Some((_, known)) if known.revoked => {
                Err((Code::Invalid, "the key of this code was revoked: make a new code"))
            }
            Some((device, _)) => Ok(device),
            None if added_of_late(state, now.wall) >= limits::DEVICES_LINKED_PER_HOUR => {
                Err((Code::Quota, "too many devices were added in the last hour: try again later"))
            }
            None if state.active_devices().count() >= limits::DEVICES_LINKED_MAX => Err((
                Code::TooManyDevices,
                "revoke a device first, or log in with the password: some places are kept for that",
            )),
            None => self.add_device(now, account, (key, name), out),
        }
    }

    /// The first tokens of a device. The caller verified that whoever asks holds its key.
    pub(in super::super) fn open_linked(
        &mut self,
        now: MonoUs,
        token: Token,
        (account, key): (AccountId, PublicKey),
        out: &mut Vec<Effect>,
    ) {
        let again = Input::OpenLinked { token, account, key };
        if !self.is_loaded(account, Waiting::Input(Box::new(again)), out) {
            return;
        }
        if !self.admitting {
            return moving(token, out);
        }
        let answer = first_tokens(self.account(account), key);
        // Who is not let in does not keep a stranger's account in memory by asking.
        if answer.is_ok() {
            self.touch(account, now);
        }
        let answer = answer.unwrap_or_else(|(code, text)| DirectoryAnswer::Refused(code, text));
        self.after_all(Awaiting::Answer { token, answer });
    }
}

fn first_tokens(
    state: Option<&Account>,
    key: PublicKey,
) -> Result<DirectoryAnswer, (Code, &'static str)> {
    let known = state.and_then(|state| state.device_of(&key));
    let (device, known) = known.ok_or((Code::NotFound, "no device vouched for this one yet"))?;
    if known.revoked {
        return Err((Code::DeviceRevoked, "this device was revoked"));
    }
    if known.refresh_current != FIRST {
        return Err((Code::AuthInvalid, "this device has its tokens: renew them"));
    }
    let name = known.name.clone();
    Ok(DirectoryAnswer::Tokens { device, name, key, refresh: FIRST })
}

/// How many devices were added within an hour.
fn added_of_late(state: &Account, now: WallMs) -> usize {
    let late = |added_at: WallMs| now.0.saturating_sub(added_at.0) < HOUR_MS;
    state.devices.values().filter(|device| late(device.added_at)).count()
}
