//! People: each device is a client with a disk of its own, as an SDK is.

mod groups;
mod hears;
mod wants;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use iris_check::history::{MessageNo, What};
use iris_core::clock::Hlc;
use iris_core::group::Change;
use iris_core::id::{AccountId, DeviceNo, GroupId, MsgId, PublicKey, ShardId, TenantNo};
use iris_core::mark::Mark;
use iris_core::message::{About, Act as Answer, Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};
use iris_core::shard::{Conn, Input, LinkNo, Send};

use crate::network::{End, Node, StreamNo};
use crate::owner::Call;
use crate::packet::{Hello, Packet};
use crate::plan::{Act, Deed};
use crate::world::{EDGES, Event, Party, World};

/// Deliveries that may be without ack.
const WINDOW_MESSAGES: u32 = 64;
const WINDOW_BYTES: u32 = 64 * 1024;
/// When the rest of what a device has is acknowledged.
const ACK_REST_US: u64 = 40_000;
/// A client that hears nothing of a number for so long gives its connection up.
const SILENCE_US: u64 = 6_000_000;
/// Sends that may be without answer.
const IN_FLIGHT_MAX: usize = 256;
/// A device that is not registered asks again so often.
const REGISTER_US: u64 = 300_000;

/// What a device wakes up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// To register.
    Register,
    /// To connect.
    Connect,
    /// To send everything undecided again, from where it was told to.
    SendAgain { turn: u64 },
    /// To see whether the connection is dead.
    Watch { turn: u64 },
    /// To read on.
    ReadOn,
}

/// A message that is on the device's disk and not decided.
#[derive(Debug, Clone)]
struct Unsent {
    number: u64,
    message: u64,
    what: Written,
    transmitted: bool,
}

/// What a message says besides its body.
#[derive(Debug, Clone)]
struct Written {
    to: Address,
    about: Option<About>,
    change: Option<Change>,
    roster: ConvSeq,
}

impl Written {
    fn to(to: Address) -> Self {
        Self { to, about: None, change: None, roster: ConvSeq(0) }
    }
}

/// A device. See the module.
#[derive(Debug)]
pub(crate) struct Device {
    account: AccountId,
    key: PublicKey,
    number: Option<DeviceNo>,
    disk: Disk,
    conn: Option<StreamNo>,
    welcomed: bool,
    away_until: u64,
    reading_from: u64,
    heard_at: u64,
    backoff_us: u64,
    turn: u64,
    /// From which number on it is about to send everything again.
    send_again_from: Option<u64>,
    /// Whether its first WELCOME came.
    linked: bool,
    /// The head of its inbox, by the last WELCOME and what came since.
    head: InboxSeq,
    /// The number of its next call, and the calls without an answer.
    next_corr: u32,
    calls: BTreeMap<u32, Called>,
    /// When it last said what was read, and whether its first wish is under way.
    read_said_at: u64,
    wishing: bool,
    /// What it was last told of those whom it watches.
    presences: BTreeMap<AccountId, bool>,
}

/// A call without an answer.
#[derive(Debug, Clone)]
enum Called {
    /// For the next page of history.
    Fetch(Looking),
    /// For the first wish.
    Wish,
    /// To watch somebody.
    Watch,
    /// For a page of a group's log.
    Log(groups::Reading),
    /// Who is in a group.
    Roster,
    /// Which groups the account is in.
    Groups,
}

/// A person looks through a conversation.
#[derive(Debug, Clone)]
struct Looking {
    asked_at: u64,
    with: Address,
    pages: u32,
    /// What was on the pages before.
    messages: Vec<MessageNo>,
}

/// What is on the device's disk.
#[derive(Debug, Default)]
struct Disk {
    cursor: InboxSeq,
    acked: InboxSeq,
    stream_gen: u32,
    next_number: u64,
    undecided: VecDeque<Unsent>,
    /// What it knows of marks, up to which version.
    marks: BTreeMap<AccountId, Mark>,
    marks_version: u64,
    /// The newest clock that it has of each person.
    heard: BTreeMap<AccountId, Hlc>,
    /// The newest message that it has of each person, of those that are about no other one.
    newest: BTreeMap<AccountId, (MsgId, Hlc)>,
    /// What was read, and no mark came back for yet; and whether only the person's own devices may know.
    reads: BTreeMap<AccountId, (Hlc, bool)>,
    watches: BTreeSet<AccountId>,
    /// Whom the person wishes to block or to hear again, since when.
    wishes: VecDeque<Wished>,
    /// What this account sent of late: it may be erased.
    sent: VecDeque<(Address, MsgId, Hlc, ConvSeq)>,
    /// What it knows of groups.
    groups: BTreeMap<GroupId, groups::Known>,
}

/// A person wishes to block somebody, or not any more.
#[derive(Debug, Clone, Copy)]
struct Wished {
    whom: AccountId,
    on: bool,
    asked_at: u64,
}

impl Device {
    pub(crate) fn identity(&self) -> (AccountId, PublicKey, String) {
        (self.account, self.key, "device".to_owned())
    }

    /// Nothing keeps it away any more.
    pub(crate) fn come_back(&mut self) {
        (self.away_until, self.reading_from, self.backoff_us) = (0, 0, 50_000);
    }

    /// How far it came, if it has everything: the stream and its last place.
    pub(crate) fn drained(&self) -> Option<(u32, u64)> {
        let all = self.linked && self.welcomed && self.disk.cursor >= self.head;
        all.then_some((self.disk.stream_gen, self.disk.cursor.0))
    }

    /// Whether everything that it sent is decided and it is connected.
    pub(crate) fn is_settled(&self) -> bool {
        self.linked
            && self.welcomed
            && self.disk.undecided.is_empty()
            && self.disk.reads.is_empty()
            && self.disk.wishes.is_empty()
            && self.disk.acked == self.disk.cursor
            && self.disk.cursor >= self.head
    }
}

/// The name of a message.
fn id_of(account: AccountId, message: u64) -> MsgId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&account.to_bytes()[..8]);
    id[8..].copy_from_slice(&message.to_be_bytes());
    MsgId(id)
}

impl World {
    pub(crate) fn populate(&mut self) {
        self.make_groups();
        for (person, devices) in self.plan.people.clone().into_iter().enumerate() {
            let shard = u16::try_from(self.random.between(0, u64::from(self.count.get()) - 1));
            let shard = ShardId::new(shard.expect("few shards"));
            let account = AccountId::in_shard(shard, self.count, TenantNo(0), self.random.bits());
            self.book.account(account);
            for device in 0..devices {
                let mut key = [device; 32];
                key[0] = u8::try_from(person).expect("few people");
                let us = self.random.between(300_000, 1_500_000) + u64::from(device) * 300_000;
                let index = self.devices.len();
                self.devices.push(Device {
                    account,
                    key: PublicKey(key),
                    number: None,
                    disk: Disk { next_number: 1, ..Disk::default() },
                    conn: None,
                    welcomed: false,
                    away_until: 0,
                    reading_from: 0,
                    heard_at: 0,
                    backoff_us: 50_000,
                    turn: 0,
                    send_again_from: None,
                    linked: false,
                    head: InboxSeq(0),
                    next_corr: 0,
                    calls: BTreeMap::new(),
                    read_said_at: 0,
                    wishing: false,
                    presences: BTreeMap::new(),
                });
                self.agenda.after(us, Event::Device { device: index, wake: Wake::Register });
            }
        }
    }

    /// The device of a person, by their numbers in the plan.
    fn device_of(&self, person: usize, device: usize) -> Option<usize> {
        let before: usize = self.plan.people.iter().take(person).map(|n| usize::from(*n)).sum();
        let count = usize::from(*self.plan.people.get(person)?);
        (device < count).then_some(before + device)
    }

    pub(crate) fn act(&mut self, deed: Deed) {
        let Some(device) = self.device_of(deed.person, deed.device) else { return };
        let now = self.now();
        match deed.act {
            Act::Send { to } => self.write_to(device, to),
            Act::Erase => self.erase_newest(device),
            Act::Edit => self.edit_newest(device),
            Act::React { of } => self.answer_newest(device, of, Answer::React),
            Act::Forge { of } => self.answer_newest(device, of, Answer::Edit),
            Act::Read { of, private } => self.read_of(device, of, private),
            Act::Watch { of, on } => self.watch_person(device, of, on),
            Act::Block { whom, on } => self.block(device, whom, on),
            Act::Fetch { with } => self.fetch(device, with),
            Act::InGroup { group, act } => self.act_in_group(device, group, act),
            Act::Reconnect => self.hang_up(device),
            Act::StopReading { us } => {
                self.devices[device].reading_from = now + us;
                self.agenda.after(us, Event::Device { device, wake: Wake::ReadOn });
            }
            Act::GoAway { us } => {
                self.devices[device].away_until = now + us;
                self.hang_up(device);
            }
        }
    }

    pub(crate) fn wake(&mut self, device: usize, wake: Wake) {
        match wake {
            Wake::Register => self.register(device),
            Wake::Connect => self.dial(device),
            Wake::SendAgain { turn } if self.devices[device].turn == turn => {
                if let Some(from) = self.devices[device].send_again_from.take() {
                    self.transmit_from(device, from);
                }
            }
            Wake::Watch { turn } if self.devices[device].turn == turn => self.watch(device),
            Wake::SendAgain { .. } | Wake::Watch { .. } => {}
            Wake::ReadOn => self.read_on(device),
        }
    }

    fn register(&mut self, device: usize) {
        let state = &self.devices[device];
        if state.number.is_some() {
            return;
        }
        let shard = state.account.shard(self.count);
        if let Some(route) = self.control.board.get(&shard).copied() {
            self.call_from(Node::Edge(0), route.owner, Call::Open { device, shard });
        }
        self.agenda.after(REGISTER_US, Event::Device { device, wake: Wake::Register });
    }

    pub(crate) fn registered(&mut self, device: usize, number: DeviceNo) {
        if self.devices[device].number.is_none() {
            self.devices[device].number = Some(number);
            self.agenda.after(1_000, Event::Device { device, wake: Wake::Connect });
        }
    }

    fn dial(&mut self, device: usize) {
        let now = self.now();
        let state = &mut self.devices[device];
        let Some(number) = state.number.filter(|_| state.conn.is_none()) else { return };
        if state.away_until > now {
            let us = state.away_until - now + 1;
            self.agenda.after(us, Event::Device { device, wake: Wake::Connect });
            return;
        }
        state.turn += 1;
        (state.welcomed, state.heard_at) = (false, now);
        let turn = state.turn;
        let hello = Hello {
            account: state.account,
            device: number,
            cursor: state.disk.cursor,
            stream_gen: state.disk.stream_gen,
            window_messages: WINDOW_MESSAGES,
            window_bytes: WINDOW_BYTES,
            marks: state.disk.marks_version,
        };
        let edge = self.random.index(EDGES);
        let Some(stream) = self.connect(Party::Device(device), Party::Edge(edge)) else { return };
        self.devices[device].conn = Some(stream);
        self.send(stream, End::Opener, Packet::Hello(hello));
        self.agenda.after(SILENCE_US, Event::Device { device, wake: Wake::Watch { turn } });
    }

    fn hang_up(&mut self, device: usize) {
        if let Some(stream) = self.devices[device].conn {
            self.close_stream(stream, Some(Party::Device(device)));
            self.device_lost(device, stream);
        }
    }

    pub(crate) fn device_lost(&mut self, device: usize, stream: StreamNo) {
        let state = &mut self.devices[device];
        if state.conn != Some(stream) {
            return;
        }
        let was_here = std::mem::replace(&mut state.welcomed, false);
        (state.conn, state.send_again_from, state.wishing) = (None, None, false);
        state.calls.clear();
        state.turn += 1;
        let us = state.backoff_us;
        state.backoff_us = (2 * us).min(5_000_000);
        let (account, number) = (state.account, state.number);
        if let Some(number) = number {
            let by = self.book.device(account, number.0);
            self.note(What::Disconnected { by });
        }
        if was_here {
            self.note_here(account);
        }
        let us = self.random.between(1_000, us);
        self.agenda.after(us, Event::Device { device, wake: Wake::Connect });
    }

    fn write_to(&mut self, device: usize, to: usize) {
        let to = self.account_of(to).unwrap_or_else(|| {
            let nobody = u128::MAX - u128::from(self.now());
            AccountId::in_shard(ShardId::new(0), self.count, TenantNo(0), nobody)
        });
        self.compose(device, Written::to(Address::Account(to)));
    }

    /// A message gets its number on the disk before it is sent.
    fn compose(&mut self, device: usize, what: Written) {
        let state = &mut self.devices[device];
        if !state.linked {
            return;
        }
        self.messages += 1;
        let message = self.messages;
        let number = state.disk.next_number;
        state.disk.next_number += 1;
        let to = what.to;
        state.disk.undecided.push_back(Unsent { number, message, what, transmitted: false });
        let (account, device_no) = (state.account, state.number.expect("it is linked").0);
        let by = self.book.device(account, device_no);
        let to = self.book.target(to);
        let (message, body) = (MessageNo(message), message);
        self.note(What::Send { by, number, message, to, body, expires_at: 0 });
        if self.devices[device].welcomed {
            self.transmit_from(device, number);
        } else {
            // It waits on the disk: nobody has been asked yet.
            self.note(What::Disconnected { by });
        }
    }

    /// Sends everything undecided, from a number on, as far as the credit goes.
    fn transmit_from(&mut self, device: usize, from: u64) {
        let state = &mut self.devices[device];
        let (Some(stream), true) = (state.conn, state.welcomed) else { return };
        let mut again = Vec::new();
        let mut sends = Vec::new();
        for unsent in state.disk.undecided.iter_mut().take(IN_FLIGHT_MAX) {
            if unsent.number < from {
                continue;
            }
            if unsent.transmitted {
                again.push(unsent.number);
            }
            unsent.transmitted = true;
            sends.push(Send {
                client_seq: ClientSeq(unsent.number),
                msg_id: id_of(state.account, unsent.message),
                to: unsent.what.to,
                bodies: Bodies::Shared(Bytes::copy_from_slice(&unsent.message.to_be_bytes())),
                expires_at_ms: 0,
                about: unsent.what.about,
                change: unsent.what.change.clone(),
                roster: unsent.what.roster,
            });
        }
        let (account, number) = (state.account, state.number);
        let by = self.book.device(account, number.expect("it is welcomed").0);
        for number in again {
            self.note(What::SendAgain { by, number });
        }
        let conn = Conn { link: LinkNo(0), id: 0 };
        for send in sends {
            let input = Input::Send { conn, send };
            self.send(stream, End::Opener, Packet::FromDevice(Box::new(input)));
        }
    }

    /// A connection on which nothing is heard while something waits is given up.
    fn watch(&mut self, device: usize) {
        let now = self.now();
        let state = &self.devices[device];
        let waits = !state.welcomed || !state.disk.undecided.is_empty();
        let turn = state.turn;
        if state.conn.is_some() && waits && now - state.heard_at >= SILENCE_US {
            return self.hang_up(device);
        }
        self.say_what_has_no_answer(device);
        let us = 1_000_000;
        self.agenda.after(us, Event::Device { device, wake: Wake::Watch { turn } });
    }

    /// The account of a person.
    fn account_of(&self, person: usize) -> Option<AccountId> {
        self.device_of(person, 0).map(|device| self.devices[device].account)
    }

    fn read_on(&mut self, device: usize) {
        let now = self.now();
        let state = &mut self.devices[device];
        if state.reading_from > now {
            return;
        }
        let (Some(stream), true) = (state.conn, state.welcomed) else { return };
        let (acked, cursor) = (state.disk.acked, state.disk.cursor);
        if acked >= cursor {
            return;
        }
        // Applications take messages one by one: what a frame brought is acknowledged in parts at times.
        let in_parts = cursor.0 - acked.0 > 1 && self.random.chance(300);
        let seq = if in_parts {
            self.agenda.after(ACK_REST_US, Event::Device { device, wake: Wake::ReadOn });
            InboxSeq(self.random.between(acked.0 + 1, cursor.0 - 1))
        } else {
            cursor
        };
        self.devices[device].disk.acked = seq;
        let input = Input::Ack { conn: Conn { link: LinkNo(0), id: 0 }, seq };
        self.send(stream, End::Opener, Packet::FromDevice(Box::new(input)));
    }
}
