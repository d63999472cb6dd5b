//! What is worth something only now: who is there, who writes something, where this person looks.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::clock::{MonoUs, WallMs};
use iris_core::id::{AccountId, DeviceNo};
use iris_core::limits;
use iris_core::message::Address;
use iris_core::signal::{Presence, Typing};
use iris_proto::FormatError;
use iris_proto::client::{self as wire, signal::Kind};
use iris_proto::client_frames::{address_from_wire, address_to_wire, head_from_wire};
use iris_proto::frame::FrameType;

use super::Session;
use super::call::Calls;
use super::event::Event;
use super::frames::encoded;
use super::input::Effect;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Signals {
    watched: BTreeSet<AccountId>,
    /// What the server is still to be told: whether somebody is watched.
    unsaid: BTreeMap<AccountId, bool>,
    away: bool,
}

impl Signals {
    pub(super) fn watch(&mut self, account: AccountId, on: bool) {
        let changed = match on {
            true => self.watched.len() < limits::WATCHED_MAX && self.watched.insert(account),
            false => self.watched.remove(&account),
        };
        if changed {
            self.unsaid.insert(account, on);
        }
    }

    fn say_again(&mut self) {
        self.unsaid = self.watched.iter().map(|account| (*account, true)).collect();
    }

    /// Says whom this device watches.
    pub(super) fn transmit(&mut self, calls: &mut Calls, now: MonoUs) {
        if self.unsaid.is_empty() {
            return;
        }
        let (on, off): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unsaid).into_iter().partition(|(_, on)| *on);
        for (kind, accounts) in [(FrameType::Subscribe, on), (FrameType::Unsubscribe, off)] {
            if !accounts.is_empty() {
                let accounts = accounts.into_iter().map(|(account, _)| account);
                calls.watch(now, kind, accounts);
            }
        }
    }
}

impl Session {
    pub(super) fn type_to(&self, to: Address, kind: u32, out: &mut Vec<Effect>) {
        let to = Some(address_to_wire(to));
        let typing = wire::Typing { to, kind, ..Default::default() };
        self.transmit_signal(Kind::Typing(typing), out);
    }

    pub(super) fn look_away(&mut self, away: bool, out: &mut Vec<Effect>) {
        if self.signals.away != away {
            self.signals.away = away;
            self.transmit_signal(Kind::Away(wire::Away { away }), out);
        }
    }

    /// The server serves this device: what it is told of signals on every connection.
    pub(super) fn greet_signals(&mut self, out: &mut Vec<Effect>) {
        self.signals.say_again();
        if self.signals.away {
            self.transmit_signal(Kind::Away(wire::Away { away: true }), out);
        }
    }

    /// Without a connection it is lost: it would be worth nothing later.
    fn transmit_signal(&self, kind: Kind, out: &mut Vec<Effect>) {
        if self.is_open() {
            let signal = wire::Signal { kind: Some(kind) };
            out.push(Effect::Transmit(encoded(FrameType::Signal, None, &signal)));
        }
    }

    pub(super) fn signal(
        &mut self,
        now: MonoUs,
        signal: wire::Signal,
        out: &mut Vec<Effect>,
    ) -> Result<(), FormatError> {
        match signal.kind {
            Some(Kind::Typing(typing)) => {
                let to = typing.to.ok_or(FormatError::Missing("to"))?;
                out.push(Effect::Event(Event::Typing(Typing {
                    from: AccountId::from_bytes(&typing.from)?,
                    device: DeviceNo(typing.device),
                    to: address_from_wire(to)?,
                    kind: typing.kind,
                })));
            }
            Some(Kind::Presence(told)) => {
                let account = AccountId::from_bytes(&told.account)?;
                let presence = match told.state() {
                    wire::presence::State::Online => Presence::Online,
                    wire::presence::State::Offline => Presence::Offline(WallMs(told.last_seen_ms)),
                    wire::presence::State::Hidden => Presence::Hidden,
                    wire::presence::State::Unspecified => return Ok(()),
                };
                if self.signals.watched.contains(&account) {
                    out.push(Effect::Event(Event::Presence { account, presence }));
                }
            }
            Some(Kind::OwnerChanged(_)) => {
                self.outbox.owner_changed(now);
                // What was asked of the owner before gets no answer any more.
                self.forget_asked(now);
                self.marks.say_again();
                self.greet_signals(out);
            }
            Some(Kind::Head(told)) => {
                let (group, head) = head_from_wire(&told)?;
                self.head_is(now, group, head);
            }
            // Not for clients, or of a later version.
            Some(Kind::Away(_)) | None => {}
        }
        Ok(())
    }
}
