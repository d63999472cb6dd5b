//! Inputs over which an owner panicked: whoever has the shard next does not take them.
//!
//! A shard notes what it decides before it does. If that panics, nothing of the shard may be used any
//! more but the note: its session writes that down and ends. Whoever recovers the shard is given the
//! notes. The words of a note say the same in every process of one version, and are all that is
//! compared.
//!
//! What is not taken is never answered as if it were. An item of another shard waits in its outbox,
//! rows are as rows that cannot be understood, and a device is told to come again. Its message is
//! refused for good, if it was not decided before: that runs nothing of what decides messages. Where
//! even this panicked, it is put off.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::clock::{Hlc, Now};
use crate::code::Code;
use crate::entry::Op;
use crate::id::{AccountId, DeviceNo, GroupId, ShardId};
use crate::message::{Message, Parcel};
use crate::seq::{ClientSeq, ConvSeq};
use crate::signal::Signal;

use super::Shard;
use super::attach::give_up;
use super::effect::Effect;
use super::hot::Conn;
use super::input::Input;
use super::release::Awaiting;
use super::send::{Turn, nack};

/// A message that is put off comes again after so long.
const PUT_OFF_MS: u32 = 10_000;

/// A device's message, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Whose device.
    pub account: AccountId,
    /// Which.
    pub device: DeviceNo,
    /// Its number for the message.
    pub client_seq: ClientSeq,
}

/// What a shard is deciding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deciding {
    /// A device's message.
    Send(Numbered),
    /// The refusal of one over which an owner panicked.
    Refusal(Numbered),
    /// What else a device asks or says.
    Call(&'static str, AccountId, DeviceNo),
    /// A question of the directory.
    Question(&'static str, AccountId),
    /// A message that another shard pushes.
    Message(ShardId, Numbered),
    /// A message to a group that it pushes for members.
    ForMembers(ShardId, Numbered),
    /// A notice that it pushes, and the message that it is about.
    Notice(ShardId, Numbered),
    /// A receipt that it pushes: of whom, for whom, up to which clocks.
    Receipt(ShardId, (AccountId, AccountId), (Hlc, Hlc)),
    /// Who could not be members: of which group, from which place on.
    Declined(ShardId, GroupId, ConvSeq),
    /// Whatever another shard signals of one kind.
    Signal(&'static str),
    /// The rows of an account.
    Account(AccountId),
    /// The rows of a group.
    Group(GroupId),
    /// Something that the store read for an account.
    Read(&'static str, AccountId),
    /// What the shard does by itself, or has to be told. It is never left out.
    Own(&'static str),
}

impl Numbered {
    fn of(message: &Message) -> Self {
        let (account, device) = (message.sender, message.sender_device);
        Self { account, device, client_seq: message.client_seq }
    }
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, device, client_seq } = self;
        write!(f, "message {client_seq} of device {device} of {account}")
    }
}

impl fmt::Display for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(sent) => write!(f, "{sent}"),
            Self::Refusal(sent) => write!(f, "the refusal of {sent}"),
            Self::Call(what, account, device) => {
                write!(f, "{what} of device {device} of {account}")
            }
            Self::Question(what, account) => write!(f, "{what} of {account}"),
            Self::Message(from, sent) => write!(f, "{sent}, pushed by shard {from}"),
            Self::ForMembers(from, sent) => {
                write!(f, "{sent} for members, pushed by shard {from}")
            }
            Self::Notice(from, sent) => write!(f, "a notice of {sent}, pushed by shard {from}"),
            Self::Receipt(from, (by, to), (delivered, read)) => {
                let upto = format!("up to {delivered} and {read}");
                write!(f, "a receipt of {by} for {to} {upto}, pushed by shard {from}")
            }
            Self::Declined(from, group, place) => {
                write!(f, "members declined at {place} of {group}, pushed by shard {from}")
            }
            Self::Signal(what) => write!(f, "a signal: {what}"),
            Self::Account(account) => write!(f, "the rows of {account}"),
            Self::Group(group) => write!(f, "the rows of group {group}"),
            Self::Read(what, account) => write!(f, "{what} that was read for {account}"),
            Self::Own(what) => write!(f, "its own: {what}"),
        }
    }
}

impl Deciding {
    /// What an item of another shard is: the same whatever number it has in that shard's outbox, as
    /// that may be another one if no log has it yet.
    pub(super) fn of_parcel(from: ShardId, parcel: &Parcel) -> Self {
        match parcel {
            Parcel::Message(message) => Self::Message(from, Numbered::of(message)),
            Parcel::ForMembers(message, _) => Self::ForMembers(from, Numbered::of(message)),
            Parcel::Notice(notice) => {
                let (account, device) = (notice.account, notice.device);
                let client_seq = notice.client_seq;
                Self::Notice(from, Numbered { account, device, client_seq })
            }
            Parcel::Receipt(receipt) => {
                let (people, upto) =
                    ((receipt.from, receipt.to), (receipt.delivered, receipt.read));
                Self::Receipt(from, people, upto)
            }
            Parcel::Declined(group, place, _) => Self::Declined(from, *group, *place),
        }
    }

    fn of(shard: &Shard, input: &Input) -> Self {
        let call = |conn: &Conn, what| match shard.attached(*conn) {
            Some((account, device)) => Self::Call(what, account, device),
            None => Self::Own("what came by no connection"),
        };
        match input {
            Input::Attach(attach) => Self::Call("the attach", attach.account, attach.device),
            Input::Send { conn, send } => match shard.attached(*conn) {
                Some((account, device)) => {
                    Self::Send(Numbered { account, device, client_seq: send.client_seq })
                }
                None => Self::Own("what came by no connection"),
            },
            Input::Ack { conn, .. } => call(conn, "an ack"),
            Input::Window { conn, .. } => call(conn, "credit"),
            Input::Read { conn, .. } => call(conn, "a read"),
            Input::Types { conn, .. } => call(conn, "typing"),
            Input::Away { conn, .. } => call(conn, "a look"),
            Input::Subscribe { conn, .. } => call(conn, "a subscription"),
            Input::Fetch { conn, .. } => call(conn, "a page of history"),
            Input::ListGroups { conn, .. } => call(conn, "a list of groups"),
            Input::Roster { conn, .. } => call(conn, "a roster"),
            Input::FetchLog { conn, .. } => call(conn, "a page of a log"),
            Input::Wish { conn, .. } => call(conn, "a wish"),
            Input::ListWishes { conn, .. } => call(conn, "a list of wishes"),
            Input::ListDevices { conn, .. } => call(conn, "a list of devices"),
            Input::AskUnknown { conn, .. } => call(conn, "an unknown question"),
            Input::RevokeDevice { conn, .. } => call(conn, "a revocation"),
            Input::LinkDevice { conn, .. } => call(conn, "a link"),
            Input::Open { account, .. } => Self::Question("a login", *account),
            Input::OpenLinked { account, .. } => Self::Question("a linked device", *account),
            Input::Refresh { account, .. } => Self::Question("a refresh", *account),
            Input::Signal(signal) => Self::Signal(kind_of(signal)),
            Input::Loaded { account, .. } => Self::Account(*account),
            Input::GroupLoaded { group, .. } => Self::Group(*group),
            Input::InboxLoaded { account, .. } => Self::Read("an inbox", *account),
            Input::ReceiptsRead { account, .. } => Self::Read("what receipts need", *account),
            Input::MarksLoaded { account, .. } => Self::Read("marks", *account),
            Input::Fetched { account, .. } => Self::Read("history", *account),
            Input::RosterRead { account, .. } => Self::Read("a roster", *account),
            Input::LogRead { account, .. } => Self::Read("a log", *account),
            Input::Parcel { from, parcel, .. } => Self::of_parcel(*from, parcel),
            Input::Detach { .. } => Self::Own("a detach"),
            Input::Writable { .. } => Self::Own("a stream that takes more"),
            Input::LoadFailed { .. } | Input::GroupLoadFailed { .. } => Self::Own("a failed read"),
            Input::AccountDamaged { .. } | Input::GroupDamaged { .. } => Self::Own("damaged rows"),
            Input::PeerReady { .. } => Self::Own("a shard that can be reached"),
            Input::Confirmed { .. } => Self::Own("a confirmation"),
            Input::Expected { .. } => Self::Own("an expectation"),
            Input::Released { .. } => Self::Own("a release"),
        }
    }
}

fn kind_of(signal: &Signal) -> &'static str {
    match signal {
        Signal::Typing(_) => "typing",
        Signal::Watch { .. } => "a watch",
        Signal::Presence { .. } => "presence",
        Signal::TypingInGroup { .. } => "typing in a group",
        Signal::WatchGroup { .. } => "a watch of a group",
        Signal::Head { .. } => "the head of a group",
    }
}

impl Shard {
    /// The one entry point of a serving shard: takes an input, appends to `out` what must happen.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let deciding = Deciding::of(self, &input);
        if self.is_suspect(deciding) {
            return self.take_instead(now, deciding, input, out);
        }
        self.noting(deciding, |shard| shard.take_input(now, input, out));
    }

    /// What it was deciding when a call of it panicked. It may not be used for anything else then.
    pub fn deciding(&self) -> Option<Deciding> {
        self.deciding
    }

    /// Owners of this version panicked over these: they are not taken.
    pub fn distrust(&mut self, suspects: BTreeSet<String>) {
        self.suspects = suspects;
    }

    /// Does something, and notes meanwhile what it is.
    pub(super) fn noting<T>(&mut self, what: Deciding, work: impl FnOnce(&mut Self) -> T) -> T {
        let around = self.deciding.replace(what);
        let done = work(self);
        self.deciding = around;
        done
    }

    fn is_suspect(&self, deciding: Deciding) -> bool {
        if self.suspects.is_empty() || matches!(deciding, Deciding::Own(_)) {
            return false;
        }
        self.suspects.contains(&deciding.to_string())
    }

    fn take_instead(&mut self, now: Now, deciding: Deciding, input: Input, out: &mut Vec<Effect>) {
        let instead = match input {
            Input::Send { conn, .. } => {
                if let Deciding::Send(sent) = deciding {
                    self.refuse_suspect(now, conn, sent, out);
                }
                return;
            }
            // Its source has it until a version takes it, and pushes it again.
            Input::Parcel { .. } => return,
            Input::Loaded { account, .. } => Input::AccountDamaged { account },
            Input::GroupLoaded { group, .. } => Input::GroupDamaged { group },
            Input::InboxLoaded { account, asked, .. } => {
                Input::InboxLoaded { account, asked, items: None }
            }
            Input::ReceiptsRead { account, after, .. } => {
                Input::ReceiptsRead { account, after, items: None }
            }
            Input::MarksLoaded { account, conn, .. } => {
                Input::MarksLoaded { account, conn, page: None }
            }
            Input::Fetched { account, conn, corr, fetch, .. } => {
                Input::Fetched { account, conn, corr, fetch, page: None }
            }
            Input::RosterRead { account, conn, corr, group, .. } => {
                Input::RosterRead { account, conn, corr, group, page: None }
            }
            Input::LogRead { account, conn, corr, fetch, .. } => {
                Input::LogRead { account, conn, corr, fetch, messages: None }
            }
            // A call is told to come again; what has no answer is as if it had not been said.
            input => {
                let why = (Code::StoreUnavailable, "an owner failed over this");
                return give_up(input, why, out);
            }
        };
        self.noting(Deciding::Own("what is not taken"), |shard| {
            shard.take_input(now, instead, out);
        });
    }

    /// A message over which an owner panicked. It was not logged, or its number is a later one than the
    /// device's next: so the answer is the first one, or the one that there was.
    fn refuse_suspect(&mut self, now: Now, conn: Conn, sent: Numbered, out: &mut Vec<Effect>) {
        let Numbered { account, device, client_seq } = sent;
        let refusal = Deciding::Refusal(sent);
        if !self.admitting || self.is_suspect(refusal) {
            return nack(conn, client_seq, Code::StoreUnavailable, PUT_OFF_MS, out);
        }
        self.noting(refusal, |shard| {
            match shard.turn(account, device, client_seq) {
                None => {}
                Some(Turn::Now) => {
                    let code = Code::Damaged;
                    let op = Op::SendRefused { account, device, client_seq, code };
                    shard.decide(now.wall, op, out);
                    shard.after_all(Awaiting::Decided { account, device, client_seq });
                }
                Some(Turn::Before) => shard.after_all(Awaiting::AckAgain { account, device }),
                Some(Turn::TooEarly { expected }) => {
                    shard.complain_of_gap((account, device), conn, expected, out);
                }
            }
            shard.settle(now, out);
        });
    }
}
