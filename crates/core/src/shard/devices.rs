//! Devices: opened by whoever proved to own the account, listed, revoked; refresh tokens rotated.

mod link;

use crate::clock::Now;
use crate::code::Code;
use crate::entry::Op;
use crate::id::{AccountId, DeviceNo, PublicKey};
use crate::limits;

use super::Shard;
use super::attach::close;
use super::effect::{CallAnswer, DeviceSummary, DirectoryAnswer, Effect, ToConn};
use super::hot::{Conn, Waiting};
use super::input::{Input, Token};
use super::release::Awaiting;

impl Shard {
    pub(super) fn open_device(
        &mut self,
        now: Now,
        token: Token,
        account: AccountId,
        (key, name): (PublicKey, String),
        out: &mut Vec<Effect>,
    ) {
        let again = Input::Open { token, account, key, name: name.clone() };
        if !self.is_loaded(account, Waiting::Input(Box::new(again)), out) {
            return;
        }
        self.touch(account, now.mono);
        if !self.admitting {
            return moving(token, out);
        }
        if self.account(account).is_none() {
            self.decide(now.wall, Op::AccountCreated { account }, out);
        }
        let answer = self.device_for(now, account, (key, name), out);
        let answer = answer.unwrap_or_else(|(code, text)| DirectoryAnswer::Refused(code, text));
        self.after_all(Awaiting::Answer { token, answer });
    }

    /// The device with this key, added where there is none.
    fn device_for(
        &mut self,
        now: Now,
        account: AccountId,
        (key, name): (PublicKey, String),
        out: &mut Vec<Effect>,
    ) -> Result<DirectoryAnswer, (Code, &'static str)> {
        let state = self.account(account).ok_or((Code::NotFound, "no such account"))?;
        match state.device_of(&key) {
            Some((_, known)) if known.revoked => {
                Err((Code::DeviceRevoked, "this device key was revoked"))
            }
            Some((device, known)) => {
                // Whoever logs in again with the password and the key starts a new line of tokens.
                let (name, refresh) = (known.name.clone(), known.refresh_current + 1);
                let op =
                    Op::RefreshRotated { account, device, current: refresh, previous: refresh };
                self.decide(now.wall, op, out);
                Ok(DirectoryAnswer::Tokens { device, name, key, refresh })
            }
            None => {
                let device = self.add_device(now, account, (key, name.clone()), out)?;
                Ok(DirectoryAnswer::Tokens { device, name, key, refresh: 1 })
            }
        }
    }

    /// A device that the account does not have; it begins at the inbox's newest place.
    fn add_device(
        &mut self,
        now: Now,
        account: AccountId,
        (key, name): (PublicKey, String),
        out: &mut Vec<Effect>,
    ) -> Result<DeviceNo, (Code, &'static str)> {
        let state = self.account(account).ok_or((Code::NotFound, "no such account"))?;
        if state.active_devices().count() >= limits::DEVICES_MAX {
            return Err((Code::TooManyDevices, "revoke a device first"));
        }
        let (device, start) = (state.next_device(), Some(state.head));
        self.decide(now.wall, Op::DeviceAdded { account, device, key, name, start }, out);
        Ok(device)
    }

    /// Uses a refresh token. The caller verified its signature: an old generation is a stolen or copied
    /// token, and the device loses its access.
    pub(super) fn refresh(
        &mut self,
        now: Now,
        token: Token,
        account: AccountId,
        (device, generation): (DeviceNo, u32),
        out: &mut Vec<Effect>,
    ) {
        let again = Input::Refresh { token, account, device, generation };
        if !self.is_loaded(account, Waiting::Input(Box::new(again)), out) {
            return;
        }
        self.touch(account, now.mono);
        if !self.admitting {
            return moving(token, out);
        }
        let answer = self.rotate(now, account, (device, generation), out);
        let answer = answer.unwrap_or_else(|(code, text)| DirectoryAnswer::Refused(code, text));
        self.after_all(Awaiting::Answer { token, answer });
    }

    fn rotate(
        &mut self,
        now: Now,
        account: AccountId,
        (no, generation): (DeviceNo, u32),
        out: &mut Vec<Effect>,
    ) -> Result<DirectoryAnswer, (Code, &'static str)> {
        let unknown = (Code::AuthInvalid, "no such device");
        let state = self.account(account).ok_or(unknown)?;
        let device = state.devices.get(&no).ok_or(unknown)?;
        if device.revoked {
            return Err((Code::DeviceRevoked, "this device was revoked"));
        }
        let (key, name, current) = (device.key, device.name.clone(), device.refresh_current);
        let good = generation == current || generation == device.refresh_previous;
        if !good {
            self.revoke(now, account, no, out);
            return Err((Code::DeviceRevoked, "this refresh token was used before"));
        }
        let refresh = current + 1;
        let op = Op::RefreshRotated { account, device: no, current: refresh, previous: generation };
        self.decide(now.wall, op, out);
        Ok(DirectoryAnswer::Tokens { device: no, name, key, refresh })
    }

    pub(super) fn list_devices(&mut self, conn: Conn, corr: u32) {
        let Some((account, _)) = self.attached(conn) else { return };
        let Some(state) = self.account(account) else { return };
        let devices = state.devices.iter().map(|(no, device)| DeviceSummary {
            device: *no,
            name: device.name.clone(),
            key: device.key,
            revoked: device.revoked,
            added_at_ms: device.added_at.0,
        });
        let answer = CallAnswer::Devices(devices.collect());
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
    }

    /// Versions differ while a cluster is updated: the device may ask a later one.
    pub(super) fn answer_unknown(&mut self, conn: Conn, corr: u32) {
        let answer = CallAnswer::Refused(Code::NotFound, "this server does not know the question");
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
    }

    pub(super) fn revoke_device(
        &mut self,
        now: Now,
        conn: Conn,
        corr: u32,
        device: DeviceNo,
        out: &mut Vec<Effect>,
    ) {
        let Some((account, _)) = self.attached(conn) else { return };
        let known = self.account(account).and_then(|state| state.devices.get(&device));
        let answer = match known.map(|device| device.revoked) {
            Some(_) | None if !self.admitting => CallAnswer::Refused(Code::OwnerMoving, MOVING),
            None => CallAnswer::Refused(Code::NotFound, "no such device"),
            Some(true) => CallAnswer::Done,
            Some(false) => {
                self.revoke(now, account, device, out);
                CallAnswer::Done
            }
        };
        self.after_all(Awaiting::ToConn { conn, what: ToConn::Result { corr, answer } });
    }

    /// Takes a device's access: its connection ends at once, its tokens with the next question.
    fn revoke(&mut self, now: Now, account: AccountId, device: DeviceNo, out: &mut Vec<Effect>) {
        self.decide(now.wall, Op::DeviceRevoked { account, device }, out);
        if let Some(conn) = self.unlink(account, device) {
            close(conn, Code::DeviceRevoked, "this device was revoked", out);
        }
    }
}

const MOVING: &str = "the shard is moving: try again";

fn moving(token: Token, out: &mut Vec<Effect>) {
    let answer = DirectoryAnswer::Refused(Code::OwnerMoving, MOVING);
    out.push(Effect::Answer { token, answer });
}
