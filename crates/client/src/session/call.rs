//! Questions to the server: asked again after a reconnect until they are answered or too late.
//!
//! Only questions that may be asked twice are here; none of them sends a message.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use iris_core::clock::MonoUs;
use iris_core::code::Code;
use iris_core::group::{Membership, RosterPage};
use iris_core::id::{AccountId, DeviceNo, GroupId, PublicKey};
use iris_core::message::Address;
use iris_core::relation::{Relations, Wish};
use iris_core::seq::{ConvSeq, InboxSeq};
use iris_core::shard::HistoryPoint;
use iris_proto::FormatError;
use iris_proto::client as wire;
use iris_proto::client_frames::{
    address_to_wire, memberships_from_wire, point_from_wire, point_to_wire, roster_from_wire,
    wish_to_wire, wishes_from_wire,
};
use iris_proto::frame::{Frame, FrameType};
use prost::Message as _;

use crate::place::{Place, bytes_of};

use super::Session;
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
    /// Let a new device into this account.
    LinkDevice(PublicKey, String),
    /// The account of a user name.
    FindAccount(String),
    /// A page of a conversation, from the server.
    Fetch(Fetch),
    /// Wish something of others.
    Wish(Wish),
    /// All wishes of this account.
    ListWishes,
    /// The groups of this account.
    ListGroups,
    /// Who is in a group, from behind somebody on.
    ListMembers(GroupId, Option<AccountId>),
    /// A page of a large group's log.
    ReadLog(LogFetch),
}

/// Which page of a large group's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFetch {
    /// Which group.
    pub group: GroupId,
    /// Only what is behind this place, oldest first.
    pub behind: ConvSeq,
    /// At most so many messages; the server may send fewer.
    pub limit: u32,
}

/// A page of a large group's log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// None of them has a place in an inbox; all have one in the group.
    pub messages: Vec<Place>,
    /// Whether there may be more behind the last.
    pub more: bool,
}

/// Which page of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// With whom, or in which group.
    pub with: Address,
    /// Only what is before this; without it, the newest.
    pub before: Option<HistoryPoint>,
    /// At most so many messages; the server may send fewer.
    pub limit: u32,
}

/// A page of a conversation, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// May be fewer than asked for, even none, though more follow.
    pub places: Vec<Place>,
    /// Where the next page begins; without it there is none.
    pub next: Option<HistoryPoint>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// The devices.
    Devices(Vec<DeviceInfo>),
    /// The account.
    Account(AccountId),
    /// The page.
    Page(Page),
    /// The wishes.
    Wishes(Box<Relations>),
    /// The groups that the account is in, and those that it left of late.
    Groups(Vec<(GroupId, Membership)>),
    /// Some of who is in a group.
    Roster(Box<RosterPage>),
    /// The page of the log.
    Log(LogPage),
    /// The account has this device.
    Linked(DeviceNo),
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

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// The application.
    Application(CallId),
    /// Whoever reads the logs of large groups.
    Log(GroupId),
    /// The same, who wants to know which groups there are.
    Groups,
    /// Nobody.
    Nobody,
}

#[derive(Debug)]
struct Pending {
    asker: Asker,
    kind: FrameType,
    payload: Bytes,
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
        self.push(now, Asker::Application(id), until, to_wire(op));
    }

    /// Asks something for the session itself, on this connection.
    pub(super) fn ask(&mut self, now: MonoUs, asker: Asker, op: &CallOp) {
        self.push(now, asker, MonoUs(u64::MAX), to_wire(op));
    }

    fn push(
        &mut self,
        now: MonoUs,
        asker: Asker,
        until: MonoUs,
        (kind, payload): (FrameType, Bytes),
    ) {
        let state = CallState::Due(now);
        self.pending.push_back(Pending { asker, kind, payload, until, state });
    }

    /// Says whom the device watches, on this connection.
    pub(super) fn watch(
        &mut self,
        now: MonoUs,
        kind: FrameType,
        accounts: impl Iterator<Item = AccountId>,
    ) {
        let accounts = accounts.map(|account| bytes_of(account.to_bytes())).collect();
        let payload = wire::Subscribe { accounts }.encode_to_vec().into();
        self.push(now, Asker::Nobody, MonoUs(u64::MAX), (kind, payload));
    }

    /// Asks what is due.
    pub(super) fn transmit(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        for call in &mut self.pending {
            if let CallState::Due(at) = call.state
                && at <= now
            {
                self.next_corr = self.next_corr.wrapping_add(1);
                call.state = CallState::Asked(self.next_corr);
                let mut frame = Frame::new(call.kind, call.payload.clone());
                frame.corr = Some(self.next_corr);
                let mut bytes = BytesMut::new();
                frame.encode(&mut bytes);
                out.push(Effect::Transmit(bytes.freeze()));
            }
        }
    }

    /// The connection ended: what somebody waits for is asked again on the next one.
    pub(super) fn forget_connection(&mut self, now: MonoUs) {
        self.pending.retain(|call| matches!(call.asker, Asker::Application(_)));
        for call in &mut self.pending {
            if let CallState::Asked(_) = call.state {
                call.state = CallState::Due(now);
            }
        }
    }

    pub(super) fn expire(&mut self, now: MonoUs, out: &mut Vec<Effect>) {
        self.pending.retain(|call| {
            if call.until <= now {
                out.extend(call.called(Err(CalledOff::TimedOut)));
            }
            call.until > now
        });
    }

    pub(super) fn call_off(&mut self, out: &mut Vec<Effect>) {
        for call in self.pending.drain(..) {
            out.extend(call.called(Err(CalledOff::Stopped)));
        }
    }

    pub(super) fn wake_at(&self, open: bool) -> Option<MonoUs> {
        let times = self.pending.iter().map(|call| match call.state {
            CallState::Due(at) if open => at.min(call.until),
            CallState::Due(_) | CallState::Asked(_) => call.until,
        });
        times.min()
    }

    /// The group whose log cannot be read now: whoever reads logs asks again, and reads others meanwhile.
    fn log_put_off(&mut self, corr: u32, result: &wire::CallResult) -> Option<GroupId> {
        let at = self.asked(corr).filter(|_| is_put_off(result.code))?;
        let Asker::Log(group) = self.pending.get(at)?.asker else { return None };
        self.pending.remove(at);
        Some(group)
    }

    /// Whose question this answers for good.
    fn answered(&mut self, now: MonoUs, corr: u32, result: &wire::CallResult) -> Option<Asker> {
        let again_ms = u64::from(result.retry_after_ms).max(RETRY_MS_MIN);
        if !is_put_off(result.code) {
            return self.take(corr);
        }
        let at = self.asked(corr)?;
        self.pending.get_mut(at)?.state = CallState::Due(MonoUs(now.0 + again_ms * 1000));
        None
    }

    /// Whose question this answers; it is under way no more.
    fn take(&mut self, corr: u32) -> Option<Asker> {
        self.asked(corr).and_then(|at| self.pending.remove(at)).map(|call| call.asker)
    }

    fn asked(&self, corr: u32) -> Option<usize> {
        let asked = CallState::Asked(corr);
        self.pending.iter().position(|call| call.state == asked)
    }
}

impl Pending {
    fn called(&self, answer: Result<CallAnswer, CalledOff>) -> Option<Effect> {
        match self.asker {
            Asker::Application(id) => Some(Effect::Called { id, answer }),
            Asker::Log(_) | Asker::Groups | Asker::Nobody => None,
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
        if let Some(group) = corr.and_then(|corr| self.calls.log_put_off(corr, &result)) {
            self.log_later(now, group, u64::from(result.retry_after_ms));
            return Ok(());
        }
        match corr.and_then(|corr| self.calls.answered(now, corr, &result)) {
            Some(Asker::Application(id)) => {
                out.push(Effect::Called { id, answer: from_wire(result) });
            }
            Some(Asker::Log(group)) => self.log_refused(group),
            Some(Asker::Groups) => {
                if let Ok(CallAnswer::Groups(groups)) = from_wire(result) {
                    self.groups_listed(&groups, out);
                }
            }
            Some(Asker::Nobody) | None => {}
        }
        Ok(())
    }

    pub(super) fn page(
        &mut self,
        corr: Option<u32>,
        payload: Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), FormatError> {
        let page = page_from_wire(wire::Page::decode(payload)?)?;
        if let Some(Asker::Application(id)) = corr.and_then(|corr| self.calls.take(corr)) {
            out.push(Effect::Called { id, answer: Ok(CallAnswer::Page(page)) });
        }
        Ok(())
    }

    pub(super) fn log_page(
        &mut self,
        now: MonoUs,
        corr: Option<u32>,
        payload: Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), FormatError> {
        let wire::LogPage { messages, more } = wire::LogPage::decode(payload)?;
        let messages = messages.into_iter().map(Place::of_log).collect::<Result<_, _>>()?;
        let page = LogPage { messages, more };
        match corr.and_then(|corr| self.calls.take(corr)) {
            Some(Asker::Application(id)) => {
                out.push(Effect::Called { id, answer: Ok(CallAnswer::Log(page)) });
                Ok(())
            }
            Some(Asker::Log(group)) => self.log_read(now, group, page, out),
            Some(Asker::Groups | Asker::Nobody) | None => Ok(()),
        }
    }
}

fn page_from_wire(page: wire::Page) -> Result<Page, FormatError> {
    let place = |entry: wire::PageEntry| {
        let found = entry.entry.ok_or(FormatError::Missing("entry"))?;
        Place::from_wire(InboxSeq(entry.inbox_seq), found)
    };
    Ok(Page {
        places: page.entries.into_iter().map(place).collect::<Result<_, _>>()?,
        next: page.next.map(point_from_wire).transpose()?,
    })
}

/// Whether the server wants to be asked again later.
fn is_put_off(code: u32) -> bool {
    code == u32::from(Code::RateLimited.number()) || (5000..6000).contains(&code)
}

fn to_wire(op: &CallOp) -> (FrameType, Bytes) {
    use wire::call::Op;
    let op = match op {
        CallOp::Fetch(fetch) => {
            let fetch = wire::Fetch {
                conversation: Some(address_to_wire(fetch.with)),
                before: fetch.before.map(point_to_wire),
                limit: fetch.limit,
                behind: None,
            };
            return (FrameType::Fetch, fetch.encode_to_vec().into());
        }
        CallOp::ReadLog(fetch) => {
            let fetch = wire::Fetch {
                conversation: Some(address_to_wire(Address::Group(fetch.group))),
                before: None,
                limit: fetch.limit,
                behind: Some(fetch.behind.0),
            };
            return (FrameType::Fetch, fetch.encode_to_vec().into());
        }
        CallOp::ListGroups => Op::ListGroups(wire::ListGroups {}),
        CallOp::ListMembers(group, after) => Op::ListMembers(wire::ListMembers {
            group: bytes_of(group.to_bytes()),
            after: after.map_or_else(Bytes::new, |after| bytes_of(after.to_bytes())),
        }),
        CallOp::Wish(wish) => Op::Wish(wish_to_wire(*wish)),
        CallOp::ListWishes => Op::ListWishes(wire::ListWishes {}),
        CallOp::ListDevices => Op::ListDevices(wire::ListDevices {}),
        CallOp::RevokeDevice(device) => Op::RevokeDevice(wire::RevokeDevice { device: device.0 }),
        CallOp::LinkDevice(key, name) => {
            Op::LinkDevice(wire::LinkDevice { public_key: bytes_of(key.0), name: name.clone() })
        }
        CallOp::FindAccount(handle) => {
            Op::FindAccount(wire::FindAccount { handle: handle.clone() })
        }
    };
    (FrameType::Call, wire::Call { op: Some(op) }.encode_to_vec().into())
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
        Some(Kind::Linked(linked)) => Ok(CallAnswer::Linked(DeviceNo(linked.device))),
        Some(Kind::Wishes(wishes)) => {
            let wishes = wishes_from_wire(wishes).map_err(|_| CalledOff::Malformed)?;
            Ok(CallAnswer::Wishes(Box::new(wishes)))
        }
        Some(Kind::Groups(groups)) => {
            let groups = memberships_from_wire(&groups).map_err(|_| CalledOff::Malformed)?;
            Ok(CallAnswer::Groups(groups))
        }
        Some(Kind::Roster(roster)) => {
            let page = roster_from_wire(roster).map_err(|_| CalledOff::Malformed)?;
            Ok(CallAnswer::Roster(Box::new(page)))
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
